"""A host that is not there: guests in memory, with the pace and the refusals of real ones.

For `python -m agent simulate`, which shows a portal many hosts on real links. The state
outlives the process in one small file, as guests outlive an agent.
"""

import asyncio
import json
import random
import socket
import time
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from agent.drivers.base import (
    DiskDefinition,
    DriverFacts,
    GuestDefinition,
    GuestState,
    Progress,
)
from agent.errors import JobFailedError
from agent.facts import HostProbe
from agent.files import write_atomically
from agent.protocol import (
    Bridge,
    DiskReport,
    DiskSpec,
    HostFacts,
    ImageSource,
    NetworkSpec,
    NicSpec,
    Usage,
)
from agent.protocol.messages import PowerState

if TYPE_CHECKING:
    from metadata.documents import NicDocument

_MIB = 1024 * 1024
_GIB = 1024 * _MIB


class SimulatedDriver:
    """Guests with a definition and a power state. `pace` scales all waits: 0 for tests."""

    def __init__(self, folder: Path, *, pace: float = 1.0) -> None:
        self._path = folder / "guests.json"
        self._pace = pace
        self._on_change: Callable[[str], None] = lambda _: None
        self._changed = asyncio.Condition()
        self._guests: dict[str, GuestState] = {}
        self._background: set[asyncio.Task[None]] = set()
        if self._path.exists():
            for vm_id, (power, vcpus, memory) in json.loads(self._path.read_bytes()).items():
                self._guests[vm_id] = GuestState(
                    vm_id=vm_id, power=power, vcpus=vcpus, memory_mib=memory
                )

    async def start(
        self,
        *,
        on_change: Callable[[str], None],
        on_connected: Callable[[], Awaitable[None]],
        on_lost: Callable[[], None],  # noqa: ARG002
    ) -> None:
        self._on_change = on_change
        await on_connected()

    async def stop(self) -> None:
        """Guests stay as they are."""

    async def facts(self) -> DriverFacts:
        return DriverFacts(
            accelerator="simulated",
            libvirt="simulated",
            qemu="simulated",
            firmwares=["bios", "uefi"],
        )

    async def guests(self) -> dict[str, GuestState]:
        return dict(self._guests)

    async def guest(self, vm_id: str) -> GuestState | None:
        return self._guests.get(vm_id)

    async def committed_memory_mib(self, *, without: str) -> int:
        return sum(
            guest.memory_mib
            for guest in self._guests.values()
            if guest.power != "off" and guest.vm_id != without
        )

    async def foreign_count(self) -> int:
        return 0

    async def define(self, definition: GuestDefinition) -> None:
        known = self._guests.get(definition.vm_id)
        self._guests[definition.vm_id] = GuestState(
            vm_id=definition.vm_id,
            power=known.power if known else "off",
            vcpus=definition.vcpus,
            memory_mib=definition.memory_mib,
        )
        self._save()

    async def start_paused(self, vm_id: str) -> None:
        await self._wait(0.5)
        await self._set(vm_id, "paused")

    async def resume(self, vm_id: str) -> None:
        await self._set(vm_id, "running")

    async def ask_shutdown(self, vm_id: str) -> None:
        async def shut_down() -> None:
            await self._wait(3)
            if vm_id in self._guests:
                await self._set(vm_id, "off")

        await self._set(vm_id, "shutting_down")
        self._spawn(shut_down())

    async def force_off(self, vm_id: str) -> None:
        if vm_id in self._guests:
            await self._wait(0.3)
            await self._set(vm_id, "off")

    async def ask_reboot(self, vm_id: str) -> None:
        await self._wait(1)
        self._on_change(vm_id)

    async def reset(self, vm_id: str) -> None:
        await self._wait(0.3)
        self._on_change(vm_id)

    async def undefine(self, vm_id: str) -> None:
        self._guests.pop(vm_id, None)
        self._save()

    async def wait_off(self, vm_id: str, *, timeout_s: float) -> bool:
        def off() -> bool:
            guest = self._guests.get(vm_id)
            return guest is None or guest.power == "off"

        async with self._changed:
            try:
                await asyncio.wait_for(self._changed.wait_for(off), timeout_s)
            except TimeoutError:
                return False
        return True

    async def addresses(self, vm_id: str) -> dict[str, list[str]]:  # noqa: ARG002
        return {}

    async def open_console(self, vm_id: str, kind: Literal["vnc", "serial"]) -> int:
        guest = self._guests.get(vm_id)
        if guest is None or guest.power != "running":
            raise JobFailedError("vm_must_be_on", "The VM is off: start it to see its console.")
        if kind == "vnc":
            raise JobFailedError(
                "console_simulated", "This host is simulated: its VMs have no screen."
            )
        ours, theirs = socket.socketpair()
        self._spawn(_login_prompt(theirs, vm_id))
        return ours.detach()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _wait(self, seconds: float) -> None:
        await asyncio.sleep(seconds * self._pace * random.uniform(0.8, 1.2))  # noqa: S311

    async def _set(self, vm_id: str, power: PowerState) -> None:
        guest = self._guests.get(vm_id)
        if guest is None:
            raise JobFailedError("vm_not_found", "This host has no such VM.")
        if guest.power == power:
            return
        self._guests[vm_id] = GuestState(
            vm_id=vm_id, power=power, vcpus=guest.vcpus, memory_mib=guest.memory_mib
        )
        self._save()
        async with self._changed:
            self._changed.notify_all()
        self._on_change(vm_id)

    def _save(self) -> None:
        state = {
            guest.vm_id: (guest.power, guest.vcpus, guest.memory_mib)
            for guest in self._guests.values()
        }
        write_atomically(self._path, json.dumps(state).encode())


