"""Image files: whether they hold a disk, and how they come into the portal's keeping."""

import errno
import hashlib
import os
import struct
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings

from tenants.errors import RuleError

FOLDER = "images"
"""Below MEDIA_ROOT."""
_PART = ".part"
_CHUNK = 4 * 1024**2
_SECTOR = 512
_MAX_DISK_BYTES = 64 * 1024**4
_QCOW2_MAGIC = b"QFI\xfb"
_QCOW2_EXTERNAL_DATA = 1 << 2
_FOREIGN = (
    (b"\x1f\x8b", "is compressed with gzip. Unpack it first (gunzip)"),
    (b"\xfd7zXZ", "is compressed with xz. Unpack it first (unxz)"),
    (b"\x28\xb5\x2f\xfd", "is compressed with zstd. Unpack it first (unzstd)"),
    (b"BZh", "is compressed with bzip2. Unpack it first (bunzip2)"),
    (b"PK\x03\x04", "is a zip archive. Unpack it first"),
    (b"7z\xbc\xaf", "is a 7z archive. Unpack it first"),
    (b"KDMV", "is a VMware disk. Convert it: qemu-img convert -O qcow2 IN OUT"),
    (b"vhdxfile", "is a Hyper-V disk. Convert it: qemu-img convert -O qcow2 IN OUT"),
    (b"conectix", "is a VHD disk. Convert it: qemu-img convert -O qcow2 IN OUT"),
)


class ImageNotADiskError(RuleError):
    code = "image_not_a_disk"


class ImageChecksumError(RuleError):
    code = "image_checksum_mismatch"


class ImageTooLargeError(RuleError):
    code = "image_too_large"
    status = 413


class PortalDiskFullError(RuleError):
    code = "portal_disk_full"
    status = 507


@dataclass(frozen=True, kw_only=True)
class StoredFile:
    """A verified file below MEDIA_ROOT. Sizes in bytes."""

    path: Path
    format: str
    sha256: str
    size: int
    virtual_size: int

    @property
    def name(self) -> str:
        """Relative to MEDIA_ROOT."""
        return str(self.path.relative_to(settings.MEDIA_ROOT))


def disk_inspect(path: Path) -> tuple[str, int]:
    """Format ("qcow2" or "raw") and size of the disk in the file, in bytes.

    Only headers are read, never what they point to. Raises ImageNotADiskError.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(2 * _SECTOR)
        file.seek(0x8001)
        iso = file.read(5) == b"CD001"
    if head.startswith(_QCOW2_MAGIC):
        return "qcow2", _qcow2_size(head)
    for magic, words in _FOREIGN:
        if head.startswith(magic):
            raise _not_a_disk(f"The file {words}, then add that.")
    if iso:
        raise _not_a_disk(
            "The file is an installation CD. Basalt needs a disk with a system on it: take the "
            "“cloud image” of the same system."
        )
    if head.lstrip()[:1] == b"<":
        raise _not_a_disk("The file is a web page. Check the address you took it from.")
    # MBR signature (also the protective one of GPT), or GPT's own at sector 1.
    bootable = head[510:512] == b"\x55\xaa" or head[_SECTOR : _SECTOR + 8] == b"EFI PART"
    if not bootable or size % _SECTOR:
        raise _not_a_disk(
            "The file is neither a qcow2 image nor a raw disk with a partition table. Check that "
            "it was copied whole, and that it is a disk image."
        )
    return "raw", size


def _qcow2_size(head: bytes) -> int:
    """Header as in QEMU's docs/interop/qcow2.txt."""
    if len(head) < 72:
        raise _not_a_disk("The qcow2 file is cut short. Copy it again.")
    version, backing, _, _, size, encryption = struct.unpack(">IQIIQI", head[4:36])
    features = struct.unpack(">Q", head[72:80])[0] if version >= 3 and len(head) >= 80 else 0
    if version not in (2, 3):
        raise _not_a_disk(f"qcow2 version {version} is not known here. Convert it to version 3.")
    # Either would let an image name files of the host that reads it.
    if backing:
        raise _not_a_disk(
            "The qcow2 image builds on another file (backing file), which hosts would not have. "
            "Flatten it: qemu-img convert -O qcow2 IN OUT"
        )
    if features & _QCOW2_EXTERNAL_DATA:
        raise _not_a_disk(
            "The qcow2 image keeps its data in another file. Flatten it: "
            "qemu-img convert -O qcow2 IN OUT"
        )
    if encryption:
        raise _not_a_disk("The qcow2 image is encrypted. Decrypt it first with qemu-img convert.")
    if not 0 < size <= _MAX_DISK_BYTES:
        raise _not_a_disk("The qcow2 image says it holds an impossible size. Copy it again.")
    return int(size)


