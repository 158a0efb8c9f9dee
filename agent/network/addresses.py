"""Whose addresses are whose on a network of this host, as far as the portal has given them."""

from collections.abc import Iterable, Mapping
from ipaddress import ip_address, ip_interface

from agent.network.ledger import NicEntry
from agent.protocol import NetworkSpec, NicSpec


def given_addresses(nic: NicSpec) -> list[str]:
    """What the portal gave the NIC, without lengths. Raises ValueError."""
    given = (nic.address, nic.address6)
    return [str(ip_interface(address).ip) for address in given if address is not None]


def gateways(network: NetworkSpec) -> list[str]:
    """The network's ways out. Raises ValueError."""
    known = (network.gateway, network.gateway6)
    return [str(ip_address(address)) for address in known if address]


def protected(entry: NicEntry, nics: Mapping[str, NicEntry]) -> list[str]:
    """Addresses that the NIC must not claim: the gateways', and others' on its network. Only of
    families in which the site gives it addresses: what it gives is not known, so what it does
    not give has to be."""
    others = {
        address
        for other in nics.values()
        if other.network_id == entry.network_id and other.nic_id != entry.nic_id
        for address in other.addresses
    }
    given = _families(entry.addresses)
    return sorted(
        address
        for address in others.union(entry.gateways)
        if ip_address(address).version not in given
    )


def concerned(
    nics: Iterable[NicEntry], *, network_id: str, addresses: Iterable[str]
) -> list[NicEntry]:
    """Guarded NICs of the network that have to know that `addresses` have come or gone."""
    changed = _families(addresses)
    return [
        entry
        for entry in nics
        if entry.guard and entry.network_id == network_id and changed - _families(entry.addresses)
    ]


def _families(addresses: Iterable[str]) -> set[int]:
    return {ip_address(address).version for address in addresses}
