"""What a network may be: each rule with its sentence."""

import ipaddress
import re
from collections.abc import Iterator, Mapping, Sequence

from hypervisors.models import Hypervisor
from hypervisors.services.addresses import Address, Subnet, hosts_address
from tenants.errors import InvalidInputError, RuleError

_WIDEST, _NARROWEST = 16, 29
_WIDEST6, _NARROWEST6 = 48, 124
_PRIVATE = tuple(
    ipaddress.IPv4Network(block)
    # RFC 1918, and RFC 6598 for sites that have used up the others.
    for block in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")
)
_PRIVATE6 = ipaddress.IPv6Network("fc00::/7")
_LINK_LOCAL = ipaddress.IPv4Network("169.254.0.0/16")
_SERVICE6 = ipaddress.IPv6Address("fe80::a9fe:a9fe")
_NAME = re.compile(r"\A[A-Za-z0-9][A-Za-z0-9 ._-]{0,62}\Z")
_BRIDGE = re.compile(r"\A[A-Za-z0-9._-]{1,15}\Z")
_MADE_BY_AGENT = re.compile(r"\Ab[nw][0-9a-f]{12}\Z")
_LABEL = re.compile(r"\A[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\Z")

MOST_DNS, MOST_ROUTES, MOST_SEARCH = 8, 32, 6
_MOST_SEARCH_LETTERS = 256
"""Of all domains together: as much as old resolvers read."""


class SubnetOverlapError(RuleError):
    """Two networks of one host would hold the same addresses."""

    code = "subnet_overlap"
    status = 409


def name_checked(name: str) -> str:
    name = name.strip()
    if not _NAME.match(name):
        raise InvalidInputError(
            "A network's name has 1 to 63 letters, digits, spaces, dots, dashes or underscores, "
            "and begins with a letter or digit.",
            field="name",
        )
    return name


def bridge_checked(host: Hypervisor, bridge: str) -> str:
    bridge = bridge.strip()
    if not _BRIDGE.match(bridge):
        raise InvalidInputError("Name the host's bridge, for example br0.", field="bridge")
    there = [str(found.get("name")) for found in host.facts.get("bridges", [])]
    if host.facts and bridge not in there:
        known = f"It has {', '.join(there)}." if there else "It has none."
        raise InvalidInputError(
            f"{host.name} has no bridge named “{bridge}”. {known} Make it on the host first.",
            field="bridge",
        )
    return bridge


def vlan_checked(vlan: int | None, *, nat: bool) -> int | None:
    if vlan is None:
        return None
    if nat:
        raise InvalidInputError(
            "A NAT network has no VLAN: nothing of it is on the site's LAN.", field="vlan"
        )
    if not 1 <= vlan <= 4094:
        raise InvalidInputError("A VLAN is a number from 1 to 4094.", field="vlan")
    return vlan


def mtu_checked(mtu: int, host: Hypervisor, bridge: str, *, ipv6: bool) -> int:
    if not 576 <= mtu <= 9216:
        raise InvalidInputError("The MTU is a number from 576 to 9216.", field="mtu")
    if ipv6 and mtu < 1280:
        raise InvalidInputError(
            "IPv6 needs an MTU of 1280 or more. Raise it, or leave IPv6 out.", field="mtu"
        )
    most = next(
        (one.get("mtu") for one in host.facts.get("bridges", []) if one.get("name") == bridge),
        None,
    )
    if most and mtu > most:
        raise InvalidInputError(
            f"Frames on {bridge} of {host.name} have {most} bytes at most. Take an MTU of {most} "
            "or less, or raise that of the bridge first.",
            field="mtu",
        )
    return mtu


def subnet_checked(text: str, *, private: bool) -> ipaddress.IPv4Network:
    try:
        subnet = ipaddress.IPv4Network(text.strip())
    except ValueError as error:
        raise InvalidInputError(
            f"“{text}” is not a subnet. Write it like 10.20.0.0/24, with the host bits zero.",
            field="subnet",
        ) from error
    if not _WIDEST <= subnet.prefixlen <= _NARROWEST:
        raise InvalidInputError(
            f"A subnet is from /{_WIDEST} to /{_NARROWEST}; {subnet} is not.", field="subnet"
        )
    if private and not any(subnet.subnet_of(block) for block in _PRIVATE):
        raise InvalidInputError(
            f"{subnet} is not private. Take one from 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16 "
            "or 100.64.0.0/10.",
            field="subnet",
        )
    if subnet.is_multicast or subnet.is_loopback or subnet.is_link_local or subnet.is_reserved:
        raise InvalidInputError(f"{subnet} is not for hosts.", field="subnet")
    return subnet


