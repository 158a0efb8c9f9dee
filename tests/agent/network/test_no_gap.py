"""Guests that ask all the time, while agents die, come back and take NICs away."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from agent.network import namespaces, wire, worker
from agent.network.errors import NetworkError
from tests.agent.network.namespaces import Guest, run
from tests.agent.network.plumbing import Plumbing, document_of, nic_on
from tests.agent.network.test_wire import IPV4, traces

pytestmark = pytest.mark.root
ROOT = Path(__file__).parents[3]

# One new connection after another, to each family in turn, until the standard input ends.
_ASK = """
import json, socket, sys, threading, time
from http.client import HTTPConnection
over = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()
asked, failed, longest, last = 0, [], 0.0, time.monotonic()
while not over.is_set():
    for host in ("169.254.169.254", "fe80::a9fe:a9fe%eth0"):
        asked += 1
        try:
            one = HTTPConnection(host, 80, timeout=5)
            one.request("GET", "/latest/meta-data/hostname")
            answer = one.getresponse()
            told = answer.read()
            one.close()
            if (answer.status, told) != (200, b"web-1"):
                failed.append(f"{host}: {answer.status}")
            else:
                longest = max(longest, time.monotonic() - last)
                last = time.monotonic()
        except OSError as error:
            failed.append(f"{host}: {error!r}")
        time.sleep(0.02)
print(json.dumps({"asked": asked, "failed": failed, "longest_s": longest}))
"""


class Asker:
    """What the guest's loop has seen, once it has ended."""

    def __init__(self) -> None:
        self.asked = 0
        self.failed: list[str] = []


