"""The process of `script/bench metadata` that is a host: `python -m tests.bench.metadata_worker`.

It works in a network stack of its own, with real namespaces, taps, nftables and the metadata
server as a process. Guests that are measured are namespaces; the others are taps alone.
"""

import asyncio
import contextlib
import json
import os
import random
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from agent.network.compose import nic_document
from agent.network.names import tap_name
from agent.network.namespaces import inside
from agent.network.plumber import NicPlumber
from agent.protocol import GuestSpec, NetworkSpec, NicSpec
from tests.agent.network.ears import Mouth, ears
from tests.agent.network.forged import Who, forged, honest
from tests.agent.network.frames import own_link_local
from tests.agent.network.lawful import fault
from tests.agent.network.namespaces import Guest, own_stack, run
from tests.bench import haproxies
from tests.bench.figures import say

KIB = 1024
SERVICE = ("169.254.169.254", 80)
_BRIDGE = "tb-bench"
_REQUEST = b"GET /openstack/latest/meta_data.json HTTP/1.1\r\nHost: 169.254.169.254\r\n\r\n"
_NETWORK = NetworkSpec(
    network_id=str(uuid.uuid4()),
    kind="bridge",
    bridge=_BRIDGE,
    gateway="10.96.0.1",
    gateway6="fd00:96::1",
)
_USER_DATA = "#!/bin/sh\n" + "# what a customer's script may be like\n" * 50
_HOSTS_SHARE = ("Slab", "Percpu", "KernelStack", "PageTables")


def nic_number(number: int) -> NicSpec:
    nic_id = str(uuid.UUID(int=number << 80 | 0xBE))
    mac = f"52:54:00:{number >> 16 & 255:02x}:{number >> 8 & 255:02x}:{number & 255:02x}"
    address = f"10.96.{number >> 8}.{number & 255}/16"
    return NicSpec(nic_id=nic_id, mac=mac, network=_NETWORK, address=address)


def kernel_bytes() -> int:
    """What the kernel holds for itself. Others on the machine are in it."""
    lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    return sum(int(lines[name].split()[0]) * KIB for name in _HOSTS_SHARE)


def pss(pid: int) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * KIB
    raise RuntimeError("the kernel does not tell what a process holds")


class Client:
    """One guest's keep-alive connection, measured. It reconnects when it is put out."""

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace
        self._connect()

    def ask(self) -> float:
        """Seconds that one answer took."""
        began = time.perf_counter()
        self._socket.sendall(_REQUEST)
        said = b""
        while b"\r\n\r\n" not in said:
            said += self._read()
        head, _, body = said.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])
        while len(body) < length:
            body += self._read()
        took = time.perf_counter() - began
        if not head.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(f"refused: {head[:60]!r}")
        return took

    def again(self) -> None:
        self._socket.close()
        self._connect()

    def _read(self) -> bytes:
        data = self._socket.recv(65_536)
        if not data:
            raise ConnectionError
        return data

    def _connect(self) -> None:
        self._socket = inside(
            self._namespace, lambda: socket.create_connection(SERVICE, timeout=20)
        )
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def latencies(namespaces: list[str], *, seconds: float, per_second: float) -> list[float]:
    """Of requests at so many a second over all guests together, one after another. Whoever
    measures goes before everybody: how long it waits itself for a processor is no answer's time."""
    os.setpriority(os.PRIO_PROCESS, 0, -20)
    try:
        return _latencies(namespaces, seconds=seconds, per_second=per_second)
    finally:
        os.setpriority(os.PRIO_PROCESS, 0, 0)


def _latencies(namespaces: list[str], *, seconds: float, per_second: float) -> list[float]:
    clients = [Client(name) for name in namespaces]
    took = []
    began = time.perf_counter()
    count = 0
    while (now := time.perf_counter() - began) < seconds:
        if (wait := count / per_second - now) > 0:
            time.sleep(wait)
        client = clients[count % len(clients)]
        count += 1
        try:
            took.append(client.ask())
        except ConnectionError:
            client.again()
    return took


def p99(values: list[float]) -> float:
    return sorted(values)[int(len(values) * 0.99)] * 1000


