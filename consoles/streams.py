"""The middle of a console: two bounded pipes between a browser's socket and an agent's.

Bytes live only here, in the process that holds both ends. A reader that is slow makes the
writer wait, and through the sockets the guest or the browser itself.
"""

import asyncio
import uuid
from collections import deque
from dataclasses import dataclass, field

PIPE_BYTES = 1024 * 1024
"""What one direction holds at most, before its writer waits."""
FRAME_BYTES = 64 * 1024
"""Small pieces that wait are joined into frames of about this size."""
MAX_WAITING = 1000

PROTOCOL_ERROR, NOT_FOUND, TIMED_OUT, HOST_CLOSED, HOST_REFUSED = 4400, 4404, 4408, 4410, 4502
NO_MORE_ALLOWED = 4403
TOO_LARGE, INTERNAL = 1009, 1011  # RFC 6455, 7.4.1


class StreamClosedError(Exception):
    """There is nobody at the other end any more."""


class Pipe:
    """One direction: bytes in order, bounded, for one reader."""

    def __init__(self) -> None:
        self._pieces: deque[bytes] = deque()
        self._size = 0
        self._closed = False
        self._changed = asyncio.Condition()

    async def put(self, data: bytes) -> None:
        """Wait until there is room. Raises StreamClosedError."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._closed or self._size < PIPE_BYTES)
            if self._closed:
                raise StreamClosedError
            self._pieces.append(data)
            self._size += len(data)
            self._changed.notify_all()

    async def get(self) -> bytes:
        """What waits, at most about FRAME_BYTES of it. What was put before the end still
        comes; then StreamClosedError."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._closed or self._pieces)
            if not self._pieces:
                raise StreamClosedError
            taken = [self._pieces.popleft()]
            size = len(taken[0])
            while self._pieces and size + len(self._pieces[0]) <= FRAME_BYTES:
                taken.append(self._pieces.popleft())
                size += len(taken[-1])
            self._size -= size
            self._changed.notify_all()
            return taken[0] if len(taken) == 1 else b"".join(taken)

    async def close(self) -> None:
        async with self._changed:
            self._closed = True
            self._changed.notify_all()


@dataclass(eq=False)
class Stream:
    """One console, from the browser's opening to its end. `reason` is for people."""

    id: uuid.UUID
    hypervisor_id: uuid.UUID
    to_agent: Pipe = field(default_factory=Pipe)
    to_browser: Pipe = field(default_factory=Pipe)
    joined: asyncio.Event = field(default_factory=asyncio.Event)
    closed: asyncio.Event = field(default_factory=asyncio.Event)
    code: int = 1000
    reason: str = ""

    async def close(self, code: int, reason: str) -> None:
        """End both directions. The first reason stands."""
        if self.closed.is_set():
            return
        self.code, self.reason = code, reason
        self.closed.set()
        _waiting.pop(self.id, None)
        await self.to_agent.close()
        await self.to_browser.close()


_waiting: dict[uuid.UUID, Stream] = {}


def stream_open(hypervisor_id: uuid.UUID) -> Stream | None:
    """A stream that waits for this host's agent; None while too many are waiting."""
    if len(_waiting) >= MAX_WAITING:
        return None
    stream = Stream(id=uuid.uuid4(), hypervisor_id=hypervisor_id)
    _waiting[stream.id] = stream
    return stream


def stream_awaited(stream_id: uuid.UUID, hypervisor_id: uuid.UUID) -> bool:
    """Whether a browser in this process waits for this host to dial this stream."""
    stream = _waiting.get(stream_id)
    return stream is not None and stream.hypervisor_id == hypervisor_id


def stream_claim(stream_id: uuid.UUID) -> Stream | None:
    """Take a waiting stream, once."""
    stream = _waiting.pop(stream_id, None)
    if stream is not None:
        stream.joined.set()
    return stream