@contextlib.asynccontextmanager
async def asking(guest: Guest) -> AsyncIterator[Asker]:
    process = await asyncio.create_subprocess_exec(
        *("ip", "netns", "exec", guest.name, sys.executable, "-c", _ASK),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    asker = Asker()
    await asyncio.sleep(1)
    yield asker
    await asyncio.sleep(1)
    process.stdin.close()
    told, _ = await asyncio.wait_for(process.communicate(), 30)
    found = json.loads(told)
    print(f"\n{found['asked']} requests, the longest wait between two answers "
          f"{found['longest_s'] * 1000:.0f} ms, failed: {found['failed'][:3]}")  # fmt: skip
    asker.asked, asker.failed = found["asked"], found["failed"]


@contextlib.asynccontextmanager
async def agent_process(folder: Path, nic_file: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.agent.network.plumber_process", str(folder), str(nic_file)),
        stdout=subprocess.PIPE,
        cwd=ROOT,
    )
    try:
        async with asyncio.timeout(60):
            # Its log comes before.
            while await process.stdout.readline() != b"ready\n":
                assert process.returncode is None
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def test_no_request_fails_while_agents_are_killed_and_come_back(plumbing, lan, tmp_path):
    nic = nic_on(lan, "10.9.8.7/24")
    nic_file = tmp_path / "nic.json"
    nic_file.write_bytes(msgspec.json.encode(nic))
    await plumbing.plumber.stop(terminate_server=False)
    with plumbing.guest(nic, lan.bridge) as guest:
        guest.run("ip", "addr", "add", "169.254.10.1/16", "dev", "eth0")
        async with contextlib.AsyncExitStack() as agents:
            agent = await agents.enter_async_context(agent_process(plumbing.folder, nic_file))
            asker = await agents.enter_async_context(asking(guest))
            for how in (signal.SIGKILL, signal.SIGTERM, signal.SIGKILL):
                agent.send_signal(how)
                await agent.wait()
                await asyncio.sleep(0.5)
                agent = await agents.enter_async_context(agent_process(plumbing.folder, nic_file))
                await asyncio.sleep(0.5)
        assert asker.asked > 50
        assert asker.failed == []
        await plumbing.restart()


async def test_after_a_death_of_the_server_requests_are_answered_again(plumbing, lan):
    nic = nic_on(lan, "10.9.8.7/24")
    with plumbing.guest(nic, lan.bridge) as guest:
        guest.run("ip", "addr", "add", "169.254.10.1/16", "dev", "eth0")
        await plumbing.attach(nic, document_of(nic, "web-1"))
        before = plumbing.plumber.server_pid
        async with asking(guest):
            run("kill", "-9", str(before))
            told = ("--retry", "20", "--retry-all-errors", "--retry-delay", "1")
            url = f"http://{IPV4}/latest/meta-data/hostname"
            assert await asyncio.to_thread(guest.get, url, *told) == "web-1"
        assert plumbing.plumber.server_pid not in (None, before)


async def test_a_nic_taken_away_in_the_middle_of_a_request_ends_it_and_disturbs_nobody(
    plumbing, lan
):
    gone, other = nic_on(lan, "10.9.8.7/24"), nic_on(lan, "10.9.8.8/24")
    with plumbing.guest(gone, lan.bridge) as guest, plumbing.guest(other, lan.bridge) as neighbour:
        for machine, nic in ((guest, gone), (neighbour, other)):
            machine.run("ip", "addr", "add", "169.254.10.1/16", "dev", "eth0")
            await plumbing.attach(nic, document_of(nic, "web-1"))
        half = "import socket,time; s=socket.create_connection(('169.254.169.254',80),5); "
        half += "s.send(b'GET /openstack/latest/user_data HTTP/1.1\\r\\nHost: x\\r\\n'); "
        half += "print('half', flush=True); s.settimeout(20)\n"
        half += "try: print('closed' if not s.recv(100) else 'answered')\n"
        half += "except OSError as error: print('closed', type(error).__name__)"
        asker = await asyncio.create_subprocess_exec(
            *("ip", "netns", "exec", guest.name, sys.executable, "-c", half),
            stdout=subprocess.PIPE,
        )
        assert await asker.stdout.readline() == b"half\n"
        async with asking(neighbour) as asked:
            await plumbing.plumber.detach(gone.nic_id)
        assert traces(gone.nic_id) == []
        assert asked.failed == []
        # Its wire is gone before the end of the connection could be said: it may hang there.
        with contextlib.suppress(ProcessLookupError):
            asker.kill()
        await asker.wait()
        await plumbing.attach(gone, document_of(gone, "web-2"))
        assert await asyncio.to_thread(guest.hostname_told, IPV4) == "web-2"


# ------------------------------------------------------------------ death between two steps

STEPS = [
    "create_namespace",
    "_make_veth",
    "_prepare_host_end",
    "_prepare_inner_end",
    "open_listeners",
]
STEPS_BACK = ["delete_netdev_table", "delete_namespace"]


def _dies_after(monkeypatch, step: str) -> None:
    does = getattr(wire, step)

    def dies(*arguments, **named):
        made = does(*arguments, **named)
        # With a process go its sockets: one left open here would share the port, unheard.
        for descriptor in made or ():
            os.close(descriptor)
        raise NetworkError("internal", f"died after {step}")

    monkeypatch.setattr(wire, step, dies)


def _in_this_process(plumbing: Plumbing, monkeypatch) -> None:
    """The worker's work without the worker, so that it can be made to die."""

    async def perform(operation):
        return await asyncio.to_thread(worker.perform, operation)

    monkeypatch.setattr(plumbing.plumber._worker, "run", perform)


@pytest.mark.parametrize("step", STEPS)
async def test_an_agent_that_dies_while_it_wires_a_nic_leaves_what_the_next_sweep_takes(
    plumbing, lan, monkeypatch, step
):
    nic = nic_on(lan, "10.9.8.7/24")
    with plumbing.guest(nic, lan.bridge) as guest:
        with monkeypatch.context() as patched:
            _in_this_process(plumbing, patched)
            _dies_after(patched, step)
            with pytest.raises(NetworkError, match="died"):
                await plumbing.attach(nic, document_of(nic, "web-1"))
        await plumbing.restart()
        # Whoever is still wanted is made whole...
        await plumbing.attach(nic, document_of(nic, "web-1"))
        guest.run("ip", "addr", "add", "169.254.10.1/16", "dev", "eth0")
        assert await asyncio.to_thread(guest.hostname_told, IPV4) == "web-1"
        # ... and an orphan goes.
        await plumbing.restart()
        assert await plumbing.plumber.sweep(keep_nics=set(), keep_networks=set())
        assert traces(nic.nic_id) == []


@pytest.mark.parametrize("step", STEPS_BACK)
async def test_an_agent_that_dies_while_it_unwires_a_nic_leaves_what_the_next_sweep_takes(
    plumbing, lan, monkeypatch, step
):
    nic = nic_on(lan, "10.9.8.7/24")
    with plumbing.guest(nic, lan.bridge):
        await plumbing.attach(nic, document_of(nic, "web-1"))
        with monkeypatch.context() as patched:
            _in_this_process(plumbing, patched)
            _dies_after(patched, step)
            with pytest.raises(NetworkError, match="died"):
                await plumbing.plumber.detach(nic.nic_id)
        await plumbing.restart()
        assert await plumbing.plumber.sweep(keep_nics=set(), keep_networks=set())
        assert traces(nic.nic_id) == []
        assert not namespaces.namespace_exists(f"md-{nic.nic_id.replace('-', '')[:12]}")
