"""What is asked of nftables by netlink itself, in the netdev family. The nft command reads every
table of the host first, or even every rule: that takes seconds where there are many NICs.

Numbers are those of linux/netfilter/nf_tables.h and linux/netlink.h.
"""

import os
import socket
import struct
from collections.abc import Iterator

from agent.network.errors import NetworkError

_NETLINK_NETFILTER = 12
_FAMILY_NETDEV = 5
_NFTABLES = 10
_BATCH_BEGIN, _BATCH_END = 0x10, 0x11
_DELETE_TABLE, _GET_OBJECTS, _NEW_OBJECT = (_NFTABLES << 8 | kind for kind in (2, 19, 18))
_REQUEST, _REQUEST_ACK, _REQUEST_DUMP = 0x1, 0x5, 0x301
_ERROR, _DONE = 2, 3
_TABLE_NAME = 1
_TABLE, _NAME, _TYPE, _DATA = 1, 2, 3, 4
_COUNTER = 1
_BYTES, _PACKETS = 1, 2
_HEAD = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_TYPE_BITS = 0x3FFF
_TIMEOUT_S = 10.0


def netdev_counters() -> Iterator[tuple[str, str, int, int]]:
    """Table, name, packets and bytes of each in the netdev family. Raises NetworkError."""
    counters = _ATTRIBUTE.pack(8, _TYPE) + struct.pack("!I", _COUNTER)
    try:
        with _kernel() as kernel:
            kernel.sendto(_message(_GET_OBJECTS, _REQUEST_DUMP, counters), (0, 0))
            yield from _answers(kernel)
    except OSError as error:
        raise NetworkError(
            "internal", f"The kernel does not tell its counters: {error.strerror or error}."
        ) from error


def delete_netdev_table(name: str) -> None:
    """Idempotent. Raises NetworkError."""
    text = name.encode() + b"\0"
    attribute = _ATTRIBUTE.pack(_ATTRIBUTE.size + len(text), _TABLE_NAME) + text
    batch = (
        _message(_BATCH_BEGIN, _REQUEST, family=0, resource=_NFTABLES)
        + _message(_DELETE_TABLE, _REQUEST_ACK, attribute)
        + _message(_BATCH_END, _REQUEST, family=0, resource=_NFTABLES)
    )
    try:
        with _kernel() as kernel:
            kernel.sendto(batch, (0, 0))
            for _ in _answers(kernel):
                pass
    except FileNotFoundError:
        return
    except OSError as error:
        raise NetworkError(
            "internal", f"The table {name} cannot be removed: {error.strerror or error}."
        ) from error


def _kernel() -> socket.socket:
    kernel = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER)
    kernel.settimeout(_TIMEOUT_S)
    return kernel


def _message(
    kind: int,
    flags: int,
    attribute: bytes = b"",
    *,
    family: int = _FAMILY_NETDEV,
    resource: int = 0,
) -> bytes:
    body = struct.pack("!BBH", family, 0, resource) + attribute.ljust(
        len(attribute) + 3 & ~3, b"\0"
    )
    return _HEAD.pack(_HEAD.size + len(body), kind, flags, 1, 0) + body


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
