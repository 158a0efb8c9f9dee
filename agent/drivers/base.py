"""What the rest of the agent expects of the parts that touch the host."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

from agent.protocol import (
    DiskReport,
    DiskSpec,
    DroppedFrames,
    ImageSource,
    NetworkSpec,
    NicSpec,
)
from agent.protocol.jobs import Identity
from agent.protocol.messages import PowerState

if TYPE_CHECKING:
    from metadata.documents import NicDocument

Progress = Callable[[float], None]
"""Told the done share of a step, 0.0 to 1.0."""


@dataclass(frozen=True, kw_only=True)
class DriverFacts:
    """What the driver knows about the host."""

    accelerator: Literal["kvm", "tcg", "simulated"]
    libvirt: str
    qemu: str
    firmwares: list[Literal["bios", "uefi"]]
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class GuestState:
    """A guest as the hypervisor sees it right now."""

    vm_id: str
    power: PowerState
    vcpus: int
    memory_mib: int

    @property
    def active(self) -> bool:
        """Whether it holds memory and NICs: everything but off and crashed."""
        return self.power not in ("off", "crashed")


@dataclass(frozen=True, kw_only=True)
class GuestCounters:
    """What a running guest has used since its start: bytes, but for `cpu_s`, in seconds of
    one processor, and `memory_used_mib` and `disk_used`, which are of this moment."""

    cpu_s: float
    memory_used_mib: int | None
    disk_used: int
    disk_read: int
    disk_written: int
    net_in: int
    net_out: int


@dataclass(frozen=True, kw_only=True)
class NicDefinition:
    """`tap` is the name of the host's end; `bridge` is what it is joined to."""

    mac: str
    tap: str
    bridge: str
    mtu: int


@dataclass(frozen=True, kw_only=True)
class DiskDefinition:
    """A disk image in qcow2 form. `serial` is what the guest sees (20 characters)."""

    path: str
    serial: str


@dataclass(frozen=True, kw_only=True)
class GuestDefinition:
    """All that a driver needs to define a guest. Disks in order, the boot disk first.
    `identity` is which form of metadata the firmware makes the guest look for."""

    vm_id: str
    hypervisor_id: str
    name: str
    vcpus: int
    memory_mib: int
    firmware: str
    nvram: str
    disks: list[DiskDefinition]
    nics: list[NicDefinition]
    identity: Identity = "openstack"


class GuestDriver(Protocol):
    """Guests of this agent. Methods raise JobFailedError, above all `libvirt_down`."""

    async def start(
        self,
        *,
        on_change: Callable[[str], None],
        on_connected: Callable[[], Awaitable[None]],
        on_lost: Callable[[], None],
    ) -> None:
        """Connect, and keep trying. `on_change(vm_id)` follows each lifecycle event,
        `on_connected` each new connection, before any event of it."""

    async def stop(self) -> None: ...

    async def facts(self) -> DriverFacts: ...

    async def guests(self) -> dict[str, GuestState]: ...

    async def guest(self, vm_id: str) -> GuestState | None: ...

    async def counters(self, vm_ids: set[str]) -> dict[str, GuestCounters]:
        """What those of these guests that run have used. One question for all of them."""

    async def committed_memory_mib(self, *, without: str) -> int:
        """Memory promised to all running guests of the host but `without`, anyone's."""

    async def foreign_count(self) -> int: ...

    async def define(self, definition: GuestDefinition) -> None:
        """Define or redefine."""

    async def start_paused(self, vm_id: str) -> None: ...

    async def resume(self, vm_id: str) -> None: ...

    async def ask_shutdown(self, vm_id: str) -> None: ...

    async def force_off(self, vm_id: str) -> None:
        """Off when this returns; a guest that is off already is no error."""

    async def ask_reboot(self, vm_id: str) -> None: ...

    async def reset(self, vm_id: str) -> None: ...

    async def undefine(self, vm_id: str) -> None:
        """Forget the guest, its firmware variables too. Idempotent."""

    async def wait_off(self, vm_id: str, *, timeout_s: float) -> bool:
        """Whether the guest was off before the time was over."""

    async def addresses(self, vm_id: str) -> dict[str, list[str]]:
        """Addresses in CIDR form that the guest was seen to use, by MAC."""

    async def open_console(self, vm_id: str, kind: Literal["vnc", "serial"]) -> int:
        """A file descriptor that carries the console's bytes; the caller closes it."""

    async def screenshot(self, vm_id: str) -> bytes:
        """What a running guest shows, as a PNG of its full size."""


class NicPlumbing(Protocol):
    """Networks, and each NIC's own wire to the metadata service."""

    async def start(self) -> None: ...

    async def stop(self, *, terminate_server: bool) -> None: ...

    async def ensure_network(self, network: NetworkSpec) -> str: ...

    async def remove_network(self, network_id: str) -> None: ...

    async def attach(self, *, nic: NicSpec, tap: str, document: "NicDocument") -> None: ...

    async def detach(self, nic_id: str) -> None: ...

    async def sweep(self, *, keep_nics: set[str], keep_networks: set[str]) -> list[str]: ...

    async def dropped(self) -> dict[str, DroppedFrames]:
        """Frames that each guarded NIC's guard has dropped so far, by NIC. Raises
        JobFailedError."""


class ImageStore(Protocol):
    """Verified images, ready to lie under a guest's disks."""

    async def ensure(self, source: ImageSource, *, progress: Progress) -> None:
        """Have the image, whole and verified. Raises JobFailedError."""

    def forget_seldom_used(self) -> int:
        """Remove images that nobody has used for long. Returns the bytes."""

    def cached(self) -> list[str]:
        """Version ids of the images that are here."""


class DiskStore(Protocol):
    """The disk files of guests."""

    async def check_space(self, vm_id: str, disks: list[DiskSpec], image: ImageSource) -> None:
        """Raises JobFailedError `not_enough_disk`."""

    async def make(self, vm_id: str, disks: list[DiskSpec], image: ImageSource) -> None:
        """Make the disks that are not there yet."""

    async def grow(self, vm_id: str, disks: list[DiskSpec]) -> None:
        """Grow known disks, add new empty ones. Raises JobFailedError."""

    async def remove(self, vm_id: str) -> None: ...

    async def keep(self, vm_id: str, *, name: str, note: dict[str, object]) -> None:
        """Move the disks to kept/<name>-<date>/, each a whole image of its own."""

    async def report(self, vm_id: str, disks: list[DiskSpec]) -> list[DiskReport]: ...

    def definitions(self, vm_id: str, disks: list[DiskSpec]) -> list[DiskDefinition]: ...

    def nvram(self, vm_id: str) -> str: ...

    def orphans(self, keep: set[str]) -> list[str]:
        """Folders of disks whose guest is in nobody's records."""
