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
from ipaddress import ip_interface
from typing import Any

import msgspec

from agent.boot.guest_part import telling_config
from agent.network.errors import NetworkError
from agent.network.network_data import network_data
from agent.passwords import password_must_be_usable
from agent.protocol import GuestSpec, NicSpec
from metadata.documents import METADATA_IPV4, Lease, NicDocument, last_resort_lease

DONE_URL = f"http://{METADATA_IPV4}/basalt/v1/done"

# What the customer's own cloud-config says stays; lists of both (users above all) add up.
_MERGE = "list(append)+dict(no_replace,recurse_list)+str()"


def nic_document(
    *,
    guest: GuestSpec,
    nic: NicSpec,
    nics: list[NicSpec],
    password_hash: str | None,
    user_data: str | None,
    host_dns: list[str],
) -> NicDocument:
    """What `nic` of `guest` is told; `nics` are all NICs of the guest, in order.

    `host_dns` stands in on networks that name no name servers. Raises NetworkError for an
    address that cannot be read.
    """
    try:
        return NicDocument(
            nic_id=nic.nic_id,
            instance_id=guest.instance_id,
            hostname=guest.hostname,
            mac=nic.mac,
            ssh_keys=guest.ssh_keys,
            network_data=network_data(nics, host_dns=host_dns),
            user_data=merged_user_data(
                guest=guest, password_hash=password_hash, user_data=user_data
            ),
            lease=_lease(nic, host_dns),
            last_resort=nic.address is None,
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
    password_must_be_usable(password)
    made = subprocess.run(
        ["openssl", "passwd", "-6", "-stdin"],
        input=password.encode(),
        capture_output=True,
        check=True,
    )
    return made.stdout.decode().strip()


def merged_user_data(
    *, guest: GuestSpec, password_hash: str | None, user_data: str | None
) -> bytes:
    """The customer's user-data and ours as one MIME message."""
    parts: list[Message] = []
    if user_data and user_data.strip():
        parts.append(_customer_part(user_data))
    config = msgspec.json.encode(_cloud_config(guest, password_hash)).decode()
    # JSON is YAML, and needs no library here.
    own = MIMEText(f"#cloud-config\n{config}\n", "cloud-config", "utf-8")
    own.add_header("Content-Disposition", "attachment", filename="basalt.yaml")
    own.add_header("Merge-Type", _MERGE)
    own.add_header("X-Merge-Type", _MERGE)
    # Last, so that ours is merged into the customer's by our rule and not by theirs.
    parts.append(own)
    # Not random: the same wishes make the same document.
    digest = hashlib.sha256((user_data or "").encode()).hexdigest()[:24]
    return MIMEMultipart("mixed", boundary=f"=={digest}==", _subparts=parts).as_bytes()


def _customer_part(user_data: str) -> Message:
    text = user_data.lstrip()
    if text.lower().startswith(("content-type:", "mime-version:")):
        # cloud-init walks nested MIME messages, and does not look for one in a text part.
        nested = email.message_from_bytes(text.encode())
        if nested.is_multipart():
            return nested
    # text/plain asks cloud-init to tell the part's kind from its first line.
    part = MIMEText(text, "plain", "utf-8")
    part.add_header("Content-Disposition", "attachment", filename="user-data")
    return part


def _cloud_config(guest: GuestSpec, password_hash: str | None) -> dict[str, Any]:
    user: dict[str, Any] = {
        "name": guest.username,
        "shell": "/bin/bash",
        "sudo": "ALL=(ALL) NOPASSWD:ALL",
        "lock_passwd": password_hash is None,
    }
    if password_hash is not None:
        # Applied even where the image has the user already, which `passwd` is not.
        user["hashed_passwd"] = password_hash
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
    config |= telling_config()
    if domain:
        config["fqdn"] = guest.hostname
    # Said either way: images differ in what they allow when nobody says anything. Whoever
    # gives a key wants keys; the password is then for the console and sudo.
    config["ssh_pwauth"] = password_hash is not None and not guest.ssh_keys
    return config


def _lease(nic: NicSpec, host_dns: list[str]) -> Lease | None:
    if nic.address is None:
        return None
    interface = ip_interface(nic.address)
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