async def _login_prompt(end: socket.socket, vm_id: str) -> None:
    """A serial line that asks for a login for ever."""
    end.setblocking(False)
    loop = asyncio.get_running_loop()
    prompt = f"\r\nsimulated {vm_id[:8]} ttyS0\r\n\r\nlogin: ".encode()
    try:
        await loop.sock_sendall(end, prompt)
        while data := await loop.sock_recv(end, 4096):
            await loop.sock_sendall(end, data.replace(b"\r", b"") or b"")
            if b"\r" in data or b"\n" in data:
                await loop.sock_sendall(end, b"\r\nLogin incorrect" + prompt)
    except OSError:
        pass
    finally:
        end.close()


class SimulatedImages:
    """Images that take a moment to arrive, and are remembered."""

    def __init__(self, folder: Path, *, pace: float = 1.0) -> None:
        self._folder = folder / "images"
        self._folder.mkdir(parents=True, exist_ok=True)
        self._pace = pace

    async def ensure(self, source: ImageSource, *, progress: Progress) -> None:
        path = self._folder / source.version_id
        if path.exists():
            return
        for step in range(1, 21):
            await asyncio.sleep(0.15 * self._pace)
            progress(step / 20)
        path.touch()

    def cached(self) -> list[str]:
        return sorted(path.name for path in self._folder.iterdir())