class Host:
    """A plumber with its server, and the NICs on it."""

    def __init__(self, folder: Path) -> None:
        self.plumber = NicPlumber(
            control_path=folder / "run" / "metadata.sock", data_dir=folder, on_state=lambda _: None
        )

    @property
    def pid(self) -> int:
        assert self.plumber.server_pid is not None
        return self.plumber.server_pid

    async def attach(self, nic: NicSpec) -> None:
        guest = GuestSpec(
            instance_id=str(uuid.uuid4()),
            hostname=f"guest-{nic.mac[-5:].replace(':', '')}",
            username="admin",
            ssh_keys=["ssh-ed25519 " + "A" * 68 + " somebody@somewhere"],
        )
        document = nic_document(
            guest=guest,
            nic=nic,
            nics=[nic],
            password_hash="$6$" + "x" * 100,
            user_data=_USER_DATA,
            host_dns=["9.9.9.9"],
        )
        await self.plumber.attach(nic=nic, tap=tap_name(nic.nic_id), document=document)


@contextlib.contextmanager
def guests(nics: list[NicSpec]) -> Iterator[list[Guest]]:
    with contextlib.ExitStack() as stack:
        made = []
        for nic in nics:
            guest = Guest(tap=tap_name(nic.nic_id), mac=nic.mac, bridge=_BRIDGE)
            stack.enter_context(guest)
            guest.run("ip", "addr", "add", "169.254.10.1/16", "dev", "eth0")
            made.append(guest)
        yield made


async def measure(options: dict[str, Any]) -> dict[str, Any]:
    said: dict[str, Any] = {}
    count, measured = options["nics"], options["guests"]
    nics = [nic_number(number) for number in range(1, count + measured + 1)]
    run("ip", "link", "add", _BRIDGE, "type", "bridge")
    run("ip", "link", "set", _BRIDGE, "up")
    taps, spoken = nics[:count], nics[count:]
    say(f"{count} taps")
    batch = "".join(
        f"tuntap add dev {tap_name(nic.nic_id)} mode tap\n"
        f"link set {tap_name(nic.nic_id)} master {_BRIDGE} up\n"
        for nic in taps
    )
    await asyncio.to_thread(_links, batch)
    host = Host(Path(options["folder"]))
    await host.plumber.start()
    try:
        with guests(spoken) as made:
            for nic in spoken:
                await host.attach(nic)
            process, kernel = pss(host.pid), kernel_bytes()
            tasks = psutil.Process(host.pid).num_fds()
            began = time.perf_counter()
            await set_up(host, taps[:20])
            said["setup_first_ms"] = (time.perf_counter() - began) / len(taps[:20]) * 1000
            await set_up(host, taps[20:])
            took = time.perf_counter() - began
            said["setup_ms"] = took / count * 1000
            await asyncio.sleep(1)
            said["memory_kib"] = (pss(host.pid) - process) / count / KIB
            said["kernel_kib"] = (kernel_bytes() - kernel) / count / KIB
            said["process_mib"] = process / KIB / KIB
            said["files"] = (psutil.Process(host.pid).num_fds() - tasks) / count
            began = time.perf_counter()
            await host.plumber.dropped()
            said["counters_ms"] = (time.perf_counter() - began) * 1000
            said |= await asyncio.to_thread(load, [guest.name for guest in made], options)
            said |= await asyncio.to_thread(frames, made[-2:], spoken[-2:], options)
    finally:
        say("Taking it all away")
        began = time.perf_counter()
        await host.plumber.sweep(keep_nics=set(), keep_networks=set())
        said["removal_ms"] = (time.perf_counter() - began) / (count + measured) * 1000
        await host.plumber.stop(terminate_server=True)
    said["haproxy"] = await asyncio.to_thread(beside, options)
    return said


def _links(batch: str) -> None:
    subprocess.run(["ip", "-batch", "-"], input=batch, text=True, check=True, cwd="/")


def beside(options: dict[str, Any]) -> dict[str, Any]:
    """The same questions to haproxies."""
    count, asking = options["haproxies"], options["guests"]
    if not count or not haproxies.available():
        return {}
    say(f"{count} haproxies: {haproxies.version()}")
    reply = json.dumps({"hostname": "guest", "keys": ["x" * 100], "more": "x" * 600}).encode()
    kernel = kernel_bytes()
    with haproxies.proxies(
        Path(options["folder"]), count=count, guests=asking, reply=reply
    ) as made:
        said: dict[str, Any] = {
            "memory_kib": haproxies.memory(pss) / count / KIB,
            "kernel_kib": (kernel_bytes() - kernel) / count / KIB,
        }
        return said | load([guest.name for guest in made], options)


