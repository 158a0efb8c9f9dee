"""Whose addresses are whose on a network of this host, as far as the portal has given them."""

from collections.abc import Mapping
from ipaddress import ip_address, ip_interface

from agent.network.ledger import NicEntry
from agent.protocol import NetworkSpec, NicSpec

_FAMILIES = {4, 6}


def given_addresses(nic: NicSpec) -> list[str]:
    """What the portal gave the NIC, without lengths. Raises ValueError."""
    given = (nic.address, nic.address6)
    return [str(ip_interface(address).ip) for address in given if address is not None]


def gateways(network: NetworkSpec) -> list[str]:
    """The network's ways out. Raises ValueError."""
    known = (network.gateway, network.gateway6)
    return [str(ip_address(address)) for address in known if address]


def wants_protected(entry: NicEntry) -> bool:
    """Whether the site gives the NIC addresses of any family: what it gives is not known, so
    what it does not give has to be."""
    return {ip_address(address).version for address in entry.addresses} != _FAMILIES


def protected(entry: NicEntry, nics: Mapping[str, NicEntry]) -> list[str]:
    """Addresses that the NIC must not claim: the gateways', and others' on its network."""
    if not wants_protected(entry):
        return []
    others = {
        address
        for other in nics.values()
        if other.network_id == entry.network_id and other.nic_id != entry.nic_id
        for address in other.addresses
    }
    return sorted(others.union(entry.gateways) - set(entry.addresses))
