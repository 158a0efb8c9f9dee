"""The addresses that the portal gives on networks, each to one NIC at a time."""

import ipaddress
import uuid

from hypervisors.models import Network
from tenants.errors import InvalidInputError, RuleError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Subnet = ipaddress.IPv4Network | ipaddress.IPv6Network

_ANYCAST_PREFIX = 64
_ANYCAST_LAST = 128
"""RFC 2526: the last 128 addresses of a /64 belong to all routers of a kind, not to a host."""


class AddressTakenError(RuleError):
    code = "address_taken"
    status = 409


class AddressOutsideError(RuleError):
    code = "address_outside"


class PoolEmptyError(RuleError):
    code = "pool_empty"
    status = 409


def addresses_allocate(
    *,
    network: Network,
    address: str | None = None,
    address6: str | None = None,
    nic: uuid.UUID | None = None,
    field: str = "nics",
) -> tuple[str | None, str | None]:
    """An address of each family that the portal gives on `network`: the one that is asked for,
    or the next free one. `nic` is whose they are already, where it only gets others.

    Raises InvalidInputError, AddressTakenError, AddressOutsideError, PoolEmptyError.
    """
    if network.addressing != Network.Addressing.PORTAL:
        if address or address6:
            raise InvalidInputError(
                f"Addresses on {network.name} come from the site's own DHCP. Leave the address "
                "out, or choose a network whose addresses the portal gives.",
                field=field,
            )
        return None, None
    given = {}
    for family, subnet, wanted in ((4, network.subnet, address), (6, network.subnet6, address6)):
        if subnet:
            given[family] = _allocate(
                network=network, family=family, wanted=wanted or None, nic=nic, field=field
            )
        elif wanted:
            raise AddressOutsideError(
                f"The portal gives no IPv{family} addresses on {network.name}. Leave it out.",
                field=field,
            )
    return given.get(4), given.get(6)


def address_allocate(*, network: Network, wanted: str | None) -> str:
    """A free IPv4 address of `network`, or the one that is `wanted`. Two callers take turns: the
    network's row stays locked until the caller's transaction ends.

    Raises AddressTakenError, AddressOutsideError, PoolEmptyError.
    """
    return _allocate(network=network, family=4, wanted=wanted)


def address6_allocate(*, network: Network, wanted: str | None) -> str:
    """The same of IPv6."""
    return _allocate(network=network, family=6, wanted=wanted)


def hosts_address(address: Address, subnet: Subnet) -> bool:
    """Whether a host can have this address in the subnet: none that means all hosts or routers
    of it (RFC 919; RFC 4291, 2.6.1; RFC 2526)."""
    if address not in subnet or address == subnet.network_address:
        return False
    last = int(subnet.broadcast_address) - int(address)
    if subnet.version == 4:
        return last != 0
    return last >= _ANYCAST_LAST or subnet.prefixlen > _ANYCAST_PREFIX


def _allocate(
    *,
    network: Network,
    family: int,
    wanted: str | None,
    nic: uuid.UUID | None = None,
    field: str = "nics",
) -> str:
    network = Network.objects.select_for_update(no_key=True).get(pk=network.pk)
    pool = network.subnet6 if family == 6 else network.subnet
    if not pool:
        raise AddressOutsideError(
            f"On {network.name} the site's own DHCP gives the addresses. Leave the address out.",
            field=field,
        )
    subnet = ipaddress.ip_network(pool)
    taken = _taken(network, family, nic)
    if wanted is None:
        return str(_next_free(network, subnet, taken, field))
    try:
        asked = ipaddress.ip_address(wanted.strip())
    except ValueError as error:
        raise AddressOutsideError(f"“{wanted}” is not an IP address.", field=field) from error
    if asked.version != family or not hosts_address(asked, subnet):
        raise AddressOutsideError(f"{wanted} is not a host's address in {pool}.", field=field)
    if asked in taken:
        raise AddressTakenError(
            f"{asked} is in use on {network.name}. Leave it out to get a free one.", field=field
        )
    return str(asked)


def _taken(network: Network, family: int, nic: uuid.UUID | None) -> set[Address]:
    name, gateway = ("address6", network.gateway6) if family == 6 else ("address", network.gateway)
    given = network.nics.exclude(**{name: None}).values_list("pk", name)
    taken = {ipaddress.ip_address(address) for other, address in given if other != nic}
    if gateway:
        taken.add(ipaddress.ip_address(gateway))
    return taken


def _next_free(network: Network, subnet: Subnet, taken: set[Address], field: str) -> Address:
    # Not subnet.hosts(): that one calls ::0 of IPv6 a router's and the last ones anybody's.
    for number in range(1, min(subnet.num_addresses, len(taken) + 2)):
        address = subnet.network_address + number
        if address not in taken and hosts_address(address, subnet):
            return address
    raise PoolEmptyError(
        f"{network.name} has no free address left. Delete a VM, or add a network.", field=field
    )