def subnet6_checked(text: str, *, private: bool) -> ipaddress.IPv6Network:
    try:
        subnet = ipaddress.IPv6Network(text.strip())
    except ValueError as error:
        raise InvalidInputError(
            f"“{text}” is not an IPv6 subnet. Write it like fd12:3456:789a:1::/64, with the host "
            "bits zero.",
            field="subnet6",
        ) from error
    if not _WIDEST6 <= subnet.prefixlen <= _NARROWEST6:
        raise InvalidInputError(
            f"An IPv6 subnet is from /{_WIDEST6} to /{_NARROWEST6}, usually /64; {subnet} is not.",
            field="subnet6",
        )
    if private and not subnet.subnet_of(_PRIVATE6):
        raise InvalidInputError(
            f"{subnet} is not private. On NAT take a unique local one, from fd00::/8.",
            field="subnet6",
        )
    if subnet.is_multicast or subnet.is_link_local or subnet.is_loopback or subnet.is_unspecified:
        raise InvalidInputError(f"{subnet} is not for hosts.", field="subnet6")
    return subnet


def gateway_checked(
    text: str | None, subnet: Subnet | None, *, needed: bool, field: str = "gateway"
) -> str | None:
    """`needed`: the host itself is the gateway, so it is in the subnet, and has an address."""
    if subnet is None:
        if text:
            raise InvalidInputError(
                "A gateway needs a subnet that it is in. Name the subnet, or leave the gateway "
                "out.",
                field=field,
            )
        return None
    if not text:
        return str(subnet.network_address + 1) if needed else None
    try:
        gateway = ipaddress.ip_address(text.strip())
    except ValueError as error:
        raise InvalidInputError(
            f"“{text}” is not an IPv{subnet.version} address.", field=field
        ) from error
    if gateway.version != subnet.version:
        raise InvalidInputError(f"“{text}” is not an IPv{subnet.version} address.", field=field)
    # IPv6 routers are rightly known by their link-local address (RFC 4861).
    if not needed and gateway.version == 6 and gateway.is_link_local and gateway != _SERVICE6:
        return str(gateway)
    if not hosts_address(gateway, subnet):
        raise InvalidInputError(
            f"The gateway {gateway} is not a host's address in {subnet}.", field=field
        )
    return str(gateway)


def dns_checked(servers: Sequence[str]) -> list[str]:
    if len(servers) > MOST_DNS:
        raise InvalidInputError(f"Name at most {MOST_DNS} name servers.", field="dns")
    try:
        found = [ipaddress.ip_address(server.strip()) for server in servers]
    except ValueError as error:
        raise InvalidInputError("Name servers are IP addresses.", field="dns") from error
    for server in found:
        if server.is_loopback or server.is_multicast or server.is_unspecified:
            raise InvalidInputError(
                f"Guests can't reach a name server at {server}. Name one that answers on the "
                "network.",
                field="dns",
            )
    return [str(server) for server in found]


def search_checked(domains: Sequence[str]) -> list[str]:
    """Lower case, each once."""
    found = list(dict.fromkeys(domain.strip().rstrip(".").lower() for domain in domains))
    if len(found) > MOST_SEARCH or sum(len(domain) + 1 for domain in found) > _MOST_SEARCH_LETTERS:
        raise InvalidInputError(
            f"Name at most {MOST_SEARCH} search domains, of {_MOST_SEARCH_LETTERS} letters "
            "together: resolvers read no more.",
            field="search",
        )
    for domain in found:
        if len(domain) > 253 or not all(_LABEL.match(label) for label in domain.split(".")):
            raise InvalidInputError(
                f"“{domain[:80]}” is not a domain. Write it like example.com; one with other "
                "letters in its ASCII form (xn--…).",
                field="search",
            )
    return found


