"""The DHCPv4 lease of a NIC whose addresses the portal gives."""

from ipaddress import ip_interface, ip_network

from agent.protocol import NicSpec
from metadata.documents import Lease, LeaseRoute, last_resort_lease


def lease_for(nic: NicSpec, *, host_dns: list[str]) -> Lease | None:
    """None where the site's own DHCP is asked. `host_dns` stands in on networks that name no
    name servers. Raises ValueError for an address that cannot be read."""
    if nic.address is None and nic.address6 is None:
        return None
    interface = ip_interface(nic.address) if nic.address is not None else None
    if interface is None or interface.version == 6:
        # cloud-init's first stage speaks DHCPv4 only: it gets far enough to read the rest.
        return last_resort_lease()
    network = nic.network
    return Lease(
        address=str(interface.ip),
        prefix=interface.network.prefixlen,
        gateway=network.gateway,
        dns=[server for server in (network.dns or host_dns) if "." in server][:8],
        mtu=network.mtu,
        routes=[
            LeaseRoute(destination=route.destination, gateway=route.gateway)
            for route in network.routes
            if ip_network(route.destination, strict=False).version == 4
        ],
        search=network.search,
    )
