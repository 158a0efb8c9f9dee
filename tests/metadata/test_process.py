"""The metadata server as a process of its own, spoken to as the agent speaks to it."""

import asyncio
import contextlib
import signal
import socket
import sys
import tempfile
import time
from pathlib import Path

import aiohttp
import msgspec
import psutil
import pytest

from metadata.control import (
    VERSION,
    Answer,
    Channel,
    ChannelClosedError,
    Forget,
    Greeting,
    NicStatus,
    Quit,
    Report,
    Reported,
    Serve,
)
from metadata.server import SOCKETS
from tests.metadata.documents import document

ROOT = Path(__file__).resolve().parents[2]
_decoder = msgspec.msgpack.Decoder(Report)


class Server:
    """The process, and connections to it."""

    def __init__(self, control: Path) -> None:
        self.control = control

    async def start(self) -> None:
        self.process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "metadata", "--control", str(self.control), "--user", "nobody"),
            cwd=ROOT,
        )
        for _ in range(200):
            if self.control.exists():
                return
            await asyncio.sleep(0.05)
        raise AssertionError("the server does not start")

    async def connect(self) -> tuple[Channel, Greeting]:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        for _ in range(100):
            with contextlib.suppress(ConnectionRefusedError):
                connection.connect(str(self.control))
                break
            await asyncio.sleep(0.05)
        channel = Channel(connection)
        return channel, await hear(channel)


async def hear(channel: Channel):
    return _decoder.decode(await asyncio.wait_for(channel.receive(), 10))


async def ask(channel: Channel, request, descriptors=()) -> Answer:
    await channel.send(request, descriptors)
    answer = await hear(channel)
    assert isinstance(answer, Answer)
    return answer


@contextlib.contextmanager
def listeners():
    """The sockets as a NIC has them, on the loopback, and the HTTP port."""
    with contextlib.ExitStack() as stack:
        sockets = []
        for _ in range(2):
            listener = stack.enter_context(socket.socket())
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            sockets.append(listener)
        for _ in range(2):
            pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
            sockets += [stack.enter_context(one) for one in pair]
        sockets = sockets[:SOCKETS]
        yield [one.fileno() for one in sockets], sockets[0].getsockname()[1]


async def get(port: int, path: str, method: str = "GET", **options) -> tuple[int, str]:
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, f"http://127.0.0.1:{port}{path}", **options) as response,
    ):
        return response.status, await response.text()


def outline(status: NicStatus) -> tuple[str, str, bool]:
    return status.nic_id, status.state, status.done


@pytest.fixture
async def server(tmp_path):
    one = Server(tmp_path / "metadata.sock")
    await one.start()
    yield one
    with contextlib.suppress(ProcessLookupError):
        one.process.kill()
    await one.process.wait()


async def test_it_greets_with_what_it_speaks(server):
    _, greeting = await server.connect()
    assert greeting == Greeting(version=VERSION, pid=server.process.pid, nics=[])


async def test_the_control_socket_is_its_owners_alone(server):
    assert server.control.stat().st_mode & 0o777 == 0o600


async def test_guests_are_served_while_the_agent_is_away_and_it_learns_of_them(server):
    nic = document()
    agent, _ = await server.connect()
    with listeners() as (descriptors, port):
        assert await ask(agent, Serve(document=nic, sockets=SOCKETS), descriptors) == Answer()
    agent.close()
    assert await get(port, "/latest/meta-data/hostname") == (200, "web-1")
    again, greeting = await server.connect()
    [status] = greeting.nics
    assert outline(status) == (nic.nic_id, "served", False)
    assert await ask(again, Serve(document=document(nic_id=nic.nic_id, hostname="new"))) == Answer()
    assert await get(port, "/latest/meta-data/hostname") == (200, "new")


async def test_the_agent_hears_of_each_change(server):
    nic = document()
    agent, _ = await server.connect()
    with listeners() as (descriptors, port):
        await ask(agent, Serve(document=nic, sockets=SOCKETS), descriptors)
    await get(port, "/openstack")
    asked = (await hear(agent)).status
    assert outline(asked) == (nic.nic_id, "served", False)
    await get(port, "/basalt/v1/done", "POST")
    sealed = (await hear(agent)).status
    assert outline(sealed) == (nic.nic_id, "sealed", True)
    assert asked.asked_at == sealed.asked_at < sealed.sealed_at <= time.time()
    assert sealed.instance_id == nic.instance_id


async def test_what_a_guest_reports_is_told_and_told_again_to_the_next_agent(server):
    nic = document()
    agent, _ = await server.connect()
    with listeners() as (descriptors, port):
        await ask(agent, Serve(document=nic, sockets=SOCKETS), descriptors)
    event = {"name": "modules-final", "event_type": "finish", "result": "FAIL"}
    for _ in range(2):
        await get(port, "/basalt/v1/report", "POST", json=event)
    told = await hear(agent)
    assert isinstance(told, Reported)
    assert (told.nic_id, told.instance_id) == (nic.nic_id, nic.instance_id)
    assert (told.word.stage, told.word.result) == ("final", "FAIL")
    agent.close()
    again, _ = await server.connect()
    assert await hear(again) == told


