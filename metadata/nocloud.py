"""The NoCloud form of the metadata tree, below /nocloud/.

https://cloudinit.readthedocs.io/en/latest/reference/datasources/nocloud.html. What is not
there is empty rather than missing: cloud-init asks ten times more for what is missing, with
a pause before each. YAML is written as JSON, which is YAML.
"""

from typing import Any

from metadata.answers import Answer, Tree, json_answer, resolve, text
from metadata.documents import (
    LAST_RESORT_ADDRESS,
    LAST_RESORT_PREFIX,
    Link,
    NicDocument,
    needs_link_local,
)


def answer(document: NicDocument, parts: list[str]) -> Answer:
    """What GET answers below /nocloud/; `parts` is the rest of the path."""
    tree: Tree = {
        "meta-data": lambda: json_answer(meta_data(document)),
        "user-data": lambda: _user_data(document),
        "vendor-data": lambda: text(vendor_data(document)),
        "network-config": lambda: json_answer(network_config(document)),
    }
    return resolve(tree, parts, mark="")


def meta_data(document: NicDocument) -> dict[str, Any]:
    """The guest's identity. cloud-init begins a first boot anew when `instance-id` is another
    one than that of its last boot."""
    return {
        "instance-id": document.instance_id,
        "local-hostname": document.hostname,
        "hostname": document.hostname,
        "availability-zone": document.zone,
        "public-keys": document.ssh_keys,
        "tags": document.tags,
    }


def vendor_data(document: NicDocument) -> str:
    """The MSP's part, as it is; empty without one, and once the first boot is over."""
    return "" if document.sealed else document.vendor_data or ""


def network_config(document: NicDocument) -> dict[str, Any]:
    """cloud-init's network configuration, version 2, with NICs matched by their MACs.

    https://cloudinit.readthedocs.io/en/latest/reference/network-config-format-v2.html
    """
    ethernets = {f"nic{index}": _ethernet(link) for index, link in enumerate(document.links)}
    if needs_link_local(document):
        beside = f"{LAST_RESORT_ADDRESS}/{LAST_RESORT_PREFIX}"
        first = ethernets["nic0"]
        first["addresses"] = [*first["addresses"], beside]
    return {"version": 2, "ethernets": ethernets}


def _ethernet(link: Link) -> dict[str, Any]:
    ethernet: dict[str, Any] = {"match": {"macaddress": link.mac}, "mtu": link.mtu}
    if not link.given:
        return {**ethernet, "dhcp4": True}
    # "0.0.0.0/0" rather than "default": renderers of before 2022 know only that.
    routes = [
        {"to": to, "via": via}
        for to, via, cidr in (
            ("0.0.0.0/0", link.gateway, link.address),
            ("::/0", link.gateway6, link.address6),
        )
        if via is not None and cidr is not None
    ]
    routes += [{"to": route.destination, "via": route.gateway} for route in link.routes]
    ethernet |= {
        "dhcp4": False,
        "addresses": [cidr for cidr in (link.address, link.address6) if cidr is not None],
    }
    if routes:
        ethernet["routes"] = routes
    servers = {"addresses": link.dns, "search": link.search}
    told = {name: values for name, values in servers.items() if values}
    if told:
        ethernet["nameservers"] = told
    return ethernet


def _user_data(document: NicDocument) -> Answer:
    served = document.open_user_data if document.sealed else document.user_data
    return Answer(body=served or b"", content_type="application/octet-stream")
