"""What one NIC may say on its network: nftables rules at the tap's ingress, and their counters.

Nothing passes for not having been understood: whatever no rule lets through is dropped. So a
frame that is cut off, or a header behind one that cannot be read, is no way around the checks
(RFC 7113 has the ways that there are for router advertisements).

Addresses are checked by family. In one where the portal gave addresses, the guest has these; in
one where it gave none, the guest has what the site gives it, but no address that is known to be
somebody else's. An IPv6 address made of the NIC's own MAC is its own in any case, and one made
of another MAC of the same vendor never is.
"""

from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address

from agent.network.netfilter import netdev_counters
from agent.network.operations import Guard
from metadata.documents import LAST_RESORT_ADDRESS

KINDS = ("mac", "arp", "ipv4", "ipv6", "neighbour", "router", "dhcp", "other")
"""What can be wrong with a frame. Each guarded NIC's table has a counter for each."""
_COUNTER = "dropped_"  # `arp` and the like are nft's own words

# Extension headers that nft stops at, or whose contents it cannot see: RFC 7045 has the list.
_OPAQUE = "{ 0, 43, 44, 59, 60, 135, 139, 140, 253, 254 }"

_CHAINS = """
    chain guard_arp {{
        {arp}
        {drop_arp}
    }}
    chain guard_ipv4 {{
        ip version != 4 {drop_ipv4}
        ip saddr 0.0.0.0 goto guard_unnumbered
        {ipv4}
        # Whatever it is a part of does not come together without its first part.
        ip frag-off & 0x1fff != 0 @nh,128,32 >= 0 accept
        goto guard_ipv4_kinds
    }}
    chain guard_unnumbered {{
        # A client without an address, and a host that joins a group.
        ip frag-off & 0x3fff != 0 {drop_ipv4}
        udp dport 67 goto guard_ipv4_kinds
        meta l4proto igmp goto guard_ipv4_kinds
        {drop_ipv4}
    }}
    chain guard_ipv4_kinds {{
        meta l4proto icmp icmp type {{ redirect, router-advertisement }} {drop_router}
        meta l4proto igmp @th,0,8 0x11 {drop_router}
        udp sport 67 {drop_dhcp}
        # A lease for oneself, and in one piece, or the rest of it is anybody's.
        udp dport 67 ip frag-off & 0x3fff == 0 @th,288,48 {mac_number} accept
        udp dport 67 {drop_dhcp}
        meta l4proto {{ icmp, igmp }} @th,0,8 >= 0 accept
        meta l4proto udp @th,0,32 >= 0 accept
        meta l4proto != {{ icmp, igmp, udp }} accept
        {drop_ipv4}
    }}
    chain guard_ipv6 {{
        ip6 version != 6 {drop_ipv6}
        ip6 saddr :: goto guard_unspecified
        @nh,128,40 {vendor} @nh,128,64 != {own_half} {drop_ipv6}
        {ipv6}
        # RFC 5722: parts do not overlap, so the first one says what the others are.
        frag frag-off != 0 meta l4proto != {opaque} accept
        frag frag-off != 0 {drop_ipv6}
        meta l4proto icmpv6 goto guard_icmpv6
        udp sport 547 {drop_dhcp}
        meta l4proto udp @th,0,32 >= 0 accept
        meta l4proto udp {drop_ipv6}
        meta l4proto != {opaque} accept
        {drop_ipv6}
    }}
    chain guard_unspecified {{
        icmpv6 type nd-neighbor-solicit goto guard_target
        icmpv6 type nd-router-solicit ip6 nexthdr icmpv6 ip6 hoplimit 255 accept
        icmpv6 type {{ mld-listener-report, mld-listener-done, mld2-listener-report }} accept
        {drop_ipv6}
    }}
    chain guard_icmpv6 {{
        # Advertisements, redirects, renumbering, and questions that only routers ask.
        icmpv6 type {{ 130, 134, 137, 138, 151, 152, 153 }} {drop_router}
        # RFC 6980: never in parts, and with no header before it that somebody could stop at.
        icmpv6 type {{ 133, 135, 136 }} ip6 nexthdr != icmpv6 {drop_neighbour}
        icmpv6 type {{ 133, 135, 136 }} ip6 hoplimit != 255 {drop_neighbour}
        icmpv6 type nd-neighbor-advert goto guard_target
        icmpv6 type {{ 141, 142, 148, 149 }} {drop_neighbour}
        @th,0,8 >= 0 accept
        {drop_ipv6}
    }}
    chain guard_target {{
        ip6 nexthdr != icmpv6 {drop_neighbour}
        ip6 hoplimit != 255 {drop_neighbour}
        @th,128,40 {vendor} @th,128,64 != {own_half} {drop_neighbour}
        {target}
        {drop_neighbour}
    }}
"""

_ARP_FORM = "@nh,0,48 0x000108000604 @nh,48,16 1-2 arp saddr ether {mac} @nh,192,32 >= 0"


def door(mac: str) -> str:
    """Rules that come before all others: kinds of frames, and whose they are. A frame with a tag
    is of no kind that is let through, whatever is in it."""
    return (
        f"ether type != {{ arp, ip, ip6 }} {_drop('other')}\n        "
        f"ether saddr != {mac} {_drop('mac')}"
    )


def claim(kind: str, *, guarded: bool) -> str:
    """The end of a rule that drops a claim to the service's own addresses."""
    return _drop(kind) if guarded else "drop"


REST = """meta protocol arp goto guard_arp
        meta protocol ip goto guard_ipv4
        meta protocol ip6 goto guard_ipv6"""
"""Rules that come after all others."""


