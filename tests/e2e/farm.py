"""One host with a real agent, LANs of three kinds, and guests on them that boot for real."""

import asyncio
import base64
import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from agent.protocol import CreateVm, DeleteVm, ImageSource, NetworkSpec, RouteSpec, VmChanged
from tests.agent.fake_portal import FakePortal

ROOT = Path(__file__).resolve().parents[2]
Result = TypeVar("Result")


@dataclass(frozen=True)
class Lan:
    """A bridge of this host, which has `router` as its address on it."""

    bridge: str
    router: str
    subnet: str
    router6: str
    subnet6: str

    def network(self) -> NetworkSpec:
        """With all that can be said of a network to those whose addresses are given."""
        return NetworkSpec(
            network_id=str(uuid.uuid4()),
            kind="bridge",
            bridge=self.bridge,
            subnet=self.subnet,
            gateway=self.router,
            subnet6=self.subnet6,
            gateway6=self.router6,
            dns=[self.router, self.router6],
            mtu=1400,
            routes=[RouteSpec(destination="10.99.0.0/16", gateway=self.router)],
            search=["corp.example", "example"],
        )


class Inside:
    """A running guest, asked through its guest agent: on any network, and on none."""

    def __init__(self, vm_id: str) -> None:
        self.vm_id = vm_id

    def run(self, *command: str, timeout: float = 60) -> str:
        """Standard output, stripped, whatever the exit status."""
        arguments = {"path": command[0], "arg": command[1:], "capture-output": True}
        pid = self._ask("guest-exec", arguments)["pid"]
        end = time.monotonic() + timeout
        while True:
            status = self._ask("guest-exec-status", {"pid": pid})
            if status["exited"]:
                return base64.b64decode(status.get("out-data", "")).decode().strip()
            assert time.monotonic() < end, f"{command} takes too long"
            time.sleep(0.2)

    def shell(self, script: str, *, user: str = "root", timeout: float = 60) -> str:
        return self.run(
            "/usr/sbin/runuser", "-u", user, "--", "/bin/sh", "-c", script, timeout=timeout
        )

    def wait(self, *, seconds: float) -> None:
        """Until the guest agent answers."""
        end = time.monotonic() + seconds
        while True:
            with contextlib.suppress(subprocess.CalledProcessError):
                self._ask("guest-ping", {})
                return
            assert time.monotonic() < end, "the guest agent does not answer"
            time.sleep(1)

    def _ask(self, name: str, arguments: dict[str, Any]) -> Any:
        request = json.dumps({"execute": name, "arguments": arguments})
        command = ["virsh", "-q", "-c", "qemu:///system", "qemu-agent-command", self.vm_id]
        done = subprocess.run(
            [*command, request], check=True, capture_output=True, text=True, timeout=60
        )
        return json.loads(done.stdout)["return"]


