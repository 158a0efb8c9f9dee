"""Guests as libvirt domains. Only domains that carry this host's id are ever touched."""

import asyncio
import os
import tty
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Literal, TypeVar

import libvirt
import structlog

from agent.drivers.base import DriverFacts, GuestCounters, GuestDefinition, GuestState
from agent.drivers.libvirt.connection import DOWN, Connection
from agent.drivers.libvirt.counters import guest_counters
from agent.drivers.libvirt.domain_xml import (
    OVMF_CODE,
    HostKind,
    domain_xml,
    guest_agent_answers,
    owner,
    serial_pty,
)
from agent.drivers.libvirt.guest_files import read_guest_files
from agent.drivers.libvirt.plugging import NicPlugs
from agent.drivers.libvirt.screen import read_screen
from agent.errors import JobFailedError
from agent.facts import kvm_works, repair_kvm_device
from agent.protocol.messages import PowerState

log = structlog.get_logger("agent.libvirt")

Result = TypeVar("Result")

_POWER: dict[int, PowerState] = {
    libvirt.VIR_DOMAIN_NOSTATE: "unknown",
    libvirt.VIR_DOMAIN_RUNNING: "running",
    libvirt.VIR_DOMAIN_BLOCKED: "running",
    libvirt.VIR_DOMAIN_PAUSED: "paused",
    libvirt.VIR_DOMAIN_SHUTDOWN: "shutting_down",
    libvirt.VIR_DOMAIN_SHUTOFF: "off",
    libvirt.VIR_DOMAIN_CRASHED: "crashed",
    libvirt.VIR_DOMAIN_PMSUSPENDED: "paused",
}
_CRASHED = (libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_CRASHED)
"""QEMU ended by itself: killed for want of memory, say."""
_UNDEFINE_ALL = (
    libvirt.VIR_DOMAIN_UNDEFINE_NVRAM
    | libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE
    | libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
    | libvirt.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA
)
_ACPI_AGAIN_S = 10.0
_AGENT_TIMEOUT_S = 2


