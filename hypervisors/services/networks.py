"""Networks of a host, and the addresses that the portal gives on them."""

import ipaddress

from hypervisors.models import Network
from tenants.errors import RuleError


class AddressTakenError(RuleError):
    code = "address_taken"
    status = 409


class AddressOutsideError(RuleError):
    code = "address_outside"


class PoolEmptyError(RuleError):
    code = "pool_empty"
    status = 409


def address_allocate(*, network: Network, wanted: str | None) -> str:
    """A free address of `network`, or the one that is `wanted`. Two callers take turns: the
    network's row stays locked until the caller's transaction ends."""
    network = Network.objects.select_for_update(no_key=True).get(pk=network.pk)
    subnet = ipaddress.ip_network(network.subnet, strict=False)
    taken = {
        ipaddress.ip_address(address)
        for address in network.nics.exclude(address=None).values_list("address", flat=True)
    }
    if network.gateway:
        taken.add(ipaddress.ip_address(network.gateway))
    if wanted is None:
        for address in subnet.hosts():
            if address not in taken:
                return str(address)
        raise PoolEmptyError(
            f"{network.name} has no free address left. Delete a VM, or add a network.",
            field="nics",
        )
    try:
        address = ipaddress.ip_address(wanted)
    except ValueError as error:
        raise AddressOutsideError(f"“{wanted}” is not an IP address.", field="nics") from error
    if address not in subnet or address in (subnet.network_address, subnet.broadcast_address):
        raise AddressOutsideError(
            f"{wanted} is not a host's address in {network.subnet}.", field="nics"
        )
    if address in taken:
        raise AddressTakenError(
            f"{wanted} is in use on {network.name}. Leave it out to get a free one.",
            field="nics",
        )
    return str(address)
