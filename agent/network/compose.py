"""From what the portal asked for to what one NIC's guest is told.

Written for cloud-init 22.4 (Debian 12) to 25.1 (Debian 13); the words of its configuration
are those of https://cloudinit.readthedocs.io/en/latest/reference/modules.html.
"""

import email
import hashlib
import subprocess
from email.message import Message
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from ipaddress import ip_address, ip_interface, ip_network
from typing import Any

import msgspec

from agent.network.errors import NetworkError
from agent.protocol import GuestSpec, NicSpec
from agent.protocol.templates import UnknownVariableError, fill_in
from metadata.documents import (
    METADATA_IPV4,
    Lease,
    Link,
    NicDocument,
    Route,
    last_resort_lease,
)

DONE_URL = f"http://{METADATA_IPV4}/basalt/v1/done"

# What the customer's own cloud-config says stays; lists of both (users above all) add up.
_MERGE = "list(append)+dict(no_replace,recurse_list)+str()"
_PASSWORD_BYTES = 256
_USER_DATA_BYTES = 262_144
"""Of a text once its variables are filled in."""


def nic_document(
    *,
    guest: GuestSpec,
    nic: NicSpec,
    nics: list[NicSpec],
    password_hash: str | None,
    user_data: str | None,
    host_dns: list[str],
    instance_type: str = "basalt",
    image_id: str = "unknown",
) -> NicDocument:
    """What `nic` of `guest` is told; `nics` are all NICs of the guest, in order.

    `user_data` is the secret one. `host_dns` stands in on networks that name no name servers.
    Raises NetworkError for an address that cannot be read, a variable that the guest has not,
    and for text that grows too long.
    """
    secret = _filled("user-data", user_data, guest)
    clear = _filled("user-data", guest.user_data, guest)
    vendor = _filled("MSP's vendor data", guest.vendor_data, guest)
    # The EC2 form has no place of its own for it.
    within = vendor if guest.identity == "ec2" else None
    try:
        return NicDocument(
            nic_id=nic.nic_id,
            instance_id=guest.instance_id,
            hostname=guest.hostname,
            mac=nic.mac,
            identity=guest.identity,
            zone=guest.variables.get("site.name") or "basalt",
            instance_type=instance_type,
            image_id=image_id,
            tags=guest.tags,
            ssh_keys=guest.ssh_keys,
            links=[_link(one, host_dns) for one in nics],
            user_data=merged_user_data(
                guest=guest, password_hash=password_hash, user_data=secret or clear, vendor=within
            ),
            open_user_data=open_user_data(guest=guest, user_data=clear),
            vendor_data=None if within else vendor,
            lease=_lease(nic, host_dns),
            last_resort=nic.address is None and nic.address6 is None,
        )
    except ValueError as error:
        raise NetworkError(
            "internal", f"The NIC {nic.mac} has an address that cannot be read: {error}."
        ) from error


def hash_password(password: str) -> str:
    """The password as a SHA-512 crypt hash with a fresh salt.

    Raises ValueError for a password that no login prompt could take: one with a line break
    or a NUL, an empty one, or one of more than 256 bytes.
    """
    encoded = password.encode()
    if not encoded or len(encoded) > _PASSWORD_BYTES or set(encoded) & set(b"\r\n\0"):
        raise ValueError(
            f"A password has 1 to {_PASSWORD_BYTES} bytes, without line breaks. Choose another."
        )
    made = subprocess.run(
        ["openssl", "passwd", "-6", "-stdin"], input=encoded, capture_output=True, check=True
    )
    return made.stdout.decode().strip()


def merged_user_data(
    *,
    guest: GuestSpec,
    password_hash: str | None,
    user_data: str | None,
    vendor: str | None = None,
) -> bytes:
    """The vendor's user-data, the customer's and ours as one MIME message. Of two parts that
    say the same, the later one counts, but for ours, which adds to the others."""
    config = _cloud_config(guest)
    [user] = config["users"]
    user["lock_passwd"] = password_hash is None
    if password_hash is not None:
        # Applied even where the image has the user already, which `passwd` is not.
        user["hashed_passwd"] = password_hash
    # Said either way: images differ in what they allow when nobody says anything. Whoever
    # gives a key wants keys; the password is then for the console and sudo.
    config["ssh_pwauth"] = password_hash is not None and not guest.ssh_keys
    return _message(config, {"vendor-data": vendor, "user-data": user_data})


def open_user_data(*, guest: GuestSpec, user_data: str | None) -> bytes:
    """What is left of it when the first boot is over: EC2's and NoCloud's guests read theirs
    anew at every boot, and what a customer wants done each time is to go on."""
    config = _cloud_config(guest)
    # The password is set, and nothing of it is here: let nobody lock it.
    config["users"][0]["lock_passwd"] = False
    return _message(config, {"user-data": user_data})