def guest_image(name: str) -> Path:
    """An image of `python -m build guest`, built if it is not there. Raises CalledProcessError."""
    cache = os.environ.get("BASALT_IMAGE_CACHE", str(ROOT / "var" / "images"))
    options = ["--output", cache, "--max-age-hours", "168"]
    built = subprocess.run(
        [sys.executable, "-m", "build", "guest", name, *options],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    return Path(built.stdout.strip().splitlines()[-1])


class Farm:
    """A portal that knows one host, the host's agent, and guest images that it has."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "agent"
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._agent: subprocess.Popen[bytes] | None = None
        self._images: dict[str, ImageSource] = {}
        self.portal: FakePortal
        self.log = folder / "agent.log"

    def start(self) -> None:
        self._thread.start()
        self.portal = self._wait_for(self._new_portal())
        token = ["--portal", self.portal.url, "--token", "bj_good", "--data", str(self.data)]
        subprocess.run([sys.executable, "-m", "agent", "enrol", *token], cwd=ROOT, check=True)
        run = ["run", "--data", str(self.data), "--stop-guests-on-exit"]
        with self.log.open("wb") as output:
            self._agent = subprocess.Popen(
                [sys.executable, "-m", "agent", *run], cwd=ROOT, stdout=output, stderr=output
            )
        self._wait_for(self.portal.connected())

    def stop(self) -> None:
        if self._agent is not None:
            self._agent.terminate()
            self._agent.wait(120)
        self._wait_for(self.portal.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    @property
    def seal_public(self) -> bytes:
        return base64.b64decode(self.portal.hosts[self._host]["seal_public"])

    def image(self, name: str) -> ImageSource:
        """A guest image, which the portal has from now on."""
        if name not in self._images:
            path = guest_image(name)
            content = path.read_bytes()
            self._images[name] = ImageSource(
                version_id=str(uuid.uuid4()),
                sha256=hashlib.sha256(content).hexdigest(),
                format="qcow2",
                size=len(content),
            )
            self.portal.images[self._images[name].version_id] = path
        return self._images[name]

    def make(self, job: CreateVm) -> Inside:
        """The guest, started."""
        outcome = self._wait_for(self._do(job))
        assert outcome.error is None, outcome.error
        return Inside(job.vm_id)

    def remove(self, vm_id: str) -> None:
        outcome = self._wait_for(self._do(DeleteVm(vm_id=vm_id)))
        assert outcome.error is None, outcome.error

    def wait_until_done(self, vm_id: str, *, seconds: float) -> None:
        """Until the host has heard that the guest's first boot is over."""

        def done(change: VmChanged) -> bool:
            return (
                change.vm_id == vm_id and change.vm is not None and change.vm.cloud_init == "done"
            )

        self._wait_for(self.portal.wait(VmChanged, done, seconds))

    @property
    def _host(self) -> str:
        return next(iter(self.portal.hosts))

    async def _do(self, job: Any) -> Any:
        return await self.portal.outcome(await self.portal.job(self._host, job), 600)

    @staticmethod
    async def _new_portal() -> FakePortal:
        portal = FakePortal()
        await portal.start()
        return portal

    def _wait_for(self, work: Coroutine[Any, Any, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(2400)


@contextlib.contextmanager
def farm() -> Iterator[Farm]:
    """A running one, in a folder that QEMU's own user can reach."""
    folder = Path(tempfile.mkdtemp(dir="/var/tmp", prefix="basalt-farm-"))
    folder.chmod(0o711)
    one = Farm(folder)
    try:
        one.start()
        yield one
    finally:
        one.stop()
        shutil.rmtree(folder)


@contextlib.contextmanager
def lan(number: int, *, dhcp: bool) -> Iterator[Lan]:
    """A LAN of this host, with or without a DHCP server of its own."""
    name = f"tl{uuid.uuid4().hex[:10]}"
    prefix, prefix6 = f"10.{number}.7", f"fd00:{number}:7:"
    one = Lan(name, f"{prefix}.1", f"{prefix}.0/24", f"{prefix6}:1", f"{prefix6}:/64")
    _ip("link", "add", name, "type", "bridge")
    server = None
    try:
        _ip("address", "add", f"{one.router}/24", "dev", name)
        _ip("address", "add", f"{one.router6}/64", "dev", name, "nodad")
        _ip("link", "set", name, "up")
        with tempfile.TemporaryDirectory(prefix="basalt-dhcp-") as folder:
            if dhcp:
                server = _dhcp_server(one, Path(folder))
            try:
                yield one
            finally:
                if server is not None:
                    server.terminate()
                    server.wait(10)
    finally:
        _ip("link", "delete", name)


def _dhcp_server(one: Lan, folder: Path) -> "subprocess.Popen[bytes]":
    prefix = one.router.rsplit(".", 1)[0]
    configuration = folder / "udhcpd.conf"
    configuration.write_text(
        f"start {prefix}.100\nend {prefix}.200\ninterface {one.bridge}\n"
        f"lease_file {folder}/leases\npidfile {folder}/pid\noption subnet 255.255.255.0\n"
        f"option router {one.router}\noption dns {one.router}\noption lease 3600\n"
    )
    (folder / "leases").touch()
    return subprocess.Popen(
        ["busybox", "udhcpd", "-f", str(configuration)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)
