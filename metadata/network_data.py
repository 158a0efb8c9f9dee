"""OpenStack's network_data.json, in the form that cloud-init and cloudbase-init read.

https://docs.openstack.org/nova/latest/user/metadata.html. Masks are written out for IPv6 too,
as Nova sends them. cloudbase-init knows the types "ipv4" and "ipv6" and passes over others.
`dns_search` is cloud-init's own: Nova has no word for it. A network with one has its name servers
beside it, because cloud-init gives those of `services` only to NICs that name nothing themselves.
"""

from ipaddress import IPv4Interface, IPv6Interface, ip_address, ip_interface, ip_network
from typing import Any

from metadata.documents import (
    LAST_RESORT_ADDRESS,
    LAST_RESORT_PREFIX,
    Link,
    NicDocument,
    needs_link_local,
)


def network_data(document: NicDocument) -> dict[str, Any]:
    """Links matched by MAC, an address of each family or DHCP for each, and name servers."""
    links = [
        {
            "id": f"nic{index}",
            "vif_id": link.nic_id,
            "type": "phy",
            "ethernet_mac_address": link.mac,
            "mtu": link.mtu,
        }
        for index, link in enumerate(document.links)
    ]
    networks: list[dict[str, Any]] = []
    for index, link in enumerate(document.links):
        networks += _networks(index, link)
    if needs_link_local(document):
        networks.append(_beside_the_service(networks[0]))
    servers: list[str] = []
    for link in document.links:
        servers += [one for one in link.dns if one not in servers]
    return {
        "links": links,
        "networks": networks,
        "services": [{"type": "dns", "address": one} for one in servers[:8]],
    }


def _networks(index: int, link: Link) -> list[dict[str, Any]]:
    base: dict[str, Any] = {"network_id": link.network_id, "link": f"nic{index}"}
    if not link.given:
        return [{"id": f"network{index}", **base, "type": "ipv4_dhcp"}]
    networks = []
    for name, cidr, gateway in (
        (f"network{index}", link.address, link.gateway),
        (f"network{index}v6", link.address6, link.gateway6),
    ):
        if cidr is not None:
            networks.append({"id": name, **base, **_address(link, ip_interface(cidr), gateway)})
    if link.search:
        networks[0] |= {"dns_search": link.search, "dns_nameservers": link.dns}
    return networks


def _address(
    link: Link, interface: IPv4Interface | IPv6Interface, gateway: str | None
) -> dict[str, Any]:
    any_network = "0.0.0.0" if interface.version == 4 else "::"  # noqa: S104 - a route's
    routes = []
    if gateway is not None:
        routes.append({"network": any_network, "netmask": any_network, "gateway": gateway})
    for route in link.routes:
        destination = ip_network(route.destination)
        if destination.version == interface.version:
            routes.append(
                {
                    "network": str(destination.network_address),
                    "netmask": str(destination.netmask),
                    "gateway": str(ip_address(route.gateway)),
                }
            )
    network: dict[str, Any] = {
        "type": f"ipv{interface.version}",
        "ip_address": str(interface.ip),
        "netmask": str(interface.netmask),
    }
    return {**network, "routes": routes} if routes else network


def _beside_the_service(first: dict[str, Any]) -> dict[str, Any]:
    beside = ip_interface(f"{LAST_RESORT_ADDRESS}/{LAST_RESORT_PREFIX}")
    return {
        "id": "metadata",
        "network_id": first["network_id"],
        "link": first["link"],
        "type": "ipv4",
        "ip_address": str(beside.ip),
        "netmask": str(beside.netmask),
    }
