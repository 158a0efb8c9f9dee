"""The EC2 form of the metadata tree.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-categories.html
"""

import re
from ipaddress import ip_interface
from typing import Any

from metadata.answers import Answer, Leaf, Tree, json_answer, listing, resolve, text
from metadata.documents import Link, NicDocument
from metadata.openstack import user_data

VERSIONS = (
    "1.0",
    "2007-01-19",
    "2008-09-01",
    "2009-04-04",
    "2011-01-01",
    "2016-09-02",
    "2018-09-24",
    "2021-03-23",
    "latest",
)

# cloud-init's OpenStack source walks this tree beside its own, asks for each name that is
# listed, and waits through six tries where there is none. It needs none of them.
_FEW = ("hostname", "instance-id", "local-hostname", "local-ipv4", "public-keys")
_UNSIGNED = ("pkcs7", "signature", "rsa2048")
# What AWS allows in keys that are shown here, but for "=", which the listing of public keys
# has a meaning for.
_TAG = re.compile(r"\A(?!\.{1,2}\Z)[A-Za-z0-9+\-.,_:@]{1,128}\Z")


def answer(document: NicDocument, parts: list[str]) -> Answer:
    """What GET answers at a path of no other form; `parts` is the whole path."""
    if parts and parts[0] in VERSIONS:
        match parts[1:]:
            case ["meta-data", "public-keys"] if document.ssh_keys:
                # The one folder that is listed in a form of its own.
                return listing(f"{number}=key-{number}" for number in range(len(document.ssh_keys)))
            case ["dynamic", "instance-identity", name] if name in _UNSIGNED:
                return text(
                    "This identity document is not signed: only AWS can vouch for an instance. "
                    "Ask for instance-identity/document.",
                    status=404,
                )
            case ["meta-data"] if document.identity != "ec2":
                tree = _meta_data(document)
                return _listing({name: tree[name] for name in _FEW if name in tree})
    return resolve(_tree(document), parts, mark="/")


def identity_document(document: NicDocument) -> dict[str, Any]:
    """Who the guest is, in the words of AWS's instance identity document."""
    first = _first(document)
    address = first.address if first is not None else None
    return {
        "version": "2017-09-30",
        "instanceId": document.instance_id,
        "imageId": _ami(document),
        "instanceType": document.instance_type,
        "architecture": "x86_64",
        "availabilityZone": document.zone,
        "region": document.zone,
        "privateIp": str(ip_interface(address).ip) if address is not None else None,
        "accountId": None,
        "kernelId": None,
        "ramdiskId": None,
    }


def _tree(document: NicDocument) -> Tree:
    release: Tree = {
        "dynamic": {
            "instance-identity": {"document": lambda: json_answer(identity_document(document))}
        },
        "meta-data": _meta_data(document),
    }
    if user_data(document).status == 200:
        release["user-data"] = lambda: user_data(document)
    return {**dict.fromkeys(VERSIONS, release), "openstack": {}}


def _meta_data(document: NicDocument) -> Tree:
    macs: Tree = {
        link.mac: _interface(document, link, number) for number, link in enumerate(document.links)
    }
    values = {
        "ami-id": _ami(document),
        "ami-launch-index": "0",
        "ami-manifest-path": "(unknown)",
        "hostname": document.hostname,
        "instance-action": "none",
        "instance-id": document.instance_id,
        "instance-life-cycle": "on-demand",
        "instance-type": document.instance_type,
        "local-hostname": document.hostname,
        "mac": document.mac,
        "reservation-id": f"r-{_short(document.instance_id)}",
    }
    tree: Tree = {name: _leaf(value) for name, value in values.items()}
    first = _first(document)
    for name, cidr in (
        ("local-ipv4", first.address if first else None),
        ("ipv6", first.address6 if first else None),
    ):
        if cidr is not None:
            tree[name] = _leaf(str(ip_interface(cidr).ip))
    tree |= {
        # The boot disk's names, as guests of this host see it.
        "block-device-mapping": {"ami": _leaf("vda"), "root": _leaf("/dev/vda")},
        "network": {"interfaces": {"macs": macs}},
        "placement": {"availability-zone": _leaf(document.zone), "region": _leaf(document.zone)},
        "services": {"domain": _leaf("amazonaws.com"), "partition": _leaf("aws")},
    }
    tags = {key: value for key, value in document.tags.items() if _TAG.match(key)}
    if tags:
        tree["tags"] = {"instance": {key: _leaf(value) for key, value in sorted(tags.items())}}
    if document.ssh_keys:
        tree["public-keys"] = {
            str(number): {"openssh-key": _leaf(key)} for number, key in enumerate(document.ssh_keys)
        }
    return tree


def _interface(document: NicDocument, link: Link, number: int) -> Tree:
    values = {
        "device-number": str(number),
        "interface-id": f"eni-{_short(link.nic_id)}",
        "local-hostname": document.hostname,
        "mac": link.mac,
        # With these cloud-init takes the address to stay, and writes its network once.
        "subnet-id": f"subnet-{_short(link.network_id)}",
        "vpc-id": f"vpc-{_short(link.network_id)}",
    }
    if link.address is not None:
        interface = ip_interface(link.address)
        values |= {
            "local-ipv4s": str(interface.ip),
            "subnet-ipv4-cidr-block": str(interface.network),
        }
    if link.address6 is not None:
        interface = ip_interface(link.address6)
        values |= {
            # Twice: cloud-init leaves the first to DHCPv6, and sets only those that follow.
            "ipv6s": f"{interface.ip}\n{interface.ip}",
            "subnet-ipv6-cidr-blocks": str(interface.network),
            # By this name cloud-init looks for the prefix.
            "subnet-ipv6-cidr-block": str(interface.network),
        }
    return {name: _leaf(value) for name, value in values.items()}


def _first(document: NicDocument) -> Link | None:
    """The NIC that is asked on; addresses that only a DHCP of the site knows are not here."""
    return next((link for link in document.links if link.mac == document.mac), None)


def _ami(document: NicDocument) -> str:
    return f"ami-{_short(document.image_id)}"


def _short(identifier: str) -> str:
    """As AWS writes its ids: 17 hex digits."""
    return identifier.replace("-", "")[:17]


def _listing(tree: Tree) -> Answer:
    return resolve(tree, [], mark="/")


def _leaf(value: str) -> Leaf:
    return lambda: text(value)
