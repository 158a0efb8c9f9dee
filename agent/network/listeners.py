"""The sockets that the metadata server gets, opened where the caller's thread is."""

import contextlib
import ctypes
import os
import socket
import struct

from metadata.documents import METADATA_IPV4, METADATA_IPV6
from metadata.router import ALL_ROUTERS, ROUTER_SOLICITATION

_BACKLOG = 32
# Answers end at the guest: a container or a nested guest behind it gets none.
_HOP_LIMIT = 1

_ETH_P_IP = 0x0800
_ICMP6_FILTER = 1  # linux/icmpv6.h; a set bit blocks the type
_SO_ATTACH_FILTER = 26
_SO_LOCK_FILTER = 44
_UDP = 17
_BOOTPS = 67

# Classic BPF: UDP to port 67, no fragments, on a socket whose packets start with IP.
_FILTER = (
    (0x30, 0, 0, 9),  # A = protocol
    (0x15, 0, 6, _UDP),
    (0x28, 0, 0, 6),  # A = flags and fragment offset
    (0x45, 4, 0, 0x3FFF),  # more fragments, or not the first one
    (0xB1, 0, 0, 0),  # X = length of the IP header
    (0x48, 0, 0, 2),  # A = destination port
    (0x15, 0, 1, _BOOTPS),
    (0x06, 0, 0, 0xFFFF),
    (0x06, 0, 0, 0),
)


def open_listeners(link: str) -> list[int]:
    """Descriptors, owned by the caller: HTTP over IPv4, HTTP over IPv6, DHCP packets, the
    socket that keeps the kernel from answering DHCP with "port unreachable", and router
    solicitations."""
    with contextlib.ExitStack() as opened:
        sockets = [
            opened.enter_context(one)
            for one in (
                _http4(),
                _http6(link),
                _packets(link),
                _port_holder(link),
                _solicitations(link),
            )
        ]
        return [os.dup(one.fileno()) for one in sockets]


def _http4() -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    _share(listener)
    listener.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, _HOP_LIMIT)
    listener.bind((METADATA_IPV4, 80))
    listener.listen(_BACKLOG)
    return listener


def _http6(link: str) -> socket.socket:
    listener = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
    _share(listener)
    listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, _HOP_LIMIT)
    # Any address of the namespace: the link-local one, and the one of the EC2 form.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, link.encode())
    listener.bind(("::", 80))
    listener.listen(_BACKLOG)
    return listener


def _packets(link: str) -> socket.socket:
    # Packets rather than UDP: a client without an address is answered at its MAC.
    listener = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
    _attach_filter(listener)
    listener.bind((link, _ETH_P_IP))
    return listener


def _port_holder(link: str) -> socket.socket:
    holder = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    _share(holder)
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, link.encode())
    holder.bind(("", _BOOTPS))
    return holder


def _solicitations(link: str) -> socket.socket:
    index = socket.if_nametoindex(link)
    listener = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
    blocked = [0xFFFF_FFFF] * 8
    blocked[ROUTER_SOLICITATION // 32] &= ~(1 << ROUTER_SOLICITATION % 32)
    listener.setsockopt(socket.IPPROTO_ICMPV6, _ICMP6_FILTER, struct.pack("=8I", *blocked))
    group = socket.inet_pton(socket.AF_INET6, ALL_ROUTERS) + struct.pack("@I", index)
    listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, group)
    # Advertisements count only when they come from the link itself (RFC 4861, 6.1.2).
    listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
    listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
    listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP, 0)
    listener.bind((METADATA_IPV6, 0, 0, index))
    return listener


def _share(listener: socket.socket) -> None:
    # A server that is on its way out may still hold the port.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)


def _attach_filter(listener: socket.socket) -> None:
    code = b"".join(struct.pack("=HBBI", *instruction) for instruction in _FILTER)
    buffer = ctypes.create_string_buffer(code, len(code))
    program = struct.pack("@HP", len(_FILTER), ctypes.addressof(buffer))
    listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)
    # Whoever gets the socket cannot listen to more.
    listener.setsockopt(socket.SOL_SOCKET, _SO_LOCK_FILTER, 1)
