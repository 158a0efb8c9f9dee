"""What a hostile guest sends, and what an honest one does."""

from collections.abc import Iterator
from dataclasses import dataclass

from tests.agent.network import frames as f

SERVICE4, SERVICE6, SERVICE6_EC2 = "169.254.169.254", "fe80::a9fe:a9fe", "fd00:ec2::254"


@dataclass(frozen=True)
class Who:
    """A NIC, the other guest's, and the way out of their network."""

    mac: str
    own4: str
    own6: str
    other_mac: str
    other4: str
    other6: str
    gateway4: str
    gateway6: str
    given: bool
    """Whether the portal gave `own4` and `own6`, or the site."""

    @property
    def own_local(self) -> str:
        return f.own_link_local(self.mac)

    @property
    def other_local(self) -> str:
        return f.own_link_local(self.other_mac)

    @property
    def foreign4(self) -> list[str]:
        more = ["192.0.2.77", "10.9.8.250", "0.0.0.1"] if self.given else []
        return [self.other4, self.gateway4, SERVICE4, "224.0.0.5", "127.0.0.1", *more]

    @property
    def foreign6(self) -> list[str]:
        more = ["2001:db8::77", "fd00:9::250"] if self.given else []
        return [self.other6, self.gateway6, SERVICE6, self.other_local, "ff02::9", "::1", *more]


def forged(who: Who) -> Iterator[bytes]:
    """Frames of which none may pass; parts of packets that do no harm without their first part
    are among them."""
    plain = [
        *_other_kinds(who),
        *_arp(who),
        *_ipv4(who),
        *_ipv6_sources(who),
        *_ipv6_wrapped(who),
    ]
    yield from plain
    for at, frame in enumerate([*plain, *honest(who)]):
        yield from _tagged(frame, at)
        yield _by_another(frame, who)
    yield from _cut_off(who)


def honest(who: Who) -> Iterator[bytes]:
    """What guests do every day. All of it must pass."""
    mac, own4, own6, local = who.mac, who.own4, who.own6, who.own_local
    random_local = "fe80::1c2b:7a5e:91d0:4444"
    yield f.arp(mac, sender=own4, target=who.other4)
    yield f.arp(mac, sender=own4, target=own4)
    yield f.arp(mac, sender=own4, target=own4, operation=2)
    yield f.arp(mac, sender=f.NOBODY, target=own4)
    yield f.arp(mac, sender=own4, target=who.other4, operation=2, to=who.other_mac)

    def ip4(protocol: int, payload: bytes, target: str = who.other4, **more: object) -> bytes:
        packet = f.ipv4(protocol, payload, sender=own4, target=target, **more)  # type: ignore[arg-type]
        return f.ethernet(mac, f.IPV4, packet)

    def ip6(following: int, payload: bytes, *, target: str, sender: str = own6) -> bytes:
        return f.ethernet(mac, f.IPV6, f.ipv6(following, payload, sender=sender, target=target))

    yield ip4(f.ICMP, bytes([8, 0]) + bytes(30))
    yield ip4(f.TCP, bytes(20))
    yield ip4(f.UDP, f.udp(5353, 5353, b"mdns"), "224.0.0.251")
    yield (
        ip4(f.UDP, f.udp(68, 67, f.dhcp(1, mac)), who.gateway4)
        if not who.given
        else ip4(50, b"esp")
    )
    yield ip4(f.IGMP, bytes([0x22]) + bytes(15), "224.0.0.22", options=b"\x94\x04\0\0")
    yield ip4(f.UDP, f.udp(4000, 4001, bytes(600)), fragment=0x2000)
    yield ip4(f.UDP, bytes(200), fragment=76)
    for sender in (local, random_local, own6):
        group = "ff02::1:ff00:1"
        probe = f.neighbour(135, who.other6, sender=sender, target=group, mac=mac, option=1)
        yield ip6(f.ICMPV6, probe, sender=sender, target=group)
        answer = f.neighbour(136, sender, sender=sender, target=f.ALL_NODES, mac=mac)
        yield ip6(f.ICMPV6, answer, sender=sender, target=f.ALL_NODES)
        unique = f.icmpv6(135, bytes(4) + f.ip6(sender), sender="::", target=group)
        yield ip6(f.ICMPV6, unique, sender="::", target=group)
    report = f.icmpv6(143, bytes(24), sender=local, target="ff02::16")
    yield ip6(f.HOP_BY_HOP, f.extension(f.ICMPV6) + report, sender=local, target="ff02::16")
    early = f.icmpv6(143, bytes(24), sender="::", target="ff02::16")
    yield ip6(f.HOP_BY_HOP, f.extension(f.ICMPV6) + early, sender="::", target="ff02::16")
    yield ip6(f.UDP, f.udp(5353, 5353, b"mdns"), sender=local, target="ff02::fb")
    yield ip6(f.UDP, f.udp(546, 547, bytes(40)), sender=local, target="ff02::1:2")
    yield ip6(f.TCP, bytes(20), target=who.other6)
    yield ip6(f.ICMPV6, f.icmpv6(128, bytes(40), sender=own6, target=who.other6), target=who.other6)
    big = f.udp(4000, 4001, bytes(1000))
    first = f.fragment(f.UDP, more=True) + big[:800]
    yield ip6(f.FRAGMENT, first, target=who.other6)
    yield ip6(f.FRAGMENT, f.fragment(f.UDP, offset=100, more=False) + big[800:], target=who.other6)
    echo = f.icmpv6(128, bytes(1000), sender=own6, target=who.other6)
    yield ip6(f.FRAGMENT, f.fragment(f.ICMPV6, more=True) + echo[:800], target=who.other6)


