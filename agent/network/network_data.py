"""OpenStack's network_data.json, in the form that cloud-init and cloudbase-init read.

https://docs.openstack.org/nova/latest/user/metadata.html; masks are written out for IPv6
too, because that is what Nova sends and guests were tried with.
"""

from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv6Address,
    IPv6Interface,
    ip_address,
    ip_interface,
)
from typing import Any

from agent.protocol import NicSpec
from metadata.documents import LAST_RESORT_ADDRESS

_ANY = {4: str(IPv4Address(0)), 6: str(IPv6Address(0))}


def network_data(nics: list[NicSpec], *, host_dns: list[str]) -> dict[str, Any]:
    """Links matched by MAC, an address or DHCP for each, and name servers.

    Raises ValueError for an address that cannot be read.
    """
    links = [
        {
            "id": _link(index),
            "vif_id": nic.nic_id,
            "type": "phy",
            "ethernet_mac_address": nic.mac,
            "mtu": nic.network.mtu,
        }
        for index, nic in enumerate(nics)
    ]
    networks = [_network(index, nic) for index, nic in enumerate(nics)]
    given = [nic for nic in nics if nic.address is not None]
    if len(given) == len(nics) and nics and not any("routes" in one for one in networks):
        # Nothing leads anywhere: an address beside the service's own keeps it in reach, for
        # the end of the first boot to be told.
        networks.append(_beside_the_service(networks[0]))
    servers: list[str] = []
    for nic in given:
        servers += [one for one in (nic.network.dns or host_dns) if one not in servers]
    return {
        "links": links,
        "networks": networks,
        "services": [{"type": "dns", "address": str(ip_address(one))} for one in servers[:8]],
    }


def _network(index: int, nic: NicSpec) -> dict[str, Any]:
    network: dict[str, Any] = {
        "id": f"network{index}",
        "network_id": nic.network.network_id,
        "link": _link(index),
    }
    if nic.address is None:
        return {**network, "type": "ipv4_dhcp"}
    interface = ip_interface(nic.address)
    network |= {
        "type": f"ipv{interface.version}",
        "ip_address": str(interface.ip),
        "netmask": str(interface.netmask),
    }
    gateway = _gateway(nic, interface)
    if gateway is not None:
        anywhere = _ANY[interface.version]
        network["routes"] = [{"network": anywhere, "netmask": anywhere, "gateway": gateway}]
    return network


def _gateway(nic: NicSpec, interface: IPv4Interface | IPv6Interface) -> str | None:
    if nic.network.gateway is None:
        return None
    gateway = ip_address(nic.network.gateway)
    return str(gateway) if gateway.version == interface.version else None


def _beside_the_service(first: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": "metadata",
        "network_id": first["network_id"],
        "link": first["link"],
        "type": "ipv4",
        "ip_address": LAST_RESORT_ADDRESS,
        "netmask": "255.255.0.0",
    }


def _link(index: int) -> str:
    return f"nic{index}"
