"""The usual wishes for a first boot, so that nobody must write YAML: from a form's answers to a
cloud-config. Its words are cloud-init's:
https://cloudinit.readthedocs.io/en/latest/reference/modules.html
"""

import email
import hashlib
import re
import unicodedata
import zoneinfo
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from email import policy
from email.message import EmailMessage, Message
from typing import Any
from urllib.parse import urlsplit

import yaml

from tenants.errors import InvalidInputError
from tenants.ssh_keys import ssh_keys_check
from vms.services.credentials import username_check

# apt's, dnf's and apk's names, with a version or release behind.
_PACKAGE = re.compile(r"\A[A-Za-z0-9][A-Za-z0-9+._:~^=/-]{0,127}\Z")
_PATH = re.compile(r"\A/[^\0\n\t ]{0,254}\Z")
_SOURCE = re.compile(r"\A[^\0\s]{1,255}\Z")
_MIME = policy.default.clone(cte_type="8bit", max_line_length=None)
_MOST_LINES = 100
_LONGEST_LINE = 2000
_NOT_IN_A_LINE = frozenset({"Cc", "Cs", "Zl", "Zp"})
_SYSTEM_PATHS = frozenset(
    {"/", "/bin", "/boot", "/dev", "/etc", "/lib", "/proc", "/run", "/sbin", "/sys", "/usr"}
)


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What is to be done in the first boot. `users`: name and public key (or none), in pairs.
    `mounts`: source, directory, type, options. `data_mounts`: directories of the data disks in
    their order, empty ones for disks that stay as they are."""

    packages: Sequence[str] = ()
    upgrade: bool = False
    time_zone: str = ""
    proxy: str = ""
    users: Sequence[tuple[str, str]] = ()
    mounts: Sequence[tuple[str, str, str, str]] = ()
    data_mounts: Sequence[str] = ()
    commands: Sequence[str] = ()


def setup_check(setup: Setup, *, username: str = "") -> Setup:
    """The wishes without blanks. `username` is the VM's own user. Raises InvalidInputError."""
    zone = setup.time_zone.strip()
    if zone and zone not in zoneinfo.available_timezones():
        raise InvalidInputError(
            f"“{zone[:60]}” is no time zone. Give a name like “Europe/Vienna”.", field="time_zone"
        )
    return Setup(
        packages=[_package(name) for name in _lines(setup.packages, "packages")],
        upgrade=setup.upgrade,
        time_zone=zone,
        proxy=_proxy(setup.proxy.strip()),
        users=_users(setup.users, username),
        mounts=[_mount(mount) for mount in setup.mounts],
        data_mounts=_data_mounts(setup.data_mounts),
        commands=_lines(setup.commands, "commands"),
    )


def setup_cloud_config(setup: Setup) -> str:
    """The cloud-config of checked wishes; empty when nothing is wished."""
    config: dict[str, Any] = {}
    if setup.time_zone:
        config["timezone"] = setup.time_zone
    if setup.proxy:
        config |= _proxy_config(setup.proxy)
    if setup.packages:
        config |= {"package_update": True, "packages": list(setup.packages)}
    if setup.upgrade:
        config |= {"package_update": True, "package_upgrade": True}
    if setup.users:
        config["users"] = [_user_config(name, key) for name, key in setup.users]
    config |= _mounts_config(setup)
    if setup.commands:
        config["runcmd"] = list(setup.commands)
    if not config:
        return ""
    return "#cloud-config\n" + yaml.safe_dump(config, sort_keys=False, allow_unicode=True)


def setup_joined(cloud_config: str, user_data: str) -> str:
    """Both as one user-data. Never as one text: cloud-init would read the second as a part of
    the first."""
    if not cloud_config or not user_data.strip():
        return cloud_config or user_data
    # The boundary is no secret and not random: the same wishes make the same text.
    digest = hashlib.sha256(f"{cloud_config}\0{user_data}".encode()).hexdigest()[:24]
    whole = EmailMessage(policy=_MIME)
    whole["MIME-Version"] = "1.0"
    whole.set_type("multipart/mixed")
    whole.set_boundary(f"=={digest}==")
    whole.set_payload([_part(cloud_config, "cloud-config", "setup.yaml"), _own_part(user_data)])
    return whole.as_bytes().decode()


# ------------------------------------------------------------------ what people type


def packages_read(text: str) -> list[str]:
    """Names between blanks, commas or line breaks."""
    return text.replace(",", " ").split()


def users_read(text: str) -> list[tuple[str, str]]:
    """One a line: a name, and a public key or nothing."""
    pairs = (line.strip().partition(" ") for line in text.splitlines() if line.strip())
    return [(name, key.strip()) for name, _, key in pairs]


def mounts_read(text: str) -> list[tuple[str, str, str, str]]:
    """One a line, as in fstab: source, directory, and perhaps type and options.

    Raises InvalidInputError.
    """
    mounts = []
    for line in text.splitlines():
        parts = line.split()
        if not parts:
            continue
        if not 2 <= len(parts) <= 4:
            raise InvalidInputError(
                f"“{line.strip()[:60]}” is no mount. Write: source, directory, and perhaps type "
                "and options, as in “nas:/share /mnt/share nfs ro”.",
                field="mounts",
            )
        source, directory, kind, options = [*parts, "", ""][:4]
        mounts.append((source, directory, kind, options))
    return mounts


def lines_read(text: str) -> list[str]:
    """One a line."""
    return [line.strip() for line in text.splitlines() if line.strip()]


# ------------------------------------------------------------------ checks