def _message(config: dict[str, Any], texts: dict[str, str | None]) -> bytes:
    given = {name: text for name, text in texts.items() if text and text.strip()}
    parts = [_text_part(text, name) for name, text in given.items()]
    # JSON is YAML, and needs no library here.
    own = MIMEText(
        f"#cloud-config\n{msgspec.json.encode(config).decode()}\n", "cloud-config", "utf-8"
    )
    own.add_header("Content-Disposition", "attachment", filename="basalt.yaml")
    own.add_header("Merge-Type", _MERGE)
    own.add_header("X-Merge-Type", _MERGE)
    # Last, so that ours is merged into the customer's by our rule and not by theirs.
    parts.append(own)
    # Not random: the same wishes make the same document.
    digest = hashlib.sha256("\0".join(given.values()).encode()).hexdigest()[:24]
    return MIMEMultipart("mixed", boundary=f"=={digest}==", _subparts=parts).as_bytes()


def _text_part(content: str, name: str) -> Message:
    text = content.lstrip()
    if text.lower().startswith(("content-type:", "mime-version:")):
        # cloud-init walks nested MIME messages, and does not look for one in a text part.
        nested = email.message_from_bytes(text.encode())
        if nested.is_multipart():
            return nested
    # text/plain asks cloud-init to tell the part's kind from its first line.
    part = MIMEText(text, "plain", "utf-8")
    part.add_header("Content-Disposition", "attachment", filename=name)
    return part


def _cloud_config(guest: GuestSpec) -> dict[str, Any]:
    user: dict[str, Any] = {
        "name": guest.username,
        "shell": "/bin/bash",
        "sudo": "ALL=(ALL) NOPASSWD:ALL",
    }
    if guest.ssh_keys:
        user["ssh_authorized_keys"] = guest.ssh_keys
    hostname, _, domain = guest.hostname.partition(".")
    config: dict[str, Any] = {
        "users": [user],
        "hostname": hostname,
        # The name resolves to 127.0.1.1, and edits of /etc/hosts by people survive.
        "manage_etc_hosts": "localhost",
        "phone_home": {"url": DONE_URL, "post": ["instance_id", "hostname"], "tries": 10},
    }
    if domain:
        config["fqdn"] = guest.hostname
    return config


def _filled(what: str, text: str | None, guest: GuestSpec) -> str | None:
    if not text:
        return None
    try:
        filled = fill_in(text, guest.variables)
    except UnknownVariableError as error:
        raise NetworkError(
            "variable_unknown",
            f"The {what} uses the variable “{error.name}”, which this VM has not. Correct the "
            "name, or put a backslash before the braces to keep them as they are.",
        ) from error
    if len(filled.encode()) > _USER_DATA_BYTES:
        raise NetworkError(
            "user_data_too_long",
            f"With its variables filled in, the {what} has {len(filled.encode())} bytes, and the "
            f"limit is {_USER_DATA_BYTES}. Use fewer of them, or shorter fields.",
        )
    return filled


def _link(nic: NicSpec, host_dns: list[str]) -> Link:
    """Raises ValueError for an address that cannot be read."""
    network = nic.network
    given = [ip_interface(cidr) for cidr in (nic.address, nic.address6) if cidr is not None]
    of = {interface.version: str(interface) for interface in given}
    gateways = {
        ip_address(gateway).version: str(ip_address(gateway))
        for gateway in (network.gateway, network.gateway6)
        if gateway is not None
    }
    routes = [
        Route(destination=str(destination), gateway=str(ip_address(route.gateway)))
        for route in network.routes
        if (destination := ip_network(route.destination, strict=False)).version in of
    ]
    servers = (network.dns or host_dns) if given else []
    return Link(
        nic_id=nic.nic_id,
        network_id=network.network_id,
        mac=nic.mac,
        mtu=network.mtu,
        address=of.get(4),
        gateway=gateways.get(4) if 4 in of else None,
        address6=of.get(6),
        gateway6=gateways.get(6) if 6 in of else None,
        routes=routes,
        dns=[str(ip_address(server)) for server in servers][:8],
        search=network.search if given else [],
    )


def _lease(nic: NicSpec, host_dns: list[str]) -> Lease | None:
    given = nic.address or nic.address6
    if given is None:
        return None
    interface = ip_interface(given)
    if interface.version == 6:
        # cloud-init's first stage speaks DHCPv4 only: it gets far enough to read the rest.
        return last_resort_lease()
    return Lease(
        address=str(interface.ip),
        prefix=interface.network.prefixlen,
        gateway=nic.network.gateway,
        dns=[server for server in (nic.network.dns or host_dns) if "." in server][:8],
        mtu=nic.network.mtu,
    )
