"""One guest does its worst; the other one, on the same server, is served as if nothing were."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass

import psutil
import pytest

from metadata.control import Serve
from metadata.doors import MOST_CONNECTIONS
from metadata.server import SOCKETS
from tests.metadata.documents import document
from tests.metadata.test_process import Server, ask, get, listeners

_ASKED = b"GET /openstack/latest/meta_data.json HTTP/1.1\r\nHost: x\r\n\r\n"
_POST = b"POST /basalt/v1/done HTTP/1.1\r\nHost: x\r\n"
_CHUNKED = _POST + b"Transfer-Encoding: chunked\r\n\r\n"
_MANY = 1500
_MIB = 1024 * 1024


@dataclass
class Both:
    """The hostile guest's port and the honest one's, and the server behind them."""

    hostile: int
    honest: int
    process: psutil.Process


@pytest.fixture
async def both(tmp_path) -> AsyncIterator[Both]:
    server = Server(tmp_path / "metadata.sock")
    await server.start()
    agent, _ = await server.connect()
    ports = []
    for instance in (
        "6e0f3d1c-0000-4000-8000-000000000001",
        "6e0f3d1c-0000-4000-8000-000000000002",
    ):
        with listeners() as (descriptors, port):
            nic = document(instance_id=instance)
            await ask(agent, Serve(document=nic, sockets=SOCKETS), descriptors)
        ports.append(port)
    yield Both(*ports, psutil.Process(server.process.pid))
    with contextlib.suppress(ProcessLookupError):
        server.process.kill()
    await server.process.wait()


def _connect(port: int) -> socket.socket:
    one = socket.socket()
    one.setblocking(False)
    with contextlib.suppress(OSError):
        one.connect(("127.0.0.1", port))
    return one


def _send(one: socket.socket, data: bytes) -> None:
    with contextlib.suppress(OSError):
        one.send(data)


@contextlib.contextmanager
def _held(port: int, count: int) -> Iterator[list[socket.socket]]:
    held = [_connect(port) for _ in range(count)]
    try:
        yield held
    finally:
        for one in held:
            one.close()


async def _served(port: int, *, times: int = 20) -> None:
    for _ in range(times):
        assert (await get(port, "/latest/meta-data/hostname"))[0] == 200


def _slow(data: bytes) -> Callable[[int], bytes]:
    return lambda turn: data[turn : turn + 1] or b"x"


def _then(first: bytes, more: bytes) -> Callable[[int], bytes]:
    return lambda turn: more if turn else first


_GET = b"GET / HTTP/1.1\r\n"
_UPGRADE = (
    _GET + b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
_ATTACKS: dict[str, Callable[[int], bytes]] = {
    "headers, a byte at a time": _slow(_ASKED[:-2] + b"X-More: "),
    "a body, a byte at a time": _then(_POST + b"Content-Length: 60000\r\n\r\n", b"x"),
    "a body that was never begun": _then(_POST + b"Content-Length: 9\r\n\r\n", b""),
    "a length without end": _then(_POST + b"Content-Length: %d\r\n\r\n" % 10**14, bytes(60_000)),
    "chunks of one byte": _then(_CHUNKED, b"1\r\nx\r\n" * 2000),
    "a chunk that never ends": _then(_CHUNKED + b"FFFFFFFF\r\n", bytes(60_000)),
    "a chunk with endless extensions": _then(_CHUNKED + b"1;", b"x" * 60_000),
    "a chunk of no length": _then(_CHUNKED, b"Z\r\n"),
    "trailers without end": _then(_CHUNKED + b"0\r\n", b"X: y\r\n" * 5000),
    "a line without end": _then(b"GET /", b"a" * 60_000),
    "headers without end": _then(_GET, b"X: y\r\n" * 5000),
    "a header of a great many bytes": _then(_GET + b"X: ", b"y" * 60_000),
    "requests one behind another": _then(_ASKED * 500, _ASKED * 500),
    "answers that nobody reads": _then(_POST, (_POST + b"Content-Length: 0\r\n\r\n") * 500),
    "an upgrade": _then(_UPGRADE, b"\x81\xff" * 5000),
    "another protocol": _then(b"\x16\x03\x01\x02\x00", b"\x16\x03\x01\x02\x00" * 2000),
    "a great many empty lines": _then(b"\r\n", b"\r\n" * 20_000),
}


@pytest.mark.parametrize("attack", _ATTACKS)
async def test_the_other_guest_is_served_while_one_attacks(both, attack):
    say = _ATTACKS[attack]
    files, memory = both.process.num_fds(), both.process.memory_info().rss
    with _held(both.hostile, 200) as held:
        for turn in range(15):
            for one in held:
                _send(one, say(turn))
            await _served(both.honest, times=2)
        assert both.process.num_fds() <= files + MOST_CONNECTIONS + 4
        assert both.process.memory_info().rss < memory + 30 * _MIB
    await _served(both.honest)


async def test_thousands_of_connections_are_held_by_nobody_but_who_opened_them(both):
    files = both.process.num_fds()
    with _held(both.hostile, _MANY) as held:
        for one in held:
            _send(one, _ASKED)
        await _served(both.honest)
        assert both.process.num_fds() <= files + MOST_CONNECTIONS + 4
    await _served(both.honest)


async def test_resets_one_after_another_disturb_nobody(both):
    files = both.process.num_fds()
    at_once = struct.pack("ii", 1, 0)
    for _ in range(20):
        for one in [_connect(both.hostile) for _ in range(100)]:
            _send(one, _ASKED[:20])
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
            one.close()
        await _served(both.honest, times=2)
    assert both.process.num_fds() <= files + MOST_CONNECTIONS + 4


async def test_the_hostile_guest_itself_is_served_again_when_it_has_let_go(both):
    with _held(both.hostile, 100) as held:
        for one in held:
            _send(one, _ASKED[:30])
        await _served(both.honest, times=3)
    assert (await asyncio.wait_for(get(both.hostile, "/openstack"), 30))[0] == 200


async def test_asking_too_much_leaves_the_others_share_as_it_is(both):
    asking = asyncio.create_task(_ask_without_end(both.hostile))
    await _served(both.honest, times=80)
    asking.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await asking


async def _ask_without_end(port: int) -> None:
    while True:
        for one in [_connect(port) for _ in range(50)]:
            await asyncio.sleep(0)
            _send(one, _ASKED * 20)
            one.close()
