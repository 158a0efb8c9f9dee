"""Whether a frame that has passed a guard may have: worked out anew, by other means than its
rules."""

import ipaddress
import struct
from collections.abc import Iterator

from tests.agent.network import frames as f
from tests.agent.network.ears import Heard
from tests.agent.network.forged import SERVICE4, SERVICE6, SERVICE6_EC2, Who

_EXTENSIONS = (f.HOP_BY_HOP, f.ROUTING, f.DESTINATION, 135, 139, 140, 253, 254)
_NEIGHBOURS = (133, 135, 136)


def fault(heard: Heard, who: Who) -> str | None:
    """What is wrong with it, or None."""
    return next(_faults(heard, who), None)


def is_later_part(heard: Heard) -> bool:
    """Whether nothing comes of it without a part that came before."""
    kind, packet = int.from_bytes(heard.frame[12:14], "big"), heard.frame[14:]
    if kind == f.IPV4:
        return bool(int.from_bytes(packet[6:8], "big") & 0x1FFF)
    _, offset, _ = _walk(packet)
    return kind == f.IPV6 and offset > 0


def _faults(heard: Heard, who: Who) -> Iterator[str]:
    frame = heard.frame
    kind = int.from_bytes(frame[12:14], "big")
    if heard.tagged or frame[6:12] != f.mac_bytes(who.mac):
        yield "a tag, or another's MAC"
    judge = {f.ARP: _arp, f.IPV4: _ipv4, f.IPV6: _ipv6}.get(kind)
    if judge is None:
        yield f"of kind {kind:#x}"
    else:
        yield from judge(frame[14:], who)


def _arp(body: bytes, who: Who) -> Iterator[str]:
    if len(body) < 28:
        yield "no whole ARP"
        return
    sender, target = (str(ipaddress.IPv4Address(body[at : at + 4])) for at in (14, 24))
    if body[:6] != b"\x00\x01\x08\x00\x06\x04" or body[6:8] not in (b"\0\1", b"\0\2"):
        yield "no form of ARP"
    if body[8:14] != f.mac_bytes(who.mac):
        yield "ARP with another's MAC"
    about = target if sender == f.NOBODY else sender
    if not _own4(about, who):
        yield f"ARP about {about}"


def _ipv4(packet: bytes, who: Who) -> Iterator[str]:
    if len(packet) < 20 or packet[0] >> 4 != 4:
        yield "no IPv4"
        return
    sender = str(ipaddress.IPv4Address(packet[12:16]))
    part = int.from_bytes(packet[6:8], "big")
    protocol, payload = packet[9], packet[(packet[0] & 15) * 4 :]
    to_server = protocol == f.UDP and payload[2:4] == b"\0\x43"
    if sender == f.NOBODY:
        if not (protocol == f.IGMP or (to_server and not part & 0x3FFF)):
            yield "nobody's IPv4"
    elif not _own4(sender, who):
        yield f"IPv4 of {sender}"
    if part & 0x1FFF:
        return
    if protocol == f.UDP and (len(payload) < 4 or payload[:2] == b"\0\x43"):
        yield "a DHCP server's"
    if to_server and payload[36:42] != f.mac_bytes(who.mac):
        yield "another's lease"
    if (protocol, payload[0] if payload else 0) in ((f.ICMP, 5), (f.ICMP, 9), (f.IGMP, 0x11)):
        yield "a router's"


def _ipv6(packet: bytes, who: Who) -> Iterator[str]:
    if len(packet) < 40 or packet[0] >> 4 != 6:
        yield "no IPv6"
        return
    sender = str(ipaddress.IPv6Address(packet[8:24]))
    if sender != "::" and not _own6(sender, who):
        yield f"IPv6 of {sender}"
    protocol, offset, payload = _walk(packet)
    if sender == "::" and (offset > 0 or protocol != f.ICMPV6):
        yield "nobody's IPv6"
    if offset > 0:
        return
    if protocol == f.UDP and (len(payload) < 2 or payload[:2] == b"\x02\x23"):
        yield "a DHCP server's"
    if protocol == f.ICMPV6:
        yield from _icmpv6(packet, payload, who, sender)


def _icmpv6(packet: bytes, message: bytes, who: Who, sender: str) -> Iterator[str]:
    kind = message[0] if message else 134
    if kind in (130, 134, 137, 138, 151, 152, 153):
        yield "a router's"
    if kind in _NEIGHBOURS and (packet[6] != f.ICMPV6 or packet[7] != 255):
        yield "a neighbour's, wrapped"
    if kind == 136 or (kind == 135 and sender == "::"):
        about = str(ipaddress.IPv6Address(message[8:24])) if len(message) >= 24 else "::"
        if not _own6(about, who):
            yield f"a claim to {about}"


def _walk(packet: bytes) -> tuple[int, int, bytes]:
    """The last header's number, the offset of the part, and what follows."""
    following, rest, offset = packet[6], packet[40:], 0
    while following in (*_EXTENSIONS, f.FRAGMENT) and len(rest) >= 8:
        if following == f.FRAGMENT:
            offset, length = struct.unpack("!H", rest[2:4])[0] >> 3, 8
        else:
            length = 8 + rest[1] * 8
        following, rest = rest[0], rest[length:]
        if offset:
            break
    return following, offset, rest


def _own4(address: str, who: Who) -> bool:
    if who.given:
        return address == who.own4
    return address not in (who.other4, who.gateway4, SERVICE4)


def _own6(address: str, who: Who) -> bool:
    one = ipaddress.IPv6Address(address)
    half, own_half = (ipaddress.IPv6Address(text).packed[8:] for text in (address, who.own_local))
    if address in (SERVICE6, SERVICE6_EC2) or (half[:5] == own_half[:5] and half != own_half):
        return False
    if who.given:
        return one.is_link_local or address == who.own6 or half == own_half
    return address not in (who.other6, who.gateway6) and not one.is_multicast
