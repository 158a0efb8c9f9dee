"""VMs and their NICs in the words of the wire: what hosts are told of them."""

import ipaddress

from agent.protocol import NetworkSpec, NicSpec, RouteSpec
from hypervisors.models import Network
from vms.models import Nic, VirtualMachine


def nic_specs(vm: VirtualMachine) -> list[NicSpec]:
    """All NICs of the VM, in their order."""
    return [nic_spec(nic) for nic in vm.nics.select_related("network").order_by("position")]


def nic_spec(nic: Nic) -> NicSpec:
    """A NIC with the network it is on."""
    network = nic.network
    return NicSpec(
        nic_id=str(nic.id),
        mac=nic.mac,
        network=network_spec(network),
        address=_with_prefix(nic.address, network.subnet),
        address6=_with_prefix(nic.address6, network.subnet6),
        guard=nic.guard,
    )


def network_spec(network: Network) -> NetworkSpec:
    """The network itself."""
    return NetworkSpec(
        network_id=str(network.id),
        kind="nat" if network.kind == Network.Kind.NAT else "bridge",
        bridge=network.bridge or None,
        subnet=network.subnet or None,
        gateway=network.gateway,
        dns=network.dns,
        mtu=network.mtu,
        subnet6=network.subnet6 or None,
        gateway6=network.gateway6,
        routes=[RouteSpec(**route) for route in network.routes],
        search=network.search,
        vlan=network.vlan,
    )


def _with_prefix(address: str | None, subnet: str) -> str | None:
    if not address:
        return None
    return f"{address}/{ipaddress.ip_network(subnet, strict=False).prefixlen}"
