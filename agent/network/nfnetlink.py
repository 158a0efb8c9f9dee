"""The kernel's own protocol for nftables, in the netdev family: messages, and transactions of them.

Numbers are those of linux/netfilter/nf_tables.h and linux/netlink.h.
"""

import os
import socket
import struct
from collections.abc import Iterable, Iterator, Set
from enum import IntEnum
from typing import NamedTuple

_NETLINK_NETFILTER = 12
_FAMILY_NETDEV = 5
_NFTABLES = 10
_BATCH_BEGIN, _BATCH_END = 0x10, 0x11
_REQUEST, _ACK, _DUMP = 0x1, 0x4, 0x300
CREATE, APPEND = 0x400, 0x800
_ERROR, _DONE = 2, 3
_HEAD = struct.Struct("=IHHII")
_FAMILY = struct.Struct("!BBH")
_ATTRIBUTE = struct.Struct("=HH")
_TYPE_BITS = 0x3FFF
NESTED = 0x8000
_TIMEOUT_S = 10.0


class Kind(IntEnum):
    """NFT_MSG_…"""

    NEW_TABLE = 0
    GET_TABLE = 1
    DELETE_TABLE = 2
    NEW_CHAIN = 3
    GET_CHAIN = 4
    NEW_RULE = 6
    GET_RULE = 7
    NEW_SET = 9
    GET_SET = 10
    NEW_ELEMENTS = 12
    GET_ELEMENTS = 13
    DELETE_ELEMENTS = 14
    NEW_OBJECT = 18
    GET_OBJECT = 19


class Message(NamedTuple):
    """One object, as its attributes in the kernel's form."""

    kind: Kind
    attributes: bytes
    flags: int = 0


def attribute(number: int, value: bytes) -> bytes:
    """One attribute with its head, padded to its end."""
    whole = _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), number) + value
    return whole.ljust(len(whole) + 3 & ~3, b"\0")


def text(value: str) -> bytes:
    return value.encode() + b"\0"


def attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Number and value of each."""
    return ((number, value) for number, value, _ in _walk(data))


def only(data: bytes, numbers: Set[int]) -> bytes:
    """Those attributes, as they are."""
    return b"".join(whole for number, _, whole in _walk(data) if number in numbers)


def _walk(data: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Number, value, and the whole with its head and padding."""
    at = 0
    while at + _ATTRIBUTE.size <= len(data):
        length, number = _ATTRIBUTE.unpack_from(data, at)
        end = at + max(_ATTRIBUTE.size, length + 3 & ~3)
        whole = data[at:end].ljust(end - at, b"\0")
        yield number & _TYPE_BITS, data[at + _ATTRIBUTE.size : at + length], whole
        at = end


def open_socket() -> socket.socket:
    """To the network stack of the thread that calls."""
    kernel = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER)
    kernel.settimeout(_TIMEOUT_S)
    return kernel


def transaction(messages: Iterable[Message]) -> None:
    """All of it holds from now on, or none. Raises OSError with the kernel's reason."""
    *first, last = messages
    batch = [
        _framed(_BATCH_BEGIN, 0, b"", family=0, resource=_NFTABLES),
        *(_framed(_NFTABLES << 8 | one.kind, one.flags, one.attributes) for one in first),
        _framed(_NFTABLES << 8 | last.kind, last.flags | _ACK, last.attributes),
        _framed(_BATCH_END, 0, b"", family=0, resource=_NFTABLES),
    ]
    with open_socket() as kernel:
        kernel.sendto(b"".join(batch), (0, 0))
        for _ in _answers(kernel):
            pass


def dump(
    kernel: socket.socket, kind: Kind, asked: bytes = b"", *, all_of_them: bool = True
) -> Iterator[bytes]:
    """Attributes of each object that the kernel has. Raises OSError."""
    kernel.sendto(_framed(_NFTABLES << 8 | kind, _DUMP if all_of_them else _ACK, asked), (0, 0))
    return _answers(kernel)


def _framed(kind: int, flags: int, body: bytes, *, family: int = _FAMILY_NETDEV,
            resource: int = 0) -> bytes:  # fmt: skip
    length = _HEAD.size + _FAMILY.size + len(body)
    head = _HEAD.pack(length, kind, flags | _REQUEST, 1, 0)
    return head + _FAMILY.pack(family, 0, resource) + body


def _answers(kernel: socket.socket) -> Iterator[bytes]:
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
            yield body[_FAMILY.size :]
