"""VMs and their NICs in the words of the wire: what hosts are told of them."""

import ipaddress

from agent.protocol import GuestSpec, NetworkSpec, NicSpec, RouteSpec
from hypervisors.models import Network
from vms.models import Nic, VirtualMachine
from vms.services.variables import guest_variables
from vms.services.vendor_data import vendor_data_for


def guest_spec(vm: VirtualMachine) -> GuestSpec:
    """What the guest is told, as the rows have it now."""
    image = vm.image_version.image
    return GuestSpec(
        instance_id=vm.instance_id or str(vm.id),
        hostname=vm.hostname,
        username=vm.username,
        ssh_keys=vm.ssh_keys,
        sealed_secrets=bytes(vm.sealed_secrets) if vm.sealed_secrets else None,
        identity=image.identity,  # type: ignore[arg-type]  # one of its choices
        user_data=vm.user_data or None,
        vendor_data=vendor_data_for(vm.tenant) or None,
        tags=vm.tags,
        variables=guest_variables(vm),
    )


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