class SimulatedDisks:
    """Disks that are only numbers, on a disk of a given size."""

    def __init__(self, folder: Path, *, free_bytes: int, pace: float = 1.0) -> None:
        self._path = folder / "disks.json"
        self._free = free_bytes
        self._pace = pace
        self._sizes: dict[str, dict[str, int]] = {}
        if self._path.exists():
            self._sizes = json.loads(self._path.read_bytes())

    async def check_space(
        self,
        vm_id: str,
        disks: list[DiskSpec],
        image: ImageSource,  # noqa: ARG002
    ) -> None:
        self._check(sum(disk.size for disk in disks), without=vm_id)

    async def make(
        self,
        vm_id: str,
        disks: list[DiskSpec],
        image: ImageSource,  # noqa: ARG002
    ) -> None:
        await asyncio.sleep(0.4 * self._pace)
        self._sizes[vm_id] = {disk.disk_id: disk.size for disk in disks}
        self._save()

    async def grow(self, vm_id: str, disks: list[DiskSpec]) -> None:
        known = self._sizes.get(vm_id, {})
        self._check(sum({**known, **{d.disk_id: d.size for d in disks}}.values()), without=vm_id)
        self._sizes[vm_id] = {**known, **{disk.disk_id: disk.size for disk in disks}}
        self._save()

    async def remove(self, vm_id: str) -> None:
        self._sizes.pop(vm_id, None)
        self._save()

    async def keep(self, vm_id: str, *, name: str, note: dict[str, object]) -> None:
        """Nothing to keep: the disks were numbers."""

    async def report(self, vm_id: str, disks: list[DiskSpec]) -> list[DiskReport]:
        sizes = self._sizes.get(vm_id, {})
        return [
            DiskReport(disk_id=disk.disk_id, capacity=sizes[disk.disk_id], allocation=_GIB // 2)
            for disk in disks
            if disk.disk_id in sizes
        ]

    def definitions(self, vm_id: str, disks: list[DiskSpec]) -> list[DiskDefinition]:
        return [
            DiskDefinition(path=f"{vm_id}/{disk.disk_id}", serial=disk.disk_id[:20])
            for disk in disks
        ]

    def nvram(self, vm_id: str) -> str:
        return f"{vm_id}/nvram"

    def orphans(self, keep: set[str]) -> list[str]:
        return [vm_id for vm_id in self._sizes if vm_id not in keep]

    def _check(self, wanted: int, *, without: str) -> None:
        used = sum(sum(sizes.values()) for vm_id, sizes in self._sizes.items() if vm_id != without)
        left = max(0, self._free - used)
        if wanted > left:
            raise JobFailedError(
                "not_enough_disk",
                f"The VM's disks need {wanted // _MIB} MiB, and the host has {left // _MIB} MiB "
                "left for disks. Choose smaller disks, or delete VMs that are not needed.",
            )

    def _save(self) -> None:
        write_atomically(self._path, json.dumps(self._sizes).encode())


class SimulatedPlumber:
    """NICs without a wire: cloud-init on them ends some seconds after the start."""

    def __init__(self, *, on_state: Callable[[str, str, bool], None], pace: float = 1.0) -> None:
        self._on_state = on_state
        self._pace = pace
        self._nics: dict[str, asyncio.Task[None] | None] = {}
        self._done: set[str] = set()

    async def start(self) -> None:
        """Nothing to start."""

    async def stop(self, *, terminate_server: bool) -> None:  # noqa: ARG002
        for nic_id in list(self._nics):
            await self.detach(nic_id)

    async def ensure_network(self, network: NetworkSpec) -> str:
        if network.kind == "bridge" and network.bridge not in SIMULATED_BRIDGES:
            raise JobFailedError(
                "bridge_missing",
                f"The host has no bridge {network.bridge!r}. It has: "
                f"{', '.join(SIMULATED_BRIDGES)}.",
            )
        return network.bridge or f"bn{network.network_id.replace('-', '')[:12]}"

    async def remove_network(self, network_id: str) -> None:
        """Nothing was made."""

    async def attach(self, *, nic: NicSpec, tap: str, document: "NicDocument") -> None:  # noqa: ARG002
        if nic.nic_id not in self._nics:
            self._nics[nic.nic_id] = asyncio.create_task(self._first_boot(nic.nic_id))

    async def detach(self, nic_id: str) -> None:
        task = self._nics.pop(nic_id, None)
        if task is not None:
            task.cancel()

    async def sweep(self, *, keep_nics: set[str], keep_networks: set[str]) -> list[str]:  # noqa: ARG002
        return []

    async def _first_boot(self, nic_id: str) -> None:
        await asyncio.sleep(4 * self._pace)
        self._on_state(nic_id, "served", False)
        await asyncio.sleep(6 * self._pace)
        self._on_state(nic_id, "sealed", True)


SIMULATED_BRIDGES = ("br0",)


class SimulatedProbe(HostProbe):
    """Facts of a host of a plausible size, different from host to host but stable."""

    def __init__(self, folder: Path, *, name: str, seed: int) -> None:
        super().__init__(folder)
        pick = random.Random(seed)  # noqa: S311
        self._name = name
        self._cpus = pick.choice([8, 16, 24, 32])
        self._memory = pick.choice([32, 64, 128]) * 1024
        self.disk_bytes = pick.choice([960, 1920, 3840]) * 10**9
        self._boot_id = f"{pick.getrandbits(128):032x}"
        self._busy = pick.uniform(5, 50)

    def boot_id(self) -> str:
        return self._boot_id

    def facts(self, driver: DriverFacts, problems: list[str]) -> HostFacts:
        return HostFacts(
            hostname=self._name,
            os="Simulated Debian GNU/Linux 12",
            kernel="6.1.0-simulated",
            architecture="x86_64",
            cpu_model="Simulated processor",
            cpus=self._cpus,
            memory_mib=self._memory,
            disk_total=self.disk_bytes,
            accelerator=driver.accelerator,
            libvirt=driver.libvirt,
            qemu=driver.qemu,
            boot_id=self._boot_id,
            firmwares=driver.firmwares,
            bridges=[Bridge(name=name, addresses=["192.0.2.10"]) for name in SIMULATED_BRIDGES],
            problems=problems[:32],
        )

    def usage(self) -> Usage:
        # A slow wave, so that charts have something to show and tests something to expect.
        share = (time.time() / 600 + self._busy) % 1.0
        busy = self._busy + 20 * abs(share - 0.5)
        return Usage(
            cpu_percent=int(busy),
            memory_used_mib=int(self._memory * (0.2 + busy / 400)),
            disk_used=int(self.disk_bytes * 0.1),
            load1=round(self._cpus * busy / 100, 2),
        )

    def memory_mib(self) -> tuple[int, int]:
        return self._memory, self._memory
