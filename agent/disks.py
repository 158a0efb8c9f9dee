"""The disk files of guests: qcow2 overlays on a cached image, and empty data disks."""

import asyncio
import datetime
import os
import re
import shutil
from pathlib import Path

import msgspec

from agent.drivers.base import DiskDefinition
from agent.errors import JobFailedError
from agent.files import sync_folder, write_atomically
from agent.images.cache import ImageCache
from agent.images.inspection import run_qemu_img, virtual_size
from agent.protocol import DiskReport, DiskSpec, ImageSource

_MIB = 1024 * 1024
_RESERVE_BYTES = 1024 * _MIB
"""Kept free for the host itself."""
_NOTE = "basalt.json"
_SERIAL = "serial.log"
_SERIAL_AT_ONCE = 256 * 1024
_MOST_SERIAL = 1024 * 1024


class LocalDisks:
    """Files at <root>/disks/<vm_id>/<disk_id>.qcow2, on images of the same root.

    `reachable` is the root's name as QEMU, which is another user, can open it.
    """

    def __init__(self, root: Path, *, images: ImageCache, reachable: Path) -> None:
        self._root = root
        self._images = images
        self._reachable = reachable
        for name in ("disks", "kept"):
            (root / name).mkdir(mode=0o711, parents=True, exist_ok=True)

    async def check_space(self, vm_id: str, disks: list[DiskSpec], image: ImageSource) -> None:
        await asyncio.to_thread(self._check_create, vm_id, disks, image)

    async def make(self, vm_id: str, disks: list[DiskSpec], image: ImageSource) -> None:
        folder = self._folder(vm_id)
        folder.mkdir(mode=0o711, exist_ok=True)
        for disk in disks:
            if disk.boot:
                base = self._images.path(image)
                needed = await asyncio.to_thread(virtual_size, base)
                if disk.size < needed:
                    raise JobFailedError(
                        "disk_too_small",
                        f"The image needs a boot disk of at least {-(-needed // 2**30)} GiB, and "
                        f"{disk.size // 2**30} GiB were asked for. Choose a larger disk.",
                    )
                # Relative, so that the agent's folder can move.
                backing = f"../../{self._images.folder.name}/{base.name}"
                await self._create(vm_id, disk, "-b", backing, "-F", image.format)
            else:
                await self._create(vm_id, disk)
        await asyncio.to_thread(sync_folder, folder)

    async def grow(self, vm_id: str, disks: list[DiskSpec]) -> None:
        await asyncio.to_thread(self._check_grow, vm_id, disks)
        for disk in disks:
            path = self._path(vm_id, disk)
            if not path.exists():
                await self._create(vm_id, disk)
            elif await asyncio.to_thread(virtual_size, path) < disk.size:
                await run_qemu_img("resize", "-q", "-f", "qcow2", str(path), str(disk.size))

    async def remove(self, vm_id: str) -> None:
        folder = self._folder(vm_id)
        if folder.exists():
            await asyncio.to_thread(shutil.rmtree, folder)

    async def keep(self, vm_id: str, *, name: str, note: dict[str, object]) -> None:
        folder = self._folder(vm_id)
        if not folder.exists():
            return
        self.remove_serial(vm_id)
        for path in sorted(folder.glob("*.qcow2")):
            await self._take_base_along(path)
        kept = self._root / "kept"
        today = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
        stem = f"{re.sub('[^A-Za-z0-9._-]', '_', name).lstrip('.') or 'vm'}-{today}"
        target = kept / stem
        number = 1
        while target.exists():
            number += 1
            target = kept / f"{stem}-{number}"
        content = msgspec.json.format(msgspec.json.encode({**note, "kept_on": today}))
        await asyncio.to_thread(write_atomically, folder / _NOTE, content + b"\n")
        folder.rename(target)
        await asyncio.to_thread(sync_folder, kept)

    async def report(self, vm_id: str, disks: list[DiskSpec]) -> list[DiskReport]:
        return await asyncio.to_thread(self._report, vm_id, disks)

    def definitions(self, vm_id: str, disks: list[DiskSpec]) -> list[DiskDefinition]:
        boot_first = sorted(disks, key=lambda disk: not disk.boot)
        return [
            DiskDefinition(
                path=str(self._reachable / "disks" / vm_id / f"{disk.disk_id}.qcow2"),
                serial=disk.disk_id.replace("-", "")[:20],
            )
            for disk in boot_first
        ]

    def nvram(self, vm_id: str) -> str:
        return str(self._reachable / "disks" / vm_id / "nvram.fd")

    def serial_log(self, vm_id: str) -> str | None:
        return str(self._reachable / "disks" / vm_id / _SERIAL)

    def read_serial(self, vm_id: str, offset: int) -> tuple[bytes, int]:
        try:
            with (self._folder(vm_id) / _SERIAL).open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                if size < offset:
                    offset = 0  # begun anew, or turned over by virtlogd
                # A guest that prints without end is read at its end alone.
                offset = max(offset, size - _MOST_SERIAL)
                file.seek(offset)
                data = file.read(_SERIAL_AT_ONCE)
        except OSError:
            return b"", offset
        return data, offset + len(data)

    def remove_serial(self, vm_id: str) -> None:
        for path in self._folder(vm_id).glob(f"{_SERIAL}*"):
            path.unlink(missing_ok=True)

    def orphans(self, keep: set[str]) -> list[str]:
        return sorted(
            path.name for path in (self._root / "disks").iterdir() if path.name not in keep
        )

    # ------------------------------------------------------------------ files

    def _folder(self, vm_id: str) -> Path:
        return self._root / "disks" / vm_id

    def _path(self, vm_id: str, disk: DiskSpec) -> Path:
        return self._folder(vm_id) / f"{disk.disk_id}.qcow2"

    async def _create(self, vm_id: str, disk: DiskSpec, *options: str) -> None:
        path = self._path(vm_id, disk)
        if path.exists():
            return
        temporary = path.with_suffix(".new")
        temporary.unlink(missing_ok=True)
        try:
            await run_qemu_img(
                "create", "-q", "-f", "qcow2", *options, str(temporary), str(disk.size)
            )
            temporary.chmod(0o600)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)

    async def _take_base_along(self, path: Path) -> None:
        """Give kept disks their own name for the image they lie on: a hard link costs
        nothing, and the folder can be copied away whole."""
        info = msgspec.json.decode(
            await run_qemu_img("info", "--output=json", "-U", "-f", "qcow2", str(path))
        )
        backing = info.get("backing-filename")
        if not backing or "/" not in backing:
            return
        base = (path.parent / backing).resolve()
        name = f"image-{base.name}"
        if not (path.parent / name).exists():
            await asyncio.to_thread(_link_or_copy, base, path.parent / name)
        await run_qemu_img(
            "rebase", "-q", "-u", "-f", "qcow2", "-b", name,
            "-F", info["backing-filename-format"], str(path),
        )  # fmt: skip

    def _report(self, vm_id: str, disks: list[DiskSpec]) -> list[DiskReport]:
        reports = []
        for disk in disks:
            path = self._path(vm_id, disk)
            try:
                reports.append(
                    DiskReport(
                        disk_id=disk.disk_id,
                        capacity=virtual_size(path),
                        allocation=path.stat().st_blocks * 512,
                    )
                )
            except OSError:
                continue  # not made yet, or taken away by hand: the report says what is there
        return reports

    # ------------------------------------------------------------------ space

    def _check_create(self, vm_id: str, disks: list[DiskSpec], image: ImageSource) -> None:
        missing = [disk for disk in disks if not self._path(vm_id, disk).exists()]
        needed = sum(disk.size for disk in missing)
        if not self._images.note_use(image):
            needed += image.size or 0
        self._check(needed)

    def _check_grow(self, vm_id: str, disks: list[DiskSpec]) -> None:
        needed = 0
        for disk in disks:
            path = self._path(vm_id, disk)
            needed += max(0, disk.size - (virtual_size(path) if path.exists() else 0))
        self._check(needed)

    def _check(self, needed: int) -> None:
        """Counts what guests were promised, not what they have filled: a thin disk must be
        able to grow to its size. Raises JobFailedError `not_enough_disk`."""
        promised = 0
        for path in (self._root / "disks").glob("*/*.qcow2"):
            try:
                promised += max(0, virtual_size(path) - path.stat().st_blocks * 512)
            except OSError:
                continue
        free = shutil.disk_usage(self._root).free
        left = max(0, free - promised - _RESERVE_BYTES)
        if needed > left and self._images.make_room(needed - left):
            free = shutil.disk_usage(self._root).free
            left = max(0, free - promised - _RESERVE_BYTES)
        if needed > left:
            raise JobFailedError(
                "not_enough_disk",
                f"The VM's disks need {needed // _MIB} MiB, and the host has {left // _MIB} MiB "
                f"left for them ({free // _MIB} MiB are free, of which {promised // _MIB} MiB are "
                "promised to disks of other VMs). Choose smaller disks, delete VMs that are not "
                "needed, or add disk space.",
            )


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        target.hardlink_to(source)
    except OSError:
        temporary = target.with_suffix(".new")
        shutil.copyfile(source, temporary)
        temporary.replace(target)
