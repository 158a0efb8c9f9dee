"""What the agent and the metadata server say to each other, over a unix socket.

Frames of msgpack, each with its length in front; sockets travel beside them (SCM_RIGHTS).
The agent asks and the server answers each request in order; `StateChanged` comes at any
time. The server greets each connection with what it serves already, so that an agent that
died finds its guests served and goes on.
"""

import asyncio
import contextlib
import socket
from collections import deque
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from metadata.boot_reports import BootWord
from metadata.documents import Id, NicDocument

VERSION = 3
"""The agent replaces a server that speaks another version."""

NicState = Literal["not_asked", "served", "sealed"]
LanDhcp = Literal["unknown", "site", "silent", "given"]

_MAX_FRAME = 8 * 1024 * 1024
_MAX_SOCKETS = 8
_HEADER = 4


class Serve(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """Serve this NIC from now on. The listeners travel along, in this order: HTTP over IPv4,
    HTTP over IPv6, DHCP packets, a socket that keeps DHCP's port from answering
    "unreachable", and router solicitations. Without sockets: a new document for a NIC that is
    served already."""

    document: NicDocument
    sockets: Annotated[int, Meta(ge=0, le=_MAX_SOCKETS)] = 0


class Forget(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """Close the NIC's listeners and drop its document. Unknown NICs are no error."""

    nic_id: Id


class Quit(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """End the process."""


Request = Serve | Forget | Quit


class NicStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Times in seconds since the Unix epoch: first request of all, first time the user-data was
    given out, when secrets were sealed away, and when the guest said that it is done (on
    whichever of its NICs that was)."""

    nic_id: Id
    state: NicState
    done: bool
    asked_at: float | None = None
    served_at: float | None = None
    sealed_at: float | None = None
    lan_dhcp: LanDhcp = "unknown"
    instance_id: str = ""
    """Which first boot this is about."""
    reported_at: float | None = None


class Greeting(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """First frame of every connection."""

    version: int
    pid: int
    nics: list[NicStatus]


class Answer(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """The outcome of the oldest request that has none yet. `error` is a sentence."""

    error: str | None = None


class StateChanged(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """A guest asked for the first time, or reported that its first boot is done."""

    status: NicStatus


class Reported(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """What a guest said about its first boot. Said again after each greeting: an agent may have
    been away."""

    nic_id: Id
    instance_id: str
    word: BootWord


Report = Greeting | Answer | StateChanged | Reported


class ChannelClosedError(ConnectionError):
    """The other side is gone, or does not keep to the protocol."""


def decoded(decoder: "msgspec.msgpack.Decoder[Any]", frame: bytes) -> Any:
    """What the frame says. Raises ChannelClosedError for what is no message: msgspec has three
    ways to say that."""
    try:
        return decoder.decode(frame)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ChannelClosedError(f"a frame that cannot be read: {error}") from error


class Channel:
    """Frames with sockets beside them, on one connected unix stream socket.

    One task may receive while others send.
    """

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self._connection = connection
        self._buffer = bytearray()
        self._sockets: deque[int] = deque()
        self._sending = asyncio.Lock()

    async def send(self, message: Any, descriptors: Sequence[int] = ()) -> None:
        """Send one message; the descriptors stay the caller's. Raises ChannelClosedError."""
        body = msgspec.msgpack.encode(message)
        frame = len(body).to_bytes(_HEADER, "big") + body
        async with self._sending:
            try:
                sent = 0
                if descriptors:
                    sent = await self._send_descriptors(frame, descriptors)
                await asyncio.get_running_loop().sock_sendall(self._connection, frame[sent:])
            except OSError as error:
                raise ChannelClosedError(str(error)) from error

    async def receive(self) -> bytes:
        """The next message's bytes. Raises ChannelClosedError."""
        while True:
            if len(self._buffer) >= _HEADER:
                length = int.from_bytes(self._buffer[:_HEADER], "big")
                if length > _MAX_FRAME:
                    raise ChannelClosedError(f"a frame of {length} bytes is over the limit")
                if len(self._buffer) >= _HEADER + length:
                    body = bytes(self._buffer[_HEADER : _HEADER + length])
                    del self._buffer[: _HEADER + length]
                    return body
            await self._fill()

    def take_descriptors(self, count: int) -> list[int]:
        """Descriptors that came with the message just received; the caller closes them.

        Raises ChannelClosedError when fewer came than announced.
        """
        if len(self._sockets) < count:
            raise ChannelClosedError("sockets that were announced did not arrive")
        return [self._sockets.popleft() for _ in range(count)]

    def close(self) -> None:
        self._connection.close()
        while self._sockets:
            with contextlib.suppress(OSError):
                socket.close(self._sockets.popleft())

    async def _send_descriptors(self, frame: bytes, descriptors: Sequence[int]) -> int:
        while True:
            try:
                return socket.send_fds(self._connection, [frame], list(descriptors))
            except (BlockingIOError, InterruptedError):
                await _ready(self._connection, for_writing=True)

    async def _fill(self) -> None:
        while True:
            try:
                data, descriptors, flags, _ = socket.recv_fds(
                    self._connection, 262_144, _MAX_SOCKETS
                )
                break
            except (BlockingIOError, InterruptedError):
                await _ready(self._connection, for_writing=False)
            except OSError as error:
                raise ChannelClosedError(str(error)) from error
        self._sockets.extend(descriptors)
        if flags & socket.MSG_CTRUNC:
            raise ChannelClosedError("more sockets came than a message may carry")
        if not data:
            raise ChannelClosedError("the connection was closed")
        self._buffer += data


async def _ready(connection: socket.socket, *, for_writing: bool) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()

    def wake() -> None:
        if not ready.done():
            ready.set_result(None)

    number = connection.fileno()
    if for_writing:
        loop.add_writer(number, wake)
    else:
        loop.add_reader(number, wake)
    try:
        await ready
    finally:
        if for_writing:
            loop.remove_writer(number)
        else:
            loop.remove_reader(number)
