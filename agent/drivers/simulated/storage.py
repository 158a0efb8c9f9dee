"""Images that take their time, and disks that are only numbers."""

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING

from agent.drivers.base import (
    DiskDefinition,
    Progress,
)
from agent.errors import JobFailedError
from agent.files import write_atomically
from agent.protocol import (
    DiskReport,
    DiskSpec,
    ImageSource,
)

if TYPE_CHECKING:
    pass

_MIB = 1024 * 1024
_GIB = 1024 * _MIB


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

    def forget_seldom_used(self) -> int:
        """Nothing: these images take no space."""
        return 0

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

    def serial_log(self, vm_id: str) -> str | None:  # noqa: ARG002
        return None

    def read_serial(self, vm_id: str, offset: int) -> tuple[bytes, int]:  # noqa: ARG002
        return b"", offset

    def remove_serial(self, vm_id: str) -> None:
        """Nothing is written down."""

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
