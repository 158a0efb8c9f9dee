"""Raw sockets in namespaces: to send whatever one likes, and to hear everything."""

import contextlib
import socket
import struct
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from agent.network.namespaces import inside
from tests.agent.network import frames as f

_SOL_PACKET, _PACKET_AUXDATA, _SO_RCVBUFFORCE = 263, 8, 33
_VLAN_VALID = 0x10
_OUTGOING = 4
_AT_ONCE = 200
END = b"this is the last one of its kind"


@dataclass(frozen=True)
class Heard:
    """The kernel takes an outermost VLAN tag off, and says so."""

    frame: bytes
    tagged: bool


class Ear:
    """All that comes to a link from now on."""

    def __init__(self, namespace: str, link: str = "eth0") -> None:
        self._socket: socket.socket = inside(namespace, lambda: _raw(link))

    def hear(self, *, until: bytes | None = None, seconds: float = 20) -> list[Heard]:
        """Everything so far; or until a frame that ends with `until` has come, itself not
        included. Raises AssertionError when it doesn't come."""
        heard = []
        deadline = time.monotonic() + seconds
        while True:
            try:
                one = self._next()
            except BlockingIOError:
                if until is None:
                    return heard
                assert time.monotonic() < deadline, "a frame that must pass did not come"
                time.sleep(0.002)
                continue
            if one is not None and until is not None and one.frame.endswith(until):
                return heard
            if one is not None:
                heard.append(one)

    def close(self) -> None:
        self._socket.close()

    def _next(self) -> Heard | None:
        frame, control, _, sender = self._socket.recvmsg(65_536, 256)
        if sender[2] == _OUTGOING:
            return None
        [status] = [struct.unpack("I", data[:4])[0] for _, kind, data in control
                    if kind == _PACKET_AUXDATA]  # fmt: skip
        return Heard(frame, bool(status & _VLAN_VALID))


class Mouth:
    """Sends frames as they are, out of a namespace's link."""

    def __init__(self, namespace: str, mac: str, own4: str) -> None:
        """With an address that passes."""
        self._socket: socket.socket = inside(namespace, lambda: _raw("eth0"))
        self._mac, self._own4 = mac, own4
        self._count = 0

    def say(self, frames: Iterable[bytes], ears: Iterable[Ear]) -> list[list[Heard]]:
        """Send all; what each ear heard of it."""
        all_heard: list[list[Heard]] = [[] for _ in ears]
        waiting = list(frames)
        for at in range(0, len(waiting), _AT_ONCE):
            # In portions, each to its end: the kernel drops what comes too fast.
            for frame in waiting[at : at + _AT_ONCE]:
                self._socket.send(frame)
            self._count += 1
            end = END + struct.pack("!I", self._count)
            self._socket.send(_ending(self._mac, self._own4, end))
            for ear, heard in zip(ears, all_heard, strict=True):
                heard.extend(ear.hear(until=end))
        return all_heard

    def close(self) -> None:
        self._socket.close()


@contextlib.contextmanager
def ears(*where: tuple[str, str]) -> Iterator[list[Ear]]:
    """In (namespace, link)."""
    opened = [Ear(namespace, link) for namespace, link in where]
    try:
        yield opened
    finally:
        for ear in opened:
            ear.close()


def _raw(link: str) -> socket.socket:
    raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    raw.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 64 * 1024 * 1024)
    raw.setsockopt(_SOL_PACKET, _PACKET_AUXDATA, 1)
    raw.bind((link, 3))
    raw.setblocking(False)
    return raw


def _ending(mac: str, own4: str, end: bytes) -> bytes:
    packet = f.ipv4(f.UDP, f.udp(9, 9, end), sender=own4, target="10.9.8.255")
    return f.ethernet(mac, f.IPV4, packet)
