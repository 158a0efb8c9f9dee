"""What is fuzzed: each takes bytes as a guest (or, for `control`, a liar on the agent's socket)
sends them, and raises when something comes of it that must not."""

import asyncio
import contextlib
import struct
from collections.abc import Callable
from typing import Any

import msgspec

from metadata.control import ChannelClosedError, Request, decoded
from metadata.doors import visit_for
from metadata.responder import PATIENCE_S, Responder
from metadata.server import Nic
from tests.metadata.documents import document
from tests.metadata.packets import checksum

_GIVEN = document()
_SITE = document(lease=None, last_resort=True)
_decoder: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(Request)
_TURNS = 60
_loop = asyncio.new_event_loop()
_tasks: list[asyncio.Task[Any]] = []


def _noted(loop: asyncio.AbstractEventLoop, work: Any, **how: Any) -> asyncio.Task[Any]:
    task: asyncio.Task[Any] = asyncio.Task(work, loop=loop, **how)
    _tasks.append(task)
    return task


_loop.set_task_factory(_noted)


def dhcp(packet: bytes) -> None:
    """A packet to the responder, with a lease and without."""
    for nic in (_GIVEN, _SITE):
        responder = Responder()
        for now in (100.0, 101.0 + PATIENCE_S):
            reply = responder.hear(packet, nic, now=now)
            if reply is not None:
                _check_reply(reply.mac, reply.packet)


def http(data: bytes) -> None:
    """Bytes on a connection, in two pieces."""
    _loop.run_until_complete(_talk(data))


def control(frame: bytes) -> None:
    """A frame's body to the control socket's decoder."""
    with contextlib.suppress(ChannelClosedError):
        decoded(_decoder, frame)


TARGETS: dict[str, Callable[[bytes], None]] = {"dhcp": dhcp, "http": http, "control": control}


def _check_reply(mac: bytes, packet: bytes) -> None:
    assert len(mac) == 6
    assert len(packet) <= 1500
    length, protocol = struct.unpack("!H", packet[2:4])[0], packet[9]
    assert (packet[0], length, protocol) == (0x45, len(packet), 17)
    assert checksum(packet[:20]) == 0xFFFF
    pseudo = packet[12:20] + struct.pack("!BBH", 0, 17, len(packet) - 20)
    assert checksum(pseudo + packet[20:]) == 0xFFFF
    assert packet[20:24] == b"\x00\x43\x00\x44"


class _Wire(asyncio.Transport):
    """Takes what is answered."""

    def __init__(self) -> None:
        super().__init__()
        self.said = bytearray()
        self.gone = False

    def write(self, data: Any) -> None:
        self.said += data

    def writelines(self, many: Any) -> None:
        for data in many:
            self.write(data)

    def is_closing(self) -> bool:
        return self.gone

    def close(self) -> None:
        self.gone = True

    abort = close

    def pause_reading(self) -> None:
        """Nothing more is coming here."""

    def resume_reading(self) -> None:
        """Nothing more is coming here."""

    def get_write_buffer_size(self) -> int:
        return 0


async def _talk(data: bytes) -> None:
    failures: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context))
    nic = Nic(_GIVEN, lambda _nic: None)
    wire, visit = _Wire(), visit_for(nic.handle)
    visit.connection_made(wire)
    half = len(data) // 2
    for piece in (data[:half], data[half:]):
        if not wire.gone and piece:
            visit.data_received(piece)
        await asyncio.sleep(0)
    for _ in range(_TURNS):
        await asyncio.sleep(0)
    visit.connection_lost(None)
    await asyncio.sleep(0)
    # asyncio tells of a task that failed when it is swept up, which may be much later.
    failures += [
        {"task": task, "exception": task.exception()}
        for task in _tasks
        if task.done() and not task.cancelled() and task.exception() is not None
    ]
    _tasks.clear()
    assert not failures, failures
    # A request without a version is answered in kind: HTTP/0.9.
    assert not wire.said or wire.said.startswith(b"HTTP/")
    assert b" 500 " not in wire.said[:16]
    # What the document holds, and nothing of this process.
    assert b"Traceback" not in wire.said