def solicitation(who: Who) -> bytes:
    """For a router. It passes, and who has a given address gets an answer of the service too."""
    asked = f.icmpv6(133, bytes(4), sender=who.own_local, target=f.ALL_ROUTERS)
    packet = f.ipv6(f.ICMPV6, asked, sender=who.own_local, target=f.ALL_ROUTERS)
    return f.ethernet(who.mac, f.IPV6, packet)


def claims_to_be_the_service(who: Who) -> Iterator[bytes]:
    """Frames that would make others take their sender for the service, or ask another's."""
    for mac in (who.mac, who.other_mac):
        for operation in (1, 2):
            for target in (who.other4, SERVICE4, "169.254.10.1"):
                yield f.arp(mac, sender=SERVICE4, target=target, operation=operation)
        syn = bytes([0x9C, 0x40, 0, 80]) + bytes(16)
        for sender in (who.own4, who.other4, "169.254.10.1", SERVICE4):
            packet = f.ipv4(f.TCP, syn, sender=sender, target=SERVICE4)
            for to in (f.BROADCAST, who.other_mac, "02:a9:fe:a9:fe:01"):
                yield f.ethernet(mac, f.IPV4, packet, to=to)
        yield from _claims_by_ipv6(who, mac, syn)


def _claims_by_ipv6(who: Who, mac: str, syn: bytes) -> Iterator[bytes]:
    for service in (SERVICE6, SERVICE6_EC2):
        for sender in (who.own_local, who.other_local, service):
            packet = f.ipv6(f.TCP, syn, sender=sender, target=service)
            yield f.ethernet(mac, f.IPV6, packet, to=who.other_mac)
            for kind in (135, 136):
                said = f.neighbour(kind, service, sender=sender, target=f.ALL_NODES, mac=mac)
                packet = f.ipv6(f.ICMPV6, said, sender=sender, target=f.ALL_NODES)
                yield f.ethernet(mac, f.IPV6, packet)


def _other_kinds(who: Who) -> Iterator[bytes]:
    for kind in (0x88CC, 0x888E, 0x8863, 0x8864, 0x8035, 0x8847, 0x88E5, 0x22F0, 0x0842, 0x9000):
        yield f.ethernet(who.mac, kind, bytes(46))
    spanning = b"\x42\x42\x03" + bytes(35)
    yield f.ethernet(who.mac, len(spanning), spanning, to="01:80:c2:00:00:00")
    # IPv4 and ARP in an 802.3 frame (RFC 1042).
    for kind in (b"\x08\x00", b"\x08\x06"):
        snap = b"\xaa\xaa\x03\0\0\0" + kind + bytes(40)
        yield f.ethernet(who.mac, len(snap), snap)


def _arp(who: Who) -> Iterator[bytes]:
    mac = who.mac
    for operation in (1, 2):
        for sender in who.foreign4[: 3 if not who.given else None]:
            if sender == SERVICE4:
                continue
            for target in (who.other4, who.own4, sender):
                yield f.arp(mac, sender=sender, target=target, operation=operation)
        for liar in (who.other_mac, f.BROADCAST, "00:00:00:00:00:00"):
            yield f.arp(mac, sender=who.own4, target=who.other4, sender_mac=liar,
                        operation=operation)  # fmt: skip
    yield f.arp(mac, sender=f.NOBODY, target=who.other4)
    yield f.arp(mac, sender=f.NOBODY, target=who.gateway4)
    for operation in (0, 3, 4, 8, 9, 10, 0xFFFF):
        yield f.arp(mac, sender=who.own4, target=who.other4, operation=operation)
    for form in (b"\x00\x06\x08\x00\x06\x04", b"\x00\x01\x86\xdd\x06\x10",
                 b"\x00\x01\x08\x00\x08\x04", b"\x00\x01\x08\x00\x06\x00"):  # fmt: skip
        yield f.arp(mac, sender=who.own4, target=who.other4, form=form)