async def test_at_its_deadline_a_guest_is_sealed_though_no_agent_is_there(server):
    first, second = (document(seal_at=time.time() + 2) for _ in range(2))
    agent, _ = await server.connect()
    ports = []
    for nic in (first, second):
        with listeners() as (descriptors, port):
            await ask(agent, Serve(document=nic, sockets=SOCKETS), descriptors)
            ports.append(port)
    assert (await get(ports[0], "/openstack/latest/user_data"))[0] == 200
    agent.close()
    for _ in range(100):
        if (await get(ports[1], "/openstack/latest/user_data"))[0] == 404:
            break
        await asyncio.sleep(0.1)
    assert [(await get(port, "/openstack/latest/user_data"))[0] for port in ports] == [404, 404]
    _, greeting = await server.connect()
    assert {(nic.state, nic.reported_at) for nic in greeting.nics} == {("sealed", None)}


async def test_one_nics_done_seals_all_nics_of_the_guest_and_no_other(server):
    first, second = document(), document()
    other = document(instance_id="6e0f3d1c-0000-4000-8000-00000000000f")
    agent, _ = await server.connect()
    ports = []
    for nic in (first, second, other):
        with listeners() as (descriptors, port):
            await ask(agent, Serve(document=nic, sockets=SOCKETS), descriptors)
            ports.append(port)
    await get(ports[0], "/basalt/v1/done", "POST")
    heard = [await hear(agent), await hear(agent)]
    assert {change.status.nic_id for change in heard} == {first.nic_id, second.nic_id}
    statuses = [(await get(port, "/openstack/latest/user_data"))[0] for port in ports]
    assert statuses == [404, 404, 200]


async def test_a_forgotten_nic_is_not_served_any_more(server):
    nic = document()
    agent, _ = await server.connect()
    with listeners() as (descriptors, port):
        await ask(agent, Serve(document=nic, sockets=SOCKETS), descriptors)
    assert await ask(agent, Forget(nic_id=nic.nic_id)) == Answer()
    assert await ask(agent, Forget(nic_id=nic.nic_id)) == Answer()
    with pytest.raises(aiohttp.ClientConnectorError):
        await get(port, "/openstack")


async def test_a_nic_without_listeners_is_refused_with_a_reason(server):
    agent, _ = await server.connect()
    answer = await ask(agent, Serve(document=document()))
    assert "no listeners" in answer.error


@pytest.mark.parametrize("body", [b"abc", b"\x81\xa4type\xa4Qu\xffe", b"\x91" * 5000])
async def test_a_broken_frame_ends_the_connection_and_not_the_server(server, body):
    broken = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    broken.connect(str(server.control))
    broken.send(len(body).to_bytes(4, "big") + body)
    channel = Channel(broken)
    await hear(channel)
    with pytest.raises(ChannelClosedError):
        await hear(channel)
    _, greeting = await server.connect()
    assert greeting.pid == server.process.pid


async def test_quit_ends_it(server):
    agent, _ = await server.connect()
    assert await ask(agent, Quit()) == Answer()
    assert await asyncio.wait_for(server.process.wait(), 10) == 0


async def test_hanging_up_its_terminal_does_not_end_it(server):
    await server.connect()
    server.process.send_signal(signal.SIGHUP)
    await asyncio.sleep(0.3)
    _, greeting = await server.connect()
    assert greeting.version == VERSION


def _status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


@pytest.mark.root
async def test_it_has_no_privileges_when_it_answers(server):
    await server.connect()
    fields = _status(server.process.pid)
    assert "0" not in fields["Uid"].split()
    assert fields["Groups"].strip() == ""
    assert int(fields["CapEff"], 16) == 0
    assert int(fields["CapPrm"], 16) == 0
    assert fields["NoNewPrivs"] == "1"


@pytest.mark.root
async def test_it_goes_before_guests_that_keep_the_processors_busy(server):
    await server.connect()
    assert psutil.Process(server.process.pid).nice() < 0


@pytest.mark.root
async def test_only_the_owner_is_let_in():
    with tempfile.TemporaryDirectory(prefix="basalt-") as folder:
        server = Server(Path(folder) / "metadata.sock")
        await server.start()
        # Even if somebody opened the way to the socket.
        server.control.parent.chmod(0o755)
        server.control.chmod(0o666)
        stranger = (
            "import os, socket, sys; os.setresuid(65534, 65534, 65534);"
            "s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]);"
            "s.settimeout(5); sys.exit(len(s.recv(16)))"
        )
        asked = await asyncio.create_subprocess_exec(
            sys.executable, "-c", stranger, str(server.control)
        )
        assert await asyncio.wait_for(asked.wait(), 20) == 0
        agent, _ = await server.connect()
        await ask(agent, Quit())
        await server.process.wait()