class LibvirtDriver(NicPlugs):
    """The guests of one hypervisor_id on one libvirtd."""

    def __init__(self, uri: str, *, hypervisor_id: str) -> None:
        self._connection = Connection(uri)
        self._hypervisor_id = hypervisor_id
        self._on_change: Callable[[str], None] = lambda _: None
        self._waiting: dict[str, list[asyncio.Event]] = {}
        repair_kvm_device()
        self._kvm = kvm_works()
        self._kind = HostKind(
            domain_type="test" if uri.startswith("test:") else ("kvm" if self._kvm else "qemu")
        )
        self._uefi = Path(OVMF_CODE).exists()
        self._versions = ("", "")

    # ------------------------------------------------------------------ connection

    async def start(
        self,
        *,
        on_change: Callable[[str], None],
        on_connected: Callable[[], Awaitable[None]],
        on_lost: Callable[[], None],
    ) -> None:
        self._on_change = on_change
        await self._connection.start(on_open=self._opened, on_ready=on_connected, on_lost=on_lost)

    async def stop(self) -> None:
        await self._connection.stop()

    async def _opened(self, connection: Any) -> None:
        await asyncio.to_thread(self._subscribe, connection)

    def _subscribe(self, connection: Any) -> None:
        for event in (libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, libvirt.VIR_DOMAIN_EVENT_ID_REBOOT):
            connection.domainEventRegisterAny(None, event, self._lifecycle, None)
        self._versions = (
            _version(connection.getLibVersion()),
            _version(connection.getVersion()),
        )

    def _lifecycle(self, _connection: Any, domain: Any, *_details: Any) -> None:
        # Called by libvirtaio in the event loop: nothing here may block.
        vm_id = domain.UUIDString()
        for event in self._waiting.get(vm_id, []):
            event.set()
        self._on_change(vm_id)

    async def _call(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """Like Connection.call; what libvirt refuses becomes a sentence."""
        try:
            return await self._connection.call(function, *arguments)
        except libvirt.libvirtError as error:
            if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
                raise JobFailedError(
                    "vm_not_found", "libvirt on this host does not know this VM any more."
                ) from error
            raise JobFailedError("internal", f"libvirt refused: {error}") from error

    async def _look(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """A call that changes nothing: made once more where libvirtd went away under it."""
        was_up = self._connection.up
        try:
            return await self._call(function, *arguments)
        except JobFailedError as error:
            if error.code != "libvirt_down" or not was_up:
                raise
        return await self._call(function, *arguments)

    # ------------------------------------------------------------------ looking

    async def facts(self) -> DriverFacts:
        problems = [] if self._connection.up else [DOWN]
        if not self._kvm:
            problems.append(
                "This host has no hardware virtualisation that works, so its VMs run in software "
                "emulation and are slow. Switch on VT-x or AMD-V in the firmware, or nested "
                "virtualisation if this host is itself a VM."
            )
        return DriverFacts(
            accelerator="kvm" if self._kvm else "tcg",
            libvirt=self._versions[0],
            qemu=self._versions[1],
            firmwares=["bios", "uefi"] if self._uefi else ["bios"],
            problems=problems,
        )

    async def guests(self) -> dict[str, GuestState]:
        def look(connection: Any) -> dict[str, GuestState]:
            states = (self._state(domain) for domain in connection.listAllDomains(0))
            return {state.vm_id: state for state in states if state is not None}

        return await self._look(look)

    async def guest(self, vm_id: str) -> GuestState | None:
        def look(connection: Any) -> GuestState | None:
            domain = self._find(connection, vm_id)
            return self._state(domain) if domain is not None else None

        return await self._look(look)

    async def counters(self, vm_ids: set[str]) -> dict[str, GuestCounters]:
        return await self._look(guest_counters, vm_ids)

    async def foreign_count(self) -> int:
        def count(connection: Any) -> int:
            domains = connection.listAllDomains(0)
            return sum(not self._is_ours(domain) for domain in domains)

        return await self._look(count)

    async def committed_memory_mib(self, *, without: str) -> int:
        def add_up(connection: Any) -> int:
            active = connection.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE)
            return sum(
                int(domain.maxMemory()) // 1024
                for domain in active
                if domain.UUIDString() != without
            )

        return await self._look(add_up)

    async def addresses(self, vm_id: str) -> dict[str, list[str]]:
        return await self._look(self._addresses, vm_id)

    def _addresses(self, connection: Any, vm_id: str) -> dict[str, list[str]]:
        domain = self._find(connection, vm_id)
        if domain is None:
            return {}
        sources = [libvirt.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_ARP]
        if guest_agent_answers(domain.XMLDesc(0)):
            domain.agentSetResponseTimeout(_AGENT_TIMEOUT_S, 0)
            # First: it knows the prefixes, which the host's ARP table does not.
            sources.insert(0, libvirt.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_AGENT)
        found: dict[str, list[str]] = {}
        for source in sources:
            try:
                interfaces = domain.interfaceAddresses(source, 0)
            except libvirt.libvirtError:
                continue  # this source knows nothing: the other may
            for interface in interfaces.values():
                known = found.setdefault(str(interface.get("hwaddr") or "").lower(), [])
                for address in interface.get("addrs") or []:
                    _add_address(known, address["addr"], address["prefix"])
        return found

    async def guest_files(self, vm_id: str, paths: list[str]) -> dict[str, bytes]:
        return await self._look(
            lambda connection: read_guest_files(self._required(connection, vm_id), paths)
        )

    # ------------------------------------------------------------------ changing

    async def define(self, definition: GuestDefinition) -> None:
        xml = domain_xml(definition, self._kind)
        if definition.firmware == "uefi" and not self._uefi:
            raise JobFailedError(
                "firmware_missing",
                "This host cannot start UEFI VMs: install the Debian package `ovmf` on it, or "
                "choose BIOS.",
            )

        def define(connection: Any) -> None:
            domain = self._find(connection, definition.vm_id)
            connection.defineXML(xml)
            if domain is not None and domain.isActive():
                domain.setMetadata(
                    libvirt.VIR_DOMAIN_METADATA_TITLE,
                    definition.name,
                    None,
                    None,
                    libvirt.VIR_DOMAIN_AFFECT_LIVE,
                )

        await self._call(define)

    async def start_paused(self, vm_id: str) -> None:
        def start(domain: Any) -> None:
            if self._kind.domain_type == "test":  # libvirt's test driver knows no such flag
                domain.create()
                domain.suspend()
            else:
                domain.createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED)

        await self._on_domain(vm_id, start)

    async def resume(self, vm_id: str) -> None:
        await self._on_domain(vm_id, lambda domain: domain.resume())

    async def ask_shutdown(self, vm_id: str) -> None:
        # Not by the guest agent: one that hangs would hold libvirt's lock on the domain.
        button = libvirt.VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN
        flags = 0 if self._kind.domain_type == "test" else button

        def ask(domain: Any) -> None:
            if domain.isActive():
                domain.shutdownFlags(flags)

        await self._on_domain(vm_id, ask)

    async def force_off(self, vm_id: str) -> None:
        def destroy(connection: Any) -> None:
            domain = self._find(connection, vm_id)
            if domain is not None and domain.isActive():
                try:
                    domain.destroy()
                except libvirt.libvirtError as error:
                    if error.get_error_code() != libvirt.VIR_ERR_OPERATION_INVALID:
                        raise  # OPERATION_INVALID: it went off by itself meanwhile

        await self._call(destroy)

    async def ask_reboot(self, vm_id: str) -> None:
        await self._on_domain(vm_id, lambda domain: domain.reboot(0))

    async def reset(self, vm_id: str) -> None:
        await self._on_domain(vm_id, lambda domain: domain.reset(0))

    async def undefine(self, vm_id: str) -> None:
        def undefine(connection: Any) -> None:
            domain = self._find(connection, vm_id)
            if domain is not None:
                domain.undefineFlags(0 if self._kind.domain_type == "test" else _UNDEFINE_ALL)

        await self._call(undefine)

    async def wait_off(self, vm_id: str, *, timeout_s: float) -> bool:
        event = asyncio.Event()
        self._waiting.setdefault(vm_id, []).append(event)
        end = asyncio.get_running_loop().time() + timeout_s
        try:
            while True:
                state = await self.guest(vm_id)
                if state is None or not state.active:
                    return True
                left = end - asyncio.get_running_loop().time()
                if left <= 0:
                    return False
                try:
                    await asyncio.wait_for(event.wait(), min(left, _ACPI_AGAIN_S))
                except TimeoutError:
                    # A guest that was still starting has missed the power button.
                    if left > _ACPI_AGAIN_S:
                        await self.ask_shutdown(vm_id)
                event.clear()
        finally:
            self._waiting[vm_id].remove(event)
            if not self._waiting[vm_id]:
                del self._waiting[vm_id]

    # ------------------------------------------------------------------ consoles

    async def open_console(self, vm_id: str, kind: Literal["vnc", "serial"]) -> int:
        state = await self.guest(vm_id)
        if state is None or not state.active:
            raise JobFailedError("vm_must_be_on", "The VM is off: start it to see its console.")
        opener = self._open_vnc if kind == "vnc" else self._open_serial
        return await self._call(opener, vm_id)

    def _open_vnc(self, connection: Any, vm_id: str) -> int:
        domain = self._required(connection, vm_id)
        return int(domain.openGraphicsFD(0, libvirt.VIR_DOMAIN_OPEN_GRAPHICS_SKIPAUTH))

    def _open_serial(self, connection: Any, vm_id: str) -> int:
        path = serial_pty(self._required(connection, vm_id).XMLDesc(0))
        if path is None:
            raise JobFailedError("internal", "The VM has no serial line.")
        # The terminal itself rather than virDomainOpenConsole: a stream of libvirt's keeps
        # in memory all that a guest prints while nobody reads.
        terminal = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        tty.setraw(terminal)
        return terminal

    async def screenshot(self, vm_id: str) -> bytes:
        state = await self.guest(vm_id)
        if state is None or not state.active:
            raise JobFailedError("vm_must_be_on", "The VM is off: start it to see its screen.")
        return await self._call(self._screenshot, vm_id)

    def _screenshot(self, connection: Any, vm_id: str) -> bytes:
        domain = self._required(connection, vm_id)
        return read_screen(connection, domain)

    # ------------------------------------------------------------------ domains

    async def _on_domain(self, vm_id: str, action: Callable[[Any], Any]) -> None:
        await self._call(lambda connection: action(self._required(connection, vm_id)))

    def _required(self, connection: Any, vm_id: str) -> Any:
        domain = self._find(connection, vm_id)
        if domain is None:
            raise JobFailedError(
                "vm_not_found", "libvirt on this host does not know this VM any more."
            )
        return domain

    def _find(self, connection: Any, vm_id: str) -> Any:
        """The domain, or None. Raises JobFailedError when it is somebody else's."""
        try:
            domain = connection.lookupByUUIDString(vm_id)
        except libvirt.libvirtError as error:
            if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
                return None
            raise
        if not self._is_ours(domain):
            raise JobFailedError(
                "vm_not_found", "A guest with this id exists on the host, but is not Basalt's."
            )
        return domain

    def _is_ours(self, domain: Any) -> bool:
        try:
            return owner(domain.XMLDesc(0)) == self._hypervisor_id
        except libvirt.libvirtError:
            return False  # it went away while we looked

    def _state(self, domain: Any) -> GuestState | None:
        try:
            if not self._is_ours(domain):
                return None
            _, memory_kib, _, vcpus, _ = domain.info()
            state, reason = domain.state()
        except libvirt.libvirtError as error:
            if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
                return None
            raise
        return GuestState(
            vm_id=domain.UUIDString(),
            power="crashed" if (state, reason) == _CRASHED else _POWER.get(state, "unknown"),
            vcpus=vcpus,
            memory_mib=memory_kib // 1024,
        )


def _add_address(known: list[str], address: str, prefix: int) -> None:
    """Add it in CIDR form, unless it is known or says nothing (link-local IPv6)."""
    if address.startswith("fe80:") or any(one.split("/")[0] == address for one in known):
        return
    known.append(f"{address}/{prefix or (128 if ':' in address else 32)}")


def _version(number: int) -> str:
    return f"{number // 1_000_000}.{number // 1000 % 1000}.{number % 1000}"
