"""Guests in memory. Their state outlives the process, as guests outlive an agent."""

import asyncio
import json
import random
import socket
import time
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from agent.drivers.base import (
    DriverFacts,
    GuestCounters,
    GuestDefinition,
    GuestState,
    NicDefinition,
)
from agent.drivers.simulated.usage import simulated_counters
from agent.errors import JobFailedError
from agent.files import write_atomically
from agent.protocol.messages import PowerState

if TYPE_CHECKING:
    pass


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
            if guest.active and guest.vm_id != without
        )

    async def counters(self, vm_ids: set[str]) -> dict[str, GuestCounters]:
        now = time.time()
        return {
            vm_id: simulated_counters(guest, now)
            for vm_id, guest in self._guests.items()
            if vm_id in vm_ids and guest.active
        }

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

    async def attach_nic(self, vm_id: str, nic: NicDefinition) -> None:  # noqa: ARG002
        await self._wait(0.5)

    async def detach_nic(self, vm_id: str, mac: str) -> None:  # noqa: ARG002
        await self._wait(0.5)

    async def set_cable(self, vm_id: str, mac: str, *, plugged: bool) -> None:
        """Guests in memory have no cables."""

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

    async def guest_files(self, vm_id: str, paths: list[str]) -> dict[str, bytes]:  # noqa: ARG002
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

    async def screenshot(self, vm_id: str) -> bytes:  # noqa: ARG002
        raise JobFailedError("console_simulated", "This host is simulated: its VMs have no screen.")

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