def _ipv4(who: Who) -> Iterator[bytes]:
    def frame(protocol: int, payload: bytes, sender: str = who.own4, **more: object) -> bytes:
        packet = f.ipv4(protocol, payload, sender=sender, target="10.9.8.255", **more)  # type: ignore[arg-type]
        return f.ethernet(who.mac, f.IPV4, packet)

    segments = [
        (f.UDP, f.udp(4000, 4001, b"x")),
        (f.TCP, bytes(20)),
        (f.ICMP, bytes([8] + [0] * 9)),
    ]
    for sender in who.foreign4:
        for protocol, payload in segments:
            for part in (0, 0x2000, 0x4000, 5, 0x2005):
                yield frame(protocol, payload, sender, fragment=part)
            yield frame(protocol, payload, sender, options=b"\x01\x01\x01\x00")
    offer = f.udp(67, 68, f.dhcp(2, who.other_mac))
    for options in (b"", b"\x01\x01\x01\x00", b"\x83\x03\x04\x00"):
        yield frame(f.UDP, offer, options=options)
        yield frame(f.UDP, f.udp(67, 67, f.dhcp(2, who.mac)), options=options)
        yield frame(f.ICMP, bytes([5, 1]) + bytes(30), options=options)
        yield frame(f.ICMP, bytes([9, 0]) + bytes(30), options=options)
        yield frame(f.IGMP, bytes([0x11]) + bytes(7), options=options)
    for cut in range(0, 65, 8):
        yield frame(f.UDP, offer[:cut], fragment=0x2000)
        yield frame(f.UDP, offer[cut:], fragment=0x2000 | cut // 8)
    for cut in (0, 1, 2, 3):
        yield frame(f.UDP, offer[:cut])
        yield frame(f.UDP, offer[:cut], fragment=0x2000)
    # Somebody else's lease.
    yield frame(f.UDP, f.udp(4068, 67, f.dhcp(1, who.other_mac)))
    yield frame(f.UDP, f.udp(4068, 67, f.dhcp(1, who.mac))[:36], fragment=0x2000)
    yield frame(f.TCP, bytes(20), f.NOBODY)
    yield frame(f.UDP, f.udp(4000, 4001, b"x"), f.NOBODY)
    for version in (0, 5, 6, 15):
        yield frame(f.TCP, bytes(20), version=version)
    # No length that holds its header.
    yield frame(f.UDP, offer, length=12)
    yield frame(f.UDP, offer, length=65_000)


def _ipv6_sources(who: Who) -> Iterator[bytes]:
    for sender in who.foreign6:
        for following, payload in (
            (f.UDP, f.udp(4000, 4001, b"x")),
            (f.TCP, bytes(20)),
            (f.ICMPV6, f.icmpv6(128, bytes(8), sender=sender, target=f.ALL_NODES)),
            (f.DESTINATION, f.extension(f.TCP) + bytes(20)),
            (f.FRAGMENT, f.fragment(f.TCP, more=True) + bytes(24)),
            (f.FRAGMENT, f.fragment(f.TCP, offset=9, more=False) + bytes(24)),
        ):
            packet = f.ipv6(following, payload, sender=sender, target=f.ALL_NODES)
            yield f.ethernet(who.mac, f.IPV6, packet)
    for payload in (f.udp(4000, 4001), bytes(20)):
        packet = f.ipv6(f.UDP, payload, sender="::", target=f.ALL_NODES)
        yield f.ethernet(who.mac, f.IPV6, packet)
    for version in (0, 4, 5, 15):
        packet = f.ipv6(f.TCP, bytes(20), sender=who.own6, target=f.ALL_NODES, version=version)
        yield f.ethernet(who.mac, f.IPV6, packet)


def _messages(who: Who, sender: str) -> Iterator[tuple[int, bytes]]:
    """What no guest may say, whatever is around it: next header and payload."""
    mac, nodes = who.mac, f.ALL_NODES
    yield f.ICMPV6, f.advertisement(sender=sender)
    yield f.ICMPV6, f.advertisement(sender=sender, seconds=0)
    redirect = bytes(4) + f.ip6(sender) + f.ip6(who.other6)
    yield f.ICMPV6, f.icmpv6(137, redirect, sender=sender, target=nodes)
    for kind in (130, 138, 151):
        yield f.ICMPV6, f.icmpv6(kind, bytes(20), sender=sender, target=nodes)
    for about in [one for one in who.foreign6 if one != SERVICE6]:
        yield f.ICMPV6, f.neighbour(136, about, sender=sender, target=nodes, mac=mac)
    yield f.UDP, f.udp(547, 546, bytes([7]) + bytes(40))
    yield f.UDP, f.udp(547, 547, bytes([13]) + bytes(40))


def _ipv6_wrapped(who: Who) -> Iterator[bytes]:
    """Each message alone, behind headers, and in parts, as RFC 7113 lists the ways."""

    def frame(following: int, payload: bytes, sender: str, hops: int = 255) -> bytes:
        packet = f.ipv6(following, payload, sender=sender, target=f.ALL_NODES, hops=hops)
        return f.ethernet(who.mac, f.IPV6, packet)

    for sender in (who.own_local, who.own6, "fe80::77"):
        for kind, message in _messages(who, sender):
            for following, payload in _wrappings(kind, message):
                yield frame(following, payload, sender)
    # What is right but for its wrapping, or for having come over a router.
    mine = f.neighbour(136, who.own6, sender=who.own6, target=f.ALL_NODES, mac=who.mac)
    yield frame(f.ICMPV6, mine, who.own6, hops=64)
    for following, payload in _wrappings(f.ICMPV6, mine):
        if following != f.ICMPV6:
            yield frame(following, payload, who.own6)
    for about in [one for one in who.foreign6 if one != SERVICE6]:
        unique = f.icmpv6(135, bytes(4) + f.ip6(about), sender="::", target=f.ALL_NODES)
        for following, payload in _wrappings(f.ICMPV6, unique):
            yield frame(following, payload, "::")


def _wrappings(kind: int, message: bytes) -> Iterator[tuple[int, bytes]]:
    yield kind, message
    hop, destination, route = f.HOP_BY_HOP, f.DESTINATION, f.ROUTING
    routing = bytes([kind, 0, 4, 0, 0, 0, 0, 0])
    yield hop, f.extension(kind) + message
    yield destination, f.extension(kind) + message
    yield destination, f.extension(kind, words=30) + message
    yield route, routing + message
    yield hop, f.extension(destination) + f.extension(kind) + message
    yield destination, f.extension(destination) * 6 + f.extension(kind) + message
    for odd in (135, 139, 140, 253, 254, 59):
        yield odd, f.extension(kind) + message
        yield destination, f.extension(odd) + f.extension(kind) + message
    # In one part that says it is one, alone and twice over.
    yield f.FRAGMENT, f.fragment(kind, more=False) + message
    yield f.FRAGMENT, f.fragment(f.FRAGMENT, more=False) + f.fragment(kind, more=False) + message
    yield destination, f.extension(f.FRAGMENT) + f.fragment(kind, more=False) + message
    # The headers fill the first part: what it is about comes with the second.
    for options in (f.extension(kind), f.extension(destination) + f.extension(kind)):
        whole = options + message
        yield f.FRAGMENT, f.fragment(destination, more=True) + options
        yield f.FRAGMENT, f.fragment(destination, more=True) + options[:8]
        yield f.FRAGMENT, f.fragment(destination, offset=1, more=False) + whole[8:]
    for cut in range(8, len(message), 16):
        yield f.FRAGMENT, f.fragment(kind, more=True) + message[:cut]
        yield f.FRAGMENT, f.fragment(kind, offset=cut // 8, more=False) + message[cut:]
    for cut in (0, 1) if kind == f.UDP else (0,):
        yield kind, message[:cut]
        yield f.FRAGMENT, f.fragment(kind, more=True) + message[:cut]


def _tagged(frame: bytes, at: int) -> Iterator[bytes]:
    first = f.tag(at % 4095, protocol=(0x8100, 0x88A8, 0x9100)[at % 3])
    inner = f.tag(7, protocol=(0x8100, 0x88A8)[at % 2])
    for tags in (first, f.tag(0, priority=5), first + inner, f.tag(0) + f.tag(0) + inner):
        yield frame[:12] + tags + frame[12:]


def _by_another(frame: bytes, who: Who) -> bytes:
    return frame[:6] + f.mac_bytes(who.other_mac) + frame[12:]


def _cut_off(who: Who) -> Iterator[bytes]:
    """Honest frames that end too early to be understood."""
    asked = f.arp(who.mac, sender=who.own4, target=who.other4)
    yield from (asked[:length] for length in range(14, len(asked)))
    packet = f.ethernet(who.mac, f.IPV4, f.ipv4(f.UDP, b"", sender=who.own4, target=who.other4))
    yield from (packet[:length] for length in range(14, len(packet) + 1))
    six = f.ipv6(f.UDP, b"", sender=who.own6, target=who.other6)
    packet = f.ethernet(who.mac, f.IPV6, six)
    yield from (packet[:length] for length in range(14, len(packet) + 1))