def parts(guard: Guard, mac: str, counted: Mapping[str, tuple[int, int]]) -> str:
    """The counters, sets and chains of a guarded NIC's table. Counters go on from `counted`,
    packets and bytes by kind."""
    own = [ip_address(address) for address in guard.addresses]
    own4 = [str(one) for one in own if isinstance(one, IPv4Address)]
    own6 = [one for one in own if isinstance(one, IPv6Address)]
    mac_bytes = bytes.fromhex(mac.replace(":", ""))
    half = bytes([mac_bytes[0] ^ 2, *mac_bytes[1:3], 0xFF, 0xFE, *mac_bytes[3:]])
    own_half = f"0x{half.hex()}"
    chains = _CHAINS.format(
        **{f"drop_{kind}": _drop(kind) for kind in KINDS},
        mac_number=f"0x{mac_bytes.hex()}",
        vendor=f"0x{half[:5].hex()}",
        own_half=own_half,
        opaque=_OPAQUE,
        arp=_lines(_arp(own4, mac)),
        ipv4=_lines(_ipv4(own4)),
        ipv6=_lines(_ipv6("nh", 64, own6, own_half, drop="ipv6")),
        target=_lines(
            [*_ipv6("th", 64, own6, own_half, drop="neighbour"), "@th,64,128 >= 0 accept"]
        ),
    )
    return _counters(counted) + protected_sets(guard.protected) + chains


def protected_sets(protected: Iterable[str]) -> str:
    """The sets of addresses that are somebody else's, with all their elements."""
    four, six = _elements(protected)
    return (
        f"    set protected4 {{ type ipv4_addr; {_given(four)} }}\n"
        f"    set protected6 {{ typeof @nh,64,128; {_given(six)} }}\n"
    )


def protected_keys(protected: Iterable[str]) -> dict[str, list[bytes]]:
    """What those sets hold, by their names, in the kernel's form."""
    addresses = sorted({ip_address(address).packed for address in protected})
    return {
        "protected4": [one for one in addresses if len(one) == 4],
        "protected6": [one for one in addresses if len(one) == 16],
    }


def counters(tables: Iterable[str]) -> dict[str, dict[str, tuple[int, int]]]:
    """Packets and bytes by kind, by table, of those tables that are guarded. One question for
    all. Raises NetworkError."""
    wanted = set(tables)
    found: dict[str, dict[str, tuple[int, int]]] = {}
    for table, name, packets, size in netdev_counters():
        kind = name.removeprefix(_COUNTER)
        if table in wanted and kind in KINDS:
            found.setdefault(table, {})[kind] = (packets, size)
    return found


def _arp(own: list[str], mac: str) -> list[str]:
    form = _ARP_FORM.format(mac=mac)
    if own:
        return [f"{form} arp saddr ip {_set(own)} accept",
                f"{form} arp saddr ip 0.0.0.0 arp daddr ip {_set(own)} accept"]  # fmt: skip
    return [
        f"arp saddr ip @protected4 {_drop('arp')}",
        # RFC 5227: a probe too keeps others from an address.
        f"arp saddr ip 0.0.0.0 arp daddr ip @protected4 {_drop('arp')}",
        # Many guests are lent this one, each on its own wire. No fault of theirs: not counted.
        f"arp saddr ip {LAST_RESORT_ADDRESS} drop",
        f"arp daddr ip {LAST_RESORT_ADDRESS} drop",
        f"{form} accept",
    ]


def _ipv4(own: list[str]) -> list[str]:
    if own:
        return [f"ip saddr != {_set(own)} {_drop('ipv4')}"]
    return [
        f"ip saddr @protected4 {_drop('ipv4')}",
        f"ip saddr & 255.0.0.0 == 127.0.0.0 {_drop('ipv4')}",
        f"ip saddr & 224.0.0.0 == 224.0.0.0 {_drop('ipv4')}",
    ]


def _ipv6(header: str, at: int, own: list[IPv6Address], own_half: str, *, drop: str) -> list[str]:
    """Rules on the address at bit `at` of `header`: they drop, or they let through to what
    follows."""
    whole = f"@{header},{at},128"
    if own:
        numbers = _set([_number(one) for one in own])
        foreign = f"@{header},{at},16 & 0xffc0 != 0xfe80 @{header},{at + 64},64 != {own_half}"
        return [f"{foreign} {whole} != {numbers} {_drop(drop)}"]
    return [
        f"{whole} @protected6 {_drop(drop)}",
        f"@{header},{at},8 0xff {_drop(drop)}",
        f"{whole} 1 {_drop(drop)}",
    ]


def _counters(counted: Mapping[str, tuple[int, int]]) -> str:
    lines = []
    for kind in KINDS:
        packets, size = counted.get(kind, (0, 0))
        lines.append(f"    counter {_COUNTER}{kind} {{ packets {packets} bytes {size} }}\n")
    return "".join(lines)


def _elements(protected: Iterable[str]) -> tuple[list[str], list[str]]:
    addresses = {ip_address(address) for address in protected}
    four = sorted(str(one) for one in addresses if isinstance(one, IPv4Address))
    six = sorted(_number(one) for one in addresses if isinstance(one, IPv6Address))
    return four, six


def _given(elements: list[str]) -> str:
    return f"elements = {{ {', '.join(elements)} }};" if elements else ""


def _set(values: list[str]) -> str:
    return values[0] if len(values) == 1 else f"{{ {', '.join(values)} }}"


def _number(address: IPv6Address) -> str:
    return f"0x{address.packed.hex()}"


def _drop(kind: str) -> str:
    return f'counter name "{_COUNTER}{kind}" drop'


def _lines(rules: list[str]) -> str:
    return "\n        ".join(rules)
