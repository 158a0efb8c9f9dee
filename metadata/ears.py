"""Sockets on which packets come one by one, heard no faster than is good for the other guests."""

import asyncio
import socket
from collections.abc import Callable

_AT_ONCE = 4
_PAUSE_S = 0.05
_MOST_PACKET = 2048


class Ear:
    """Tells `hear` each packet. Where many wait, the next ones are heard after a moment; what
    the socket cannot hold meanwhile, the kernel drops."""

    def __init__(self, packets: socket.socket, hear: Callable[[bytes], None]) -> None:
        packets.setblocking(False)
        self._packets: socket.socket | None = packets
        self._hear = hear
        self._pause: asyncio.TimerHandle | None = None
        self._listen()

    def close(self) -> None:
        if self._packets is None:
            return
        if self._pause is not None:
            self._pause.cancel()
        else:
            asyncio.get_running_loop().remove_reader(self._packets.fileno())
        self._packets.close()
        self._packets = None

    def _listen(self) -> None:
        self._pause = None
        if self._packets is not None:
            asyncio.get_running_loop().add_reader(self._packets.fileno(), self._wake)

    def _wake(self) -> None:
        for _ in range(_AT_ONCE):
            if self._packets is None:
                return
            try:
                packet, _address = self._packets.recvfrom(_MOST_PACKET)
            except OSError:
                return
            self._hear(packet)
        if self._packets is not None:
            loop = asyncio.get_running_loop()
            loop.remove_reader(self._packets.fileno())
            self._pause = loop.call_later(_PAUSE_S, self._listen)