def _lines(lines: Iterable[str], field: str) -> list[str]:
    found = [line.strip() for line in lines if line.strip()]
    if len(found) > _MOST_LINES:
        raise InvalidInputError(
            f"{len(found)} are too many: {_MOST_LINES} at most. Put more into a script.",
            field=field,
        )
    for line in found:
        odd = {unicodedata.category(one) for one in line if one != "\t"} & _NOT_IN_A_LINE
        if len(line) > _LONGEST_LINE or odd:
            raise InvalidInputError(
                f"“{line[:40]}…” is too long or holds control characters. Put it into a script.",
                field=field,
            )
    return found


def _package(name: str) -> str:
    if not _PACKAGE.match(name):
        raise InvalidInputError(
            f"“{name[:60]}” is no name of a package. Separate names by blanks.", field="packages"
        )
    return name


def _proxy(address: str) -> str:
    if not address:
        return ""
    try:
        parts = urlsplit(address)
        port_is_right = parts.port is None or parts.port > 0
    except ValueError:
        port_is_right = False
    refused = (
        not port_is_right
        or parts.scheme not in {"http", "https"}
        or not parts.hostname
        or not re.fullmatch(r"[!-~]{1,500}", address)
        or bool(set(address) & set("\"'\\`$"))
    )
    if refused:
        raise InvalidInputError(
            "Give the proxy as an address like http://10.0.0.8:3128.", field="proxy"
        )
    return address


def _users(users: Sequence[tuple[str, str]], username: str) -> list[tuple[str, str]]:
    checked: list[tuple[str, str]] = []
    for name, key in users:
        try:
            clean = username_check(name)
            keys = ssh_keys_check([key]) if key.strip() else []
        except InvalidInputError as refusal:
            raise InvalidInputError(f"{name[:40]}: {refusal.message}", field="users") from refusal
        if clean == username or clean in {known for known, _ in checked}:
            raise InvalidInputError(f"The user “{clean}” is there twice.", field="users")
        checked.append((clean, keys[0] if keys else ""))
    if len(checked) > _MOST_LINES:
        raise InvalidInputError(f"{_MOST_LINES} more users at most.", field="users")
    return checked


def _mount(mount: tuple[str, str, str, str]) -> tuple[str, str, str, str]:
    source, directory, kind, options = mount
    if not _SOURCE.match(source):
        raise InvalidInputError(
            f"“{source[:60]}” is nothing that can be mounted. Give a device like LABEL=data, or "
            "a share like nas:/share.",
            field="mounts",
        )
    for word in (kind, options):
        if word and not _SOURCE.match(word):
            raise InvalidInputError(
                f"“{word[:40]}” is no type or option of a mount.", field="mounts"
            )
    return source, _directory(directory, "mounts"), kind or "auto", options or "defaults,nofail"


def _data_mounts(directories: Sequence[str]) -> list[str]:
    found = [text.strip() for text in directories]
    wished = [_directory(text, "data_mounts") for text in found if text]
    if len(set(wished)) < len(wished):
        raise InvalidInputError(
            "Two data disks have the same directory. Give each its own.", field="data_mounts"
        )
    return [text.rstrip("/") for text in found]


def _directory(text: str, field: str) -> str:
    path = text.rstrip("/") or "/"
    if not _PATH.match(path) or path in _SYSTEM_PATHS or "/.." in path:
        raise InvalidInputError(
            f"“{text[:60]}” is no directory to mount on. Give one like /srv or /mnt/data.",
            field=field,
        )
    return path


# ------------------------------------------------------------------ in cloud-init's words


def _proxy_config(proxy: str) -> dict[str, Any]:
    names = ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")
    lines = "".join(f"{name}={proxy}\n" for name in names)
    return {
        "apt": {"http_proxy": proxy, "https_proxy": proxy},
        # PAM reads it for every session; packages come by apt's own setting.
        "write_files": [{"path": "/etc/environment", "append": True, "content": lines}],
    }


def _user_config(name: str, key: str) -> dict[str, Any]:
    user: dict[str, Any] = {
        "name": name,
        "shell": "/bin/bash",
        "sudo": "ALL=(ALL) NOPASSWD:ALL",
        "lock_passwd": True,
    }
    if key:
        user["ssh_authorized_keys"] = [key]
    return user


def _mounts_config(setup: Setup) -> dict[str, Any]:
    mounts = [[*mount[:3], mount[3], "0", "2"] for mount in setup.mounts]
    systems = []
    for number, directory in enumerate(setup.data_mounts):
        if not directory:
            continue
        # The boot disk is vda; the label outlives a change of that order.
        label, device = f"data{number + 1}", f"/dev/vd{'bcdefghijklmnopqrstuvwx'[number]}"
        systems.append(
            {
                "label": label,
                "filesystem": "ext4",
                "device": device,
                "partition": "none",
                "overwrite": False,
            }
        )
        mounts.append([f"LABEL={label}", directory, "ext4", "defaults,nofail", "0", "2"])
    config: dict[str, Any] = {"fs_setup": systems} if systems else {}
    return config | ({"mounts": mounts} if mounts else {})


def _part(text: str, kind: str, name: str) -> EmailMessage:
    part = EmailMessage(policy=_MIME)
    # Not encoded: variables in it stay readable for who fills them in.
    part.set_content(text, subtype=kind, charset="utf-8", cte="8bit")
    part.add_header("Content-Disposition", "attachment", filename=name)
    return part


def _own_part(user_data: str) -> Message:
    text = user_data.lstrip()
    if text.lower().startswith(("content-type:", "mime-version:")):
        # cloud-init walks nested MIME messages, and does not look for one in a text part.
        nested = email.message_from_bytes(text.encode(), policy=_MIME)
        if nested.is_multipart():
            return nested
    # text/plain asks cloud-init to tell the part's kind from its first line.
    return _part(text, "plain", "user-data")