def file_store(
    chunks: Iterable[bytes], *, sha256: str | None = None, link_to: Path | None = None
) -> StoredFile:
    """Keep a file, once it is whole, verified and on disk; otherwise leave nothing.

    `link_to` is a file with the same content on this machine: where it is on the same file
    system it is linked rather than copied. Raises ImageChecksumError, ImageNotADiskError,
    ImageTooLargeError, PortalDiskFullError.
    """
    folder = Path(settings.MEDIA_ROOT) / FOLDER
    part = folder / f"{uuid.uuid4()}{_PART}"
    with _full_disk_named():
        folder.mkdir(parents=True, exist_ok=True)
    with _full_disk_named(), _removed_on_error(part):
        if link_to is not None and _linked(link_to, part):
            digest, size = _digest(read_chunks(part), None)
        else:
            digest, size = _digest(chunks, part)
        if sha256 is not None and digest != sha256:
            raise ImageChecksumError(
                f"The file's SHA-256 is {digest}, not {sha256}. It was changed or cut short on "
                "its way, or the checksum is of another file. Get both again.",
                field="sha256",
            )
        disk_format, virtual_size = disk_inspect(part)
        path = folder / f"{uuid.uuid4()}.{disk_format}"
        part.rename(path)
        _sync_folder(folder)
    return StoredFile(
        path=path, format=disk_format, sha256=digest, size=size, virtual_size=virtual_size
    )


def leftovers(known: set[str], *, older_than: float) -> list[Path]:
    """Files that no image has (an upload died half-way), untouched since `older_than`
    (seconds since the epoch). `known` holds names relative to MEDIA_ROOT."""
    root = Path(settings.MEDIA_ROOT)
    orphans = (path for path in (root / FOLDER).glob("*") if _relative(path, root) not in known)
    # Django's own temporary files, which it removes unless it is killed.
    uploads = Path(settings.FILE_UPLOAD_TEMP_DIR).glob("*.upload*")
    return [path for path in (*orphans, *uploads) if path.stat().st_mtime < older_than]


def _relative(path: Path, root: Path) -> str:
    return str(path.relative_to(root))


def _digest(chunks: Iterable[bytes], target: Path | None) -> tuple[str, int]:
    """SHA-256 and size of the chunks, written to `target` and synced if there is one."""
    digest, size = hashlib.sha256(), 0
    file = target.open("xb") if target else None
    try:
        for chunk in chunks:
            size += len(chunk)
            if size > settings.BASALT_MAX_IMAGE_BYTES:
                raise ImageTooLargeError(
                    f"The file is larger than the {settings.BASALT_MAX_IMAGE_BYTES // 1024**3} GiB "
                    "allowed here. Give its URL instead, or ask the operator to raise "
                    "BASALT_MAX_IMAGE_BYTES.",
                    field="file",
                )
            digest.update(chunk)
            if file:
                file.write(chunk)
        if file:
            file.flush()
            os.fsync(file.fileno())
    finally:
        if file:
            file.close()
    return digest.hexdigest(), size


def read_chunks(path: Path) -> Iterator[bytes]:
    """The file's content, in pieces."""
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk


def _linked(source: Path, target: Path) -> bool:
    try:
        os.link(source, target)
    except OSError:
        return False
    return True


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _removed_on_error(path: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:
        path.unlink(missing_ok=True)
        raise


@contextmanager
def _full_disk_named() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise PortalDiskFullError(
            "The portal's disk is full, and nothing of the file was kept. Retire images that are "
            "not needed, or ask the operator for room; then try again.",
            field="file",
        ) from error


def _not_a_disk(message: str) -> ImageNotADiskError:
    return ImageNotADiskError(message, field="file")