async def set_up(host: Host, nics: list[NicSpec]) -> None:
    for at, nic in enumerate(nics):
        if at % 100 == 0:
            say(f"  {at} NICs")
        await host.attach(nic)


def load(names: list[str], options: dict[str, Any]) -> dict[str, Any]:
    """p99 of guests that ask politely: alone, beside a guest that burns a processor, and beside
    one that floods the service with the same work."""
    flooding, asking = names[-1], names[:-1]
    rate, seconds = options["rate"], options["seconds"]
    said: dict[str, Any] = {}
    rounds: dict[str, list[float]] = {"quiet": [], "burn": [], "flood": []}
    for _ in range(options["rounds"]):
        for name, times in rounds.items():
            with flood(flooding, name):
                times.extend(latencies(asking, seconds=seconds, per_second=rate))
    for name, times in rounds.items():
        said[f"p99_{name}_ms"] = p99(times)
        said[f"p50_{name}_ms"] = sorted(times)[len(times) // 2] * 1000
    return said


@contextlib.contextmanager
def flood(namespace: str, kind: str) -> Iterator[None]:
    if kind == "quiet":
        yield
        return
    # The burner does the same to an address of its own that answers in the same way as a full
    # service: by nothing.
    target = SERVICE[0] if kind == "flood" else "127.0.0.1"
    command = [sys.executable, "-m", "tests.bench.flood", target]
    process = subprocess.Popen(
        ["ip", "netns", "exec", namespace, "nice", "-n", "0", *command],
        stdout=subprocess.DEVNULL,
    )
    try:
        time.sleep(1.0)
        if process.poll() is not None:
            raise RuntimeError("the flood has ended by itself")
        yield
    finally:
        process.terminate()
        process.wait()
        time.sleep(0.5)


def frames(made: list[Guest], nics: list[NicSpec], options: dict[str, Any]) -> dict[str, Any]:
    """Forged frames from one guest to another, and how many passed that may not."""
    one, other = made
    forger, victim = nics
    who = Who(
        mac=forger.mac,
        own4=str(forger.address).partition("/")[0],
        own6="fd00:96::7",
        other_mac=victim.mac,
        other4=str(victim.address).partition("/")[0],
        other6=own_link_local(victim.mac),
        gateway4="10.96.0.1",
        gateway6="fd00:96::1",
        given=False,
    )
    for guest in made:
        guest.run("ip", "addr", "flush", "dev", "eth0")
        guest.run("sysctl", "-qw", "net.ipv6.conf.eth0.disable_ipv6=1")
    run("ip", "link", "set", _BRIDGE, "type", "bridge", "mcast_snooping", "0")
    chance = random.Random(options["seed"])
    known = [frame for frame in [*forged(who), *honest(who)] if len(frame) > 60]
    sent = wrong = 0
    mouth = Mouth(one.name, who.mac, who.own4)
    with ears((other.name, "eth0")) as [ear]:
        ends = time.monotonic() + options["frames_seconds"]
        while time.monotonic() < ends and sent < options["frames"]:
            portion = [mutated(chance.choice(known), chance) for _ in range(2000)]
            sent += len(portion)
            [heard] = mouth.say(portion, [ear])
            own = f"{who.mac}".replace(":", "")
            mine = [one for one in heard if one.frame[6:12].hex() == own or one.tagged]
            wrong += sum(fault(one, who) is not None for one in mine)
    mouth.close()
    return {"frames_sent": sent, "frames_passed": wrong}


def mutated(frame: bytes, chance: random.Random) -> bytes:
    changed = bytearray(frame)
    for _ in range(chance.choice([0, 0, 1, 2])):
        changed[chance.randrange(12, len(changed))] = chance.randrange(256)
    return bytes(changed)


def main() -> None:
    options = json.loads(sys.argv[1])
    with own_stack():
        run("sysctl", "-qw", "net.ipv6.conf.default.disable_ipv6=0")
        print(json.dumps(asyncio.run(measure(options))))


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    main()
