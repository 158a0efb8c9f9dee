"""Looking at disk images with qemu-img, within limits: an image is hostile input."""

import asyncio
import json
from pathlib import Path
from typing import Any, Literal

from agent.errors import JobFailedError

_MEMORY_BYTES = 1024**3
_CPU_S = 30
_TIMEOUT_S = 60
_MAX_VIRTUAL_BYTES = 64 * 1024**4
_LONGEST_BACKING_NAME = 1023
_BOOT_SIGNATURE = b"\x55\xaa"


async def run_qemu_img(
    *arguments: str, timeout_s: float = _TIMEOUT_S, limited: bool = False
) -> bytes:
    """Standard output of qemu-img. Raises JobFailedError `internal` with what it said."""
    limits = ["prlimit", f"--as={_MEMORY_BYTES}", f"--cpu={_CPU_S}"] if limited else []
    process = await asyncio.create_subprocess_exec(
        *limits,
        "qemu-img",
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(), timeout_s)
    except BaseException:
        if process.returncode is None:
            process.kill()
            await process.wait()
        raise
    if process.returncode != 0:
        said = err.decode(errors="replace").strip()[-500:]
        code = "not_enough_disk" if "No space left" in said else "internal"
        raise JobFailedError(code, f"qemu-img {arguments[0]} failed on the host: {said}")
    return out


async def check_image(path: Path, image_format: Literal["qcow2", "raw"]) -> None:
    """Whether this is a whole, self-contained disk image of the said format.

    Refuses images that name other files (backing file, external data file): those would be
    files of the host. Raises JobFailedError `image_not_a_disk`.
    """
    try:
        out = await run_qemu_img(
            "info", "--output=json", "-f", image_format, str(path), limited=True
        )
        info: dict[str, Any] = json.loads(out)
    except (JobFailedError, TimeoutError, ValueError) as error:
        raise _not_a_disk(f"it cannot be read as {image_format}") from error
    details = info.get("format-specific", {}).get("data", {})
    if info.get("backing-filename") or info.get("full-backing-filename"):
        raise _not_a_disk("it needs another file (a backing file) that is not part of it")
    if details.get("data-file") or details.get("data-file-raw"):
        raise _not_a_disk("its data is in another file that is not part of it")
    if info.get("encrypted"):
        raise _not_a_disk("it is encrypted")
    size = int(info.get("virtual-size", 0))
    if not 0 < size <= _MAX_VIRTUAL_BYTES:
        raise _not_a_disk(f"its size of {size} bytes cannot be right")
    if image_format == "raw" and not await asyncio.to_thread(_is_bootable_raw, path):
        raise _not_a_disk("it has no partition table")


def virtual_size(path: Path) -> int:
    """The size in bytes that a guest sees. Reads the qcow2 header (QEMU's
    docs/interop/qcow2.txt); any other file is raw."""
    with path.open("rb") as file:
        header = file.read(32)
    if header[:4] == b"QFI\xfb" and len(header) == 32:
        return int.from_bytes(header[24:32], "big")
    return path.stat().st_size


def backing_name(path: Path) -> str | None:
    """What a qcow2 file says it lies on, or None. Reads the header, as `virtual_size` does."""
    with path.open("rb") as file:
        header = file.read(20)
        if header[:4] != b"QFI\xfb" or len(header) < 20:
            return None
        offset = int.from_bytes(header[8:16], "big")
        length = int.from_bytes(header[16:20], "big")
        if not offset or not 0 < length <= _LONGEST_BACKING_NAME:
            return None
        file.seek(offset)
        return file.read(length).decode(errors="replace")


def _is_bootable_raw(path: Path) -> bool:
    with path.open("rb") as file:
        sector = file.read(512)
    return len(sector) == 512 and sector[510:] == _BOOT_SIGNATURE


def _not_a_disk(reason: str) -> JobFailedError:
    return JobFailedError(
        "image_not_a_disk",
        f"The image cannot be used as a disk: {reason}. Give a qcow2 or raw disk image that is "
        "complete in itself, and say the right format.",
    )
