"""Reading nftables' named counters, by netlink itself: the nft command reads every rule and set
of the host first, which takes seconds where there are many NICs.

Numbers are those of linux/netfilter/nf_tables.h and linux/netlink.h.
"""

import os
import socket
import struct
from collections.abc import Iterator

from agent.network.errors import NetworkError

_NETLINK_NETFILTER = 12
_FAMILY_NETDEV = 5
_GET_OBJECTS, _NEW_OBJECT = 10 << 8 | 19, 10 << 8 | 18
_REQUEST_DUMP = 0x301
_ERROR, _DONE = 2, 3
_TABLE, _NAME, _TYPE, _DATA = 1, 2, 3, 4
_COUNTER = 1
_BYTES, _PACKETS = 1, 2
_HEAD = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_TYPE_BITS = 0x3FFF
_TIMEOUT_S = 10.0


def netdev_counters() -> Iterator[tuple[str, str, int, int]]:
    """Table, name, packets and bytes of each in the netdev family. Raises NetworkError."""
    wanted = struct.pack("!BBH", _FAMILY_NETDEV, 0, 0)
    wanted += _ATTRIBUTE.pack(8, _TYPE) + struct.pack("!I", _COUNTER)
    request = _HEAD.pack(_HEAD.size + len(wanted), _GET_OBJECTS, _REQUEST_DUMP, 1, 0) + wanted
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER) as kernel:
            kernel.settimeout(_TIMEOUT_S)
            kernel.sendto(request, (0, 0))
            yield from _answers(kernel)
    except OSError as error:
        raise NetworkError(
            "internal", f"The kernel does not tell its counters: {error.strerror or error}."
        ) from error


def _answers(kernel: socket.socket) -> Iterator[tuple[str, str, int, int]]:
    while True:
        data = kernel.recv(262_144)
        at = 0
        while at + _HEAD.size <= len(data):
            length, kind, *_ = _HEAD.unpack_from(data, at)
            body = data[at + _HEAD.size : at + length]
            at += max(_HEAD.size, length + 3 & ~3)
            if kind == _DONE:
                return
            if kind == _ERROR:
                code = -int(struct.unpack_from("=i", body)[0])
                if code:
                    raise OSError(code, os.strerror(code))
                return
            if kind == _NEW_OBJECT:
                # After the family, a version and a resource.
                found = dict(_attributes(body[4:]))
                counted = dict(_attributes(found[_DATA]))
                yield (
                    _text(found[_TABLE]),
                    _text(found[_NAME]),
                    int.from_bytes(counted[_PACKETS], "big"),
                    int.from_bytes(counted[_BYTES], "big"),
                )


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        yield kind & _TYPE_BITS, data[at + _ATTRIBUTE.size : at + length]
        at += max(_ATTRIBUTE.size, length + 3 & ~3)


def _text(value: bytes) -> str:
    return value.rstrip(b"\0").decode()