def routes_checked(
    routes: Sequence[Mapping[str, str]], subnets: Sequence[Subnet]
) -> list[dict[str, str]]:
    """Each with `destination` and `gateway`, where the gateway is on the network itself."""
    if len(routes) > MOST_ROUTES:
        raise InvalidInputError(f"Name at most {MOST_ROUTES} routes.", field="routes")
    if routes and not subnets:
        raise InvalidInputError(
            "Routes belong to addresses that the portal gives. Here the site's own DHCP gives "
            "both.",
            field="routes",
        )
    found: dict[Subnet, str] = {}
    for route in routes:
        destination = _destination(str(route.get("destination", "")), subnets)
        if destination in found:
            raise InvalidInputError(f"There are two routes to {destination}.", field="routes")
        found[destination] = _next_hop(str(route.get("gateway", "")), destination, subnets)
    return [
        {"destination": str(destination), "gateway": gateway}
        for destination, gateway in found.items()
    ]


def _destination(text: str, subnets: Sequence[Subnet]) -> Subnet:
    try:
        destination = ipaddress.ip_network(text.strip())
    except ValueError as error:
        raise InvalidInputError(
            f"“{text[:80]}” is not where a route can lead. Write it like 10.30.0.0/16, with the "
            "host bits zero.",
            field="routes",
        ) from error
    if destination.prefixlen == 0:
        raise InvalidInputError(
            "The way to everywhere is the network's gateway. Name it there, not as a route.",
            field="routes",
        )
    own = next((one for one in subnets if one.overlaps(destination)), None)
    if own is not None:
        raise InvalidInputError(
            f"{destination} overlaps with the network's own subnet {own}, which guests reach "
            "without a route.",
            field="routes",
        )
    if destination.is_multicast or destination.is_loopback or destination.is_link_local:
        raise InvalidInputError(f"No route can lead to {destination}.", field="routes")
    if destination.overlaps(_LINK_LOCAL):
        raise InvalidInputError(
            f"{destination} holds 169.254.169.254, where guests find their metadata. Name smaller "
            "parts of it.",
            field="routes",
        )
    return destination


def _next_hop(text: str, destination: Subnet, subnets: Sequence[Subnet]) -> str:
    try:
        gateway: Address = ipaddress.ip_address(text.strip())
    except ValueError as error:
        raise InvalidInputError(
            f"“{text[:80]}”, the gateway to {destination}, is not an IP address.", field="routes"
        ) from error
    if gateway.version != destination.version:
        raise InvalidInputError(
            f"The gateway {gateway} is of another kind of IP than {destination}.", field="routes"
        )
    if gateway.version == 6 and gateway.is_link_local and gateway != _SERVICE6:
        return str(gateway)
    if not any(one.version == gateway.version and hosts_address(gateway, one) for one in subnets):
        raise InvalidInputError(
            f"Guests can't reach the gateway {gateway} to {destination}: it is not in the "
            "network's own subnet.",
            field="routes",
        )
    return str(gateway)


def overlap_check(host: Hypervisor, subnet: Subnet, *, nat: bool, vlan: int | None) -> None:
    """Raises SubnetOverlapError. Networks on different VLANs are apart, whatever their subnets:
    only the host's own ways must be clear."""
    field = "subnet6" if subnet.version == 6 else "subnet"
    for network in host.networks.all():
        if not (nat or network.kind == network.Kind.NAT) and network.vlan != vlan:
            continue
        for other in (network.subnet, network.subnet6):
            theirs = ipaddress.ip_network(other) if other else None
            if theirs is not None and _overlap(theirs, subnet):
                raise SubnetOverlapError(
                    f"{subnet} overlaps with {other} of the network {network.name} on this host. "
                    "Take another subnet.",
                    field=field,
                )
    # A bridge to the site's LAN has the site's own subnet, of course.
    for bridge, own in _own_subnets(host) if nat else ():
        if _overlap(own, subnet):
            raise SubnetOverlapError(
                f"{subnet} overlaps with {own}, which the host has on {bridge}. Take another "
                "subnet.",
                field=field,
            )


def _overlap(one: Subnet, other: Subnet) -> bool:
    return one.version == other.version and one.overlaps(other)


def _own_subnets(host: Hypervisor) -> Iterator[tuple[str, Subnet]]:
    """What the host's own bridges are on, but for those that Basalt made."""
    for bridge in host.facts.get("bridges", []):
        name = str(bridge.get("name"))
        if _MADE_BY_AGENT.match(name):
            continue
        for address in bridge.get("addresses", []):
            try:
                found = ipaddress.ip_interface(address)
            except ValueError:
                continue  # not an address at all
            if not found.is_link_local:
                yield name, found.network
