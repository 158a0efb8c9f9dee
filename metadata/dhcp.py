"""DHCPv4 on one NIC's own wire: parsing, deciding, building. No sockets here.

RFC 2131 and 2132; classless routes are RFC 3442, search domains RFC 3397. Packets come from a
guest and are hostile: every length is checked before it is followed.
"""

import struct
from collections.abc import Iterator
from enum import IntEnum
from ipaddress import AddressValueError, IPv4Address, IPv4Interface, IPv4Network

import msgspec

from metadata.documents import METADATA_IPV4, Lease

SERVER = IPv4Address(METADATA_IPV4)
BROADCAST_MAC = b"\xff" * 6

_ANY = IPv4Address(0)
_LIMITED_BROADCAST = IPv4Address("255.255.255.255")
_COOKIE = b"\x63\x82\x53\x63"
_FIXED = struct.Struct("!BBBBIHH4s4s4s4s16s64s128s")
_LEAST_PAYLOAD = 300
"""BOOTP's size, below which some old relays and clients drop a message."""
_MOST_OPTIONS = 255
_LEAST_MESSAGE = 576
"""Bytes of an IP packet that every client takes; more where it says so (option 57)."""
_MOST_MESSAGE = 1500
_MOST_VALUE = 255
_SERVER_PORT, _CLIENT_PORT = 67, 68
_UDP = 17


class Kind(IntEnum):
    DISCOVER = 1
    OFFER = 2
    REQUEST = 3
    DECLINE = 4
    ACK = 5
    NAK = 6
    RELEASE = 7
    INFORM = 8


class Option(IntEnum):
    SUBNET_MASK = 1
    ROUTER = 3
    NAME_SERVERS = 6
    HOSTNAME = 12
    DOMAIN = 15
    MTU = 26
    BROADCAST_ADDRESS = 28
    REQUESTED_ADDRESS = 50
    LEASE_SECONDS = 51
    KIND = 53
    SERVER_ID = 54
    LARGEST_MESSAGE = 57
    RENEWAL_SECONDS = 58
    REBINDING_SECONDS = 59
    SEARCH_DOMAINS = 119
    CLASSLESS_ROUTES = 121


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """A client's message, as far as it matters here."""

    kind: Kind
    transaction: int
    broadcast: bool
    mac: bytes
    client: IPv4Address
    """The address the client says it has; 0.0.0.0 for none."""
    requested: IPv4Address | None
    server: IPv4Address | None
    largest: int = _LEAST_MESSAGE
    """Bytes of the largest IP packet that the client takes."""


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """A whole IP packet, and the MAC it goes to."""

    mac: bytes
    packet: bytes


class MalformedError(ValueError):
    """Not a DHCP request that a client would send."""


# ------------------------------------------------------------------ reading


def parse(packet: bytes) -> Request:
    """Read an IP packet with a client's message in it. Raises MalformedError."""
    payload = _udp_payload(packet)
    if len(payload) < _FIXED.size + len(_COOKIE):
        raise MalformedError("short message")
    (operation, hardware, length, _hops, transaction, _seconds, flags, client, _your, _next) = (
        _FIXED.unpack_from(payload)[:10]
    )
    relay, address = _FIXED.unpack_from(payload)[10:12]
    if operation != 1 or hardware != 1 or length != 6:
        raise MalformedError("not a request of an Ethernet client")
    if relay != bytes(4):
        raise MalformedError("relayed, and there is no relay on this wire")
    if payload[_FIXED.size : _FIXED.size + 4] != _COOKIE:
        raise MalformedError("BOOTP without DHCP")
    options = dict(_options(payload[_FIXED.size + 4 :]))
    kind = options.get(Option.KIND, b"")
    try:
        return Request(
            kind=Kind(kind[0] if len(kind) == 1 else 0),
            transaction=transaction,
            broadcast=bool(flags & 0x8000),
            mac=address[:6],
            client=IPv4Address(client),
            requested=_address(options.get(Option.REQUESTED_ADDRESS)),
            server=_address(options.get(Option.SERVER_ID)),
            largest=_largest(options.get(Option.LARGEST_MESSAGE)),
        )
    except (ValueError, AddressValueError) as error:
        raise MalformedError(str(error)) from error


