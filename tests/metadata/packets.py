"""DHCP packets as clients send them, and what a client reads from the answer."""

import struct
from ipaddress import IPv4Address

MAC = bytes.fromhex("525400000001")
NOBODY = str(IPv4Address(0))


def client_packet(
    kind: int,
    *,
    mac: bytes = MAC,
    requested: str | None = None,
    server: str | None = None,
    client: str = NOBODY,
    broadcast: bool = False,
    transaction: int = 0x1234,
    relay: str = NOBODY,
    source_port: int = 68,
) -> bytes:
    """A whole IP packet."""
    options = bytes([53, 1, kind])
    if requested is not None:
        options += bytes([50, 4]) + IPv4Address(requested).packed
    if server is not None:
        options += bytes([54, 4]) + IPv4Address(server).packed
    payload = (
        struct.pack("!BBBBIHH", 1, 1, 6, 0, transaction, 0, 0x8000 if broadcast else 0)
        + IPv4Address(client).packed
        + bytes(8)
        + IPv4Address(relay).packed
        + mac.ljust(16, b"\0")
        + bytes(192)
        + b"\x63\x82\x53\x63"
        + options
        + b"\xff"
    )
    return ip_packet(payload, source_port=source_port)


def ip_packet(payload: bytes, *, source_port: int = 68) -> bytes:
    udp = struct.pack("!HHHH", source_port, 67, 8 + len(payload), 0) + payload
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0)
    return header + bytes(4) + b"\xff" * 4 + udp


def options_of(packet: bytes) -> dict[int, bytes]:
    """Options of a server's packet."""
    data = packet[28 + 240 :]
    found = {}
    while data and data[0] != 255:
        found[data[0]] = data[2 : 2 + data[1]]
        data = data[2 + data[1] :]
    return found


def your_address(packet: bytes) -> str:
    return str(IPv4Address(packet[28 + 16 : 28 + 20]))


def destination(packet: bytes) -> str:
    return str(IPv4Address(packet[16:20]))


def checksum(data: bytes) -> int:
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total
