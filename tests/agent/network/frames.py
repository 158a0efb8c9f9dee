"""Ethernet frames built by hand: well-formed ones, and ones that no stack would send."""

import socket
import struct
from collections.abc import Sequence

BROADCAST = "ff:ff:ff:ff:ff:ff"
NOBODY = socket.inet_ntoa(bytes(4))
ALL_NODES, ALL_ROUTERS = "ff02::1", "ff02::2"
ARP, IPV4, IPV6 = 0x0806, 0x0800, 0x86DD
ICMP, IGMP, TCP, UDP, ICMPV6 = 1, 2, 6, 17, 58
HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION = 0, 43, 44, 60


def mac_bytes(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))


def ip4(address: str) -> bytes:
    return socket.inet_aton(address)


def ip6(address: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6, address)


def checksum(data: bytes) -> int:
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ethernet(
    source: str, kind: int, payload: bytes, *, to: str = BROADCAST, tags: Sequence[bytes] = ()
) -> bytes:
    head = mac_bytes(to) + mac_bytes(source)
    return head + b"".join(tags) + struct.pack("!H", kind) + payload


def tag(vlan: int, *, protocol: int = 0x8100, priority: int = 0) -> bytes:
    return struct.pack("!HH", protocol, priority << 13 | vlan)


def arp(
    source: str,
    *,
    sender: str,
    target: str,
    sender_mac: str | None = None,
    operation: int = 1,
    form: bytes = b"\x00\x01\x08\x00\x06\x04",
    to: str = BROADCAST,
) -> bytes:
    who = mac_bytes(sender_mac or source) + ip4(sender)
    body = form + struct.pack("!H", operation) + who + bytes(6) + ip4(target)
    return ethernet(source, ARP, body, to=to)


def ipv4(
    protocol: int,
    payload: bytes,
    *,
    sender: str,
    target: str,
    fragment: int = 0,
    options: bytes = b"",
    version: int = 4,
    length: int | None = None,
) -> bytes:
    """A packet. `fragment` is the whole field: offset in units of 8 bytes, 0x2000 for more."""
    words = 5 + len(options) // 4
    total = words * 4 + len(payload) if length is None else length
    head = struct.pack("!BBHHHBBH", version << 4 | words, 0, total, 77, fragment, 64, protocol, 0)
    head += ip4(sender) + ip4(target) + options
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + payload


def udp(source: int, target: int, payload: bytes = b"") -> bytes:
    return struct.pack("!HHHH", source, target, 8 + len(payload), 0) + payload


def dhcp(operation: int, mac: str) -> bytes:
    """BOOTP's fixed part and DHCP's mark, and what kind it is: discover, or an offer."""
    fixed = struct.pack("!BBBBIHH", operation, 1, 6, 0, 0x1234, 0, 0x8000) + bytes(16)
    kind = 1 if operation == 1 else 2
    return (
        fixed
        + mac_bytes(mac).ljust(16, b"\0")
        + bytes(192)
        + b"\x63\x82\x53\x63"
        + bytes([53, 1, kind, 255])
    )


def ipv6(
    following: int,
    payload: bytes,
    *,
    sender: str,
    target: str,
    hops: int = 255,
    version: int = 6,
    length: int | None = None,
) -> bytes:
    size = len(payload) if length is None else length
    head = struct.pack("!IHBB", version << 28, size, following, hops)
    return head + ip6(sender) + ip6(target) + payload


def extension(following: int, *, words: int = 0) -> bytes:
    """Hop-by-hop or destination options: padding alone."""
    room = 6 + 8 * words
    return bytes([following, words, 1, room - 2]) + bytes(room - 2)


def fragment(following: int, *, offset: int = 0, more: bool, identity: int = 99) -> bytes:
    """`offset` in units of 8 bytes."""
    return struct.pack("!BBHI", following, 0, offset << 3 | int(more), identity)


def icmpv6(kind: int, body: bytes, *, sender: str, target: str) -> bytes:
    """The message with its checksum."""
    message = struct.pack("!BBH", kind, 0, 0) + body
    pseudo = ip6(sender) + ip6(target) + struct.pack("!II", len(message), ICMPV6)
    return message[:2] + struct.pack("!H", checksum(pseudo + message)) + message[4:]


def advertisement(*, sender: str, target: str = ALL_NODES, seconds: int = 1800) -> bytes:
    """A router's, with a prefix to take addresses from."""
    prefix = struct.pack("!BBBBIII", 3, 4, 64, 0xC0, 86_400, 14_400, 0) + ip6("2001:db8:bad::")
    body = struct.pack("!BBHII", 64, 0, seconds, 0, 0) + prefix
    return icmpv6(134, body, sender=sender, target=target)


def neighbour(
    kind: int, about: str, *, sender: str, target: str, mac: str, option: int = 2
) -> bytes:
    """A solicitation (135) or an advertisement (136) of `about`."""
    flags = 0x2000_0000 if kind == 136 else 0
    body = struct.pack("!I", flags) + ip6(about) + bytes([option, 1]) + mac_bytes(mac)
    return icmpv6(kind, body, sender=sender, target=target)


def own_link_local(mac: str) -> str:
    """The address that is made of a MAC (RFC 4291, appendix A)."""
    one = mac_bytes(mac)
    half = bytes([one[0] ^ 2, *one[1:3], 0xFF, 0xFE, *one[3:]])
    return socket.inet_ntop(socket.AF_INET6, b"\xfe\x80" + bytes(6) + half)