def _udp_payload(packet: bytes) -> bytes:
    if len(packet) < 20 or packet[0] >> 4 != 4:
        raise MalformedError("not IPv4")
    header = (packet[0] & 0x0F) * 4
    total = int.from_bytes(packet[2:4], "big")
    fragment = int.from_bytes(packet[6:8], "big") & 0x3FFF
    if header < 20 or total > len(packet) or total < header + 8:
        raise MalformedError("lengths do not fit")
    if packet[9] != _UDP or fragment:
        raise MalformedError("not a whole UDP packet")
    datagram = packet[header:total]
    source, destination, length = struct.unpack_from("!HHH", datagram)
    if (source, destination) != (_CLIENT_PORT, _SERVER_PORT):
        raise MalformedError("not from a client's port to a server's")
    if length < 8 or length > len(datagram):
        raise MalformedError("lengths do not fit")
    return datagram[8:length]


def _options(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Options in order. One that is cut off ends the list."""
    at = 0
    for _ in range(_MOST_OPTIONS):
        if at >= len(data) or data[at] == 255:
            return
        if data[at] == 0:
            # Padding is free: it counts as no option, and a packet is of bounded length.
            rest = data[at:].lstrip(b"\0")
            at = len(data) - len(rest)
            continue
        if at + 2 > len(data) or at + 2 + data[at + 1] > len(data):
            return
        yield data[at], data[at + 2 : at + 2 + data[at + 1]]
        at += 2 + data[at + 1]


def _address(value: bytes | None) -> IPv4Address | None:
    if value is None:
        return None
    if len(value) != 4:
        raise MalformedError("an address of other than four bytes")
    return IPv4Address(value)


def _largest(value: bytes | None) -> int:
    if value is None or len(value) != 2:
        return _LEAST_MESSAGE
    return min(max(int.from_bytes(value, "big"), _LEAST_MESSAGE), _MOST_MESSAGE)


# ------------------------------------------------------------------ answering


def answer(request: Request, lease: Lease, *, hostname: str) -> Reply | None:
    """What the one server on this wire says, or None where it has to be silent."""
    address = IPv4Address(lease.address)
    if request.server is not None and request.server != SERVER:
        return None
    match request.kind:
        case Kind.DISCOVER:
            return _reply(request, Kind.OFFER, address, lease_options(lease, hostname=hostname))
        case Kind.REQUEST:
            wanted = request.requested if request.requested is not None else request.client
            if wanted != address:
                return _reply(request, Kind.NAK, _ANY, [])
            return _reply(request, Kind.ACK, address, lease_options(lease, hostname=hostname))
        case Kind.INFORM:
            options = lease_options(lease, hostname=hostname)
            untimed = [one for one in options if one[0] not in _TIMES]
            return _reply(request, Kind.ACK, _ANY, untimed)
    return None


_TIMES = (Option.LEASE_SECONDS, Option.RENEWAL_SECONDS, Option.REBINDING_SECONDS)


def lease_options(lease: Lease, *, hostname: str) -> list[tuple[Option, bytes]]:
    """The lease as options, those first that a guest can least do without."""
    interface = IPv4Interface(f"{lease.address}/{lease.prefix}")
    options = [
        (Option.LEASE_SECONDS, lease.seconds.to_bytes(4, "big")),
        (Option.SUBNET_MASK, interface.netmask.packed),
        (Option.BROADCAST_ADDRESS, interface.network.broadcast_address.packed),
        (Option.MTU, lease.mtu.to_bytes(2, "big")),
        # The shares that RFC 2131 (4.4.5) proposes.
        (Option.RENEWAL_SECONDS, (lease.seconds // 2).to_bytes(4, "big")),
        (Option.REBINDING_SECONDS, (lease.seconds * 7 // 8).to_bytes(4, "big")),
    ]
    if lease.gateway is not None:
        options.append((Option.ROUTER, IPv4Address(lease.gateway).packed))
    options.append((Option.CLASSLESS_ROUTES, _routes(lease)))
    if lease.dns:
        servers = b"".join(IPv4Address(server).packed for server in lease.dns)
        options.append((Option.NAME_SERVERS, servers))
    name = hostname.partition(".")[0].encode("ascii", "ignore")[:63]
    if name:
        options.append((Option.HOSTNAME, name))
    domain = lease.domain or next(iter(lease.search), None)
    if domain:
        options.append((Option.DOMAIN, domain.encode("ascii", "ignore")[:253]))
    if lease.search:
        options.append((Option.SEARCH_DOMAINS, _domains(lease.search)))
    return options


def _routes(lease: Lease) -> bytes:
    """RFC 3442. Clients that take these leave the router aside, so the default is among them."""
    # On the wire itself: reached even where the gateway is wrong or away.
    routes = b"\x20" + SERVER.packed + _ANY.packed
    if lease.gateway is not None:
        routes += b"\x00" + IPv4Address(lease.gateway).packed
    for route in lease.routes:
        network = IPv4Network(route.destination)
        told = (network.prefixlen + 7) // 8
        routes += bytes([network.prefixlen]) + network.network_address.packed[:told]
        routes += IPv4Address(route.gateway).packed
    return routes


def _domains(names: list[str]) -> bytes:
    """RFC 3397: as in DNS. Not compressed, which is optional and not read by all."""
    encoded = b""
    for name in names:
        labels = [label.encode("ascii", "ignore")[:63] for label in name.split(".")]
        encoded += b"".join(bytes([len(label)]) + label for label in labels if label) + b"\0"
    return encoded


def _reply(
    request: Request, kind: Kind, address: IPv4Address, options: list[tuple[Option, bytes]]
) -> Reply:
    sent = [(Option.KIND, bytes([kind])), (Option.SERVER_ID, SERVER.packed), *options]
    encoded = _encoded(sent, room=request.largest - _OVERHEAD)
    acknowledged = kind is not Kind.NAK
    payload = (
        _FIXED.pack(
            *(2, 1, 6, 0),
            request.transaction,
            0,
            0x8000 if request.broadcast else 0,
            request.client.packed if acknowledged else bytes(4),
            address.packed,
            bytes(4),
            bytes(4),
            request.mac.ljust(16, b"\0"),
            bytes(64),
            bytes(128),
        )
        + _COOKIE
        + encoded
    ).ljust(_LEAST_PAYLOAD, b"\0")
    mac, destination = _destination(request, address, acknowledged=acknowledged)
    return Reply(mac=mac, packet=_ip_packet(destination, payload))


_OVERHEAD = 20 + 8 + _FIXED.size + len(_COOKIE) + 1
"""Bytes of a packet that are not options: headers, the fixed part, and the end."""


def _encoded(options: list[tuple[Option, bytes]], *, room: int) -> bytes:
    """The options that fit, whole ones only, and the end. A long value goes out in pieces that
    the client puts together again (RFC 3396)."""
    encoded = b""
    for code, value in options:
        pieces = [value[at : at + _MOST_VALUE] for at in range(0, len(value), _MOST_VALUE)]
        option = b"".join(bytes([code, len(piece)]) + piece for piece in pieces)
        if len(encoded) + len(option) <= room:
            encoded += option
    return encoded + b"\xff"


def _destination(
    request: Request, address: IPv4Address, *, acknowledged: bool
) -> tuple[bytes, IPv4Address]:
    """RFC 2131, section 4.1: a client with an address is spoken to at it, one without at its
    MAC, unless it asked for broadcast. A refusal is always broadcast."""
    if not acknowledged:
        return BROADCAST_MAC, _LIMITED_BROADCAST
    if request.client != _ANY:
        return request.mac, request.client
    if request.broadcast or address == _ANY:
        return BROADCAST_MAC, _LIMITED_BROADCAST
    return request.mac, address


def _ip_packet(destination: IPv4Address, payload: bytes) -> bytes:
    length = 8 + len(payload)
    addresses = SERVER.packed + destination.packed
    udp = struct.pack("!HHHH", _SERVER_PORT, _CLIENT_PORT, length, 0) + payload
    pseudo = addresses + struct.pack("!BBH", 0, _UDP, length)
    udp = udp[:6] + struct.pack("!H", _checksum(pseudo + udp) or 0xFFFF) + udp[8:]
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + length, 0, 0x4000, 64, _UDP, 0) + addresses
    header = header[:10] + struct.pack("!H", _checksum(header)) + header[12:]
    return header + udp


def _checksum(data: bytes) -> int:
    if len(data) % 2:
        data += b"\0"
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
