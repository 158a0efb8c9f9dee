"""One guest image, from packages to a finished qcow2."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from build import cache, run
from build.context import BuildContext
from build.disk import make_disk, make_qcow2
from build.errors import BuildError
from build.mirror import Archive, Mirror, read_archive
from build.recipe import Recipe
from build.rootfs import installed_packages, kernel_version, make_rootfs

GIB = 1024**3
SMALLEST_DISK_GIB = 2
LARGEST_DISK_GIB = 2048
# Root filesystem as files, raw disk (sparse) and qcow2, with room to spare.
NEEDED_BYTES = 3 * GIB

PROGRAMS = {
    "mmdebstrap": "mmdebstrap",
    "sgdisk": "gdisk",
    "mkfs.vfat": "dosfstools",
    "mcopy": "mtools",
    "mke2fs": "e2fsprogs",
    "qemu-img": "qemu-utils",
    "setpriv": "util-linux",
    "dpkg-query": "dpkg",
    "chroot": "coreutils",
}

Say = Callable[[str], None]


@dataclass(frozen=True)
class GuestRequest:
    """What was asked for. `max_age` in seconds; 0 asks the mirror every time."""

    recipe: Recipe
    mirror: Mirror
    output: Path
    disk_gib: int = SMALLEST_DISK_GIB
    force: bool = False
    max_age: float = 0.0


def build_guest(request: GuestRequest, *, say: Say) -> dict[str, Any]:
    """Make the image, or find the finished one; returns its record.

    A finished image is used when the same recipe met the same package lists, when one of the
    same recipe is younger than `max_age`, or when the mirror cannot be reached.

    Raises BuildError.
    """
    digest = cache.recipe_digest(request.recipe, disk_size=_disk_size(request))
    newest = None if request.force else cache.newest(request.output, request.recipe, digest)
    if newest and cache.age_seconds(newest) < request.max_age:
        return newest
    if not newest:
        _check_host(request)
    try:
        archive = read_archive(request.mirror, request.recipe.suite)
    except BuildError as error:
        if not newest:
            raise
        say(f"{error}\nUsing the image of {newest['built_at']} instead.")
        return newest
    key = cache.content_key(digest, archive.packages_digest)
    if not request.force and (found := cache.find(request.output, request.recipe, key)):
        return found
    _check_host(request)
    with cache.exclusively(request.output, request.recipe, say=say):
        if not request.force and (found := cache.find(request.output, request.recipe, key)):
            return found
        return _build(request, key=key, digest=digest, archive=archive, say=say)


def _build(
    request: GuestRequest, *, key: str, digest: str, archive: Archive, say: Say
) -> dict[str, Any]:
    recipe = request.recipe
    with cache.work_folder(request.output, recipe) as work:
        _check_space(request.output)
        context = BuildContext(
            recipe=recipe,
            mirror=request.mirror,
            key=key,
            epoch=archive.epoch,
            disk_size=_disk_size(request),
            work=work,
            log=request.output / f"{recipe.name}.log",
        )
        context.log.write_text("")
        # mmdebstrap and apt work as other users inside; the folder above stays closed to them.
        work.chmod(0o711)
        steps = {
            f"Install {recipe.os_name}": make_rootfs,
            "Write the disk": make_disk,
            "Compress it": make_qcow2,
        }
        for title, step in steps.items():
            began = time.monotonic()
            step(context)
            say(f"{title}: {time.monotonic() - began:.0f} s")
        packages = installed_packages(context.root)
        record = {
            "name": recipe.name,
            "os": "debian",
            "os_name": recipe.os_name,
            "version": (context.root / "etc/debian_version").read_text().strip(),
            "architecture": recipe.architecture,
            "virtual_size": context.disk_size,
            "kernel": kernel_version(context.root),
            "key": key,
            "recipe": digest,
            "packages_digest": archive.packages_digest,
            "packages": packages,
        }
        return cache.publish(context.qcow2, cache.image_path(request.output, recipe, key), record)


def _disk_size(request: GuestRequest) -> int:
    if not SMALLEST_DISK_GIB <= request.disk_gib <= LARGEST_DISK_GIB:
        message = (
            f"A disk of {request.disk_gib} GiB cannot be made: choose a size from "
            f"{SMALLEST_DISK_GIB} to {LARGEST_DISK_GIB} GiB. Guests grow it as they start."
        )
        raise BuildError("disk_size", message)
    return request.disk_gib * GIB


def _check_host(request: GuestRequest) -> None:
    missing = run.missing_programs(PROGRAMS)
    if missing:
        packages = " ".join(sorted(set(missing.values())))
        message = (
            f"Missing here: {', '.join(sorted(missing))}. Install with: apt-get install {packages}"
        )
        raise BuildError("program_missing", message)
    if os.geteuid() != 0:
        message = (
            "Only root can install a Debian root filesystem with the right owners. "
            "Run the command again with sudo."
        )
        raise BuildError("not_root", message)
    try:
        request.output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        message = f"{request.output} cannot be made ({error.strerror}). Name another --output."
        raise BuildError("output_unusable", message) from error
    _check_space(request.output)


def _check_space(output: Path) -> None:
    free = shutil.disk_usage(output).free
    if free < NEEDED_BYTES:
        message = (
            f"{output} has {free / GIB:.1f} GiB free; the build needs {NEEDED_BYTES / GIB:.0f} "
            "GiB. Free some space, or name another folder with --output."
        )
        raise BuildError("disk_full", message)
