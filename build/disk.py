"""The partitioned disk and its qcow2, written into plain files."""

from __future__ import annotations

import os
from pathlib import Path

from build import run
from build.bootloader import SECTOR, embed, esp_files, install_into_root, make_core
from build.context import BuildContext

MIB = 1024 * 1024

# The root partition comes last, so that it can grow; the numbers are those of Debian's images.
BIOS_START = 2048
BIOS_SECTORS = 2048
ESP_START = BIOS_START + BIOS_SECTORS
ESP_SECTORS = 64 * MIB // SECTOR
ROOT_START = ESP_START + ESP_SECTORS
BACKUP_TABLE_BYTES = MIB

# GRUB 2.06 reads none of these, and mke2fs of Debian 13 turns them on.
EXT4_FEATURES = "^metadata_csum_seed,^orphan_file"


def make_disk(context: BuildContext) -> None:
    """Turn the root filesystem in `context.root` into `context.raw_disk`."""
    install_into_root(context)
    boot, core = make_core(context)
    files = esp_files(context)
    _partition(context)
    embed(context.raw_disk, boot=boot, core=core, first_sector=BIOS_START, sectors=BIOS_SECTORS)
    _write_esp(context, files)
    _write_root(context)


def make_qcow2(context: BuildContext) -> None:
    """Compress the disk into `context.qcow2`; zstd, because guests read it while they boot."""
    run.run(
        [
            *("qemu-img", "convert", "-f", "raw", "-O", "qcow2", "-c", "-W"),
            *("-o", "compression_type=zstd", context.raw_disk, context.qcow2),
        ],
        doing="compressing the disk",
        log=context.log,
    )
    run.run(["qemu-img", "check", context.qcow2], doing="checking the qcow2", log=context.log)


def _partition(context: BuildContext) -> None:
    with context.raw_disk.open("wb") as file:
        file.truncate(context.disk_size)
    run.run(
        [
            *("sgdisk", "--clear"),
            f"--disk-guid={context.identifier('disk')}",
            f"--new=14:{BIOS_START}:{ESP_START - 1}",
            *("--typecode=14:ef02", f"--partition-guid=14:{context.identifier('bios-partition')}"),
            f"--new=15:{ESP_START}:{ROOT_START - 1}",
            *("--typecode=15:ef00", f"--partition-guid=15:{context.identifier('esp-partition')}"),
            f"--new=1:{ROOT_START}:{_root_end(context)}",
            *("--typecode=1:8304", f"--partition-guid=1:{context.identifier('root-partition')}"),
            context.raw_disk,
        ],
        doing="partitioning the disk",
        log=context.log,
    )


def _root_end(context: BuildContext) -> int:
    return (context.disk_size - BACKUP_TABLE_BYTES) // SECTOR - 1


def _write_esp(context: BuildContext, files: dict[str, bytes]) -> None:
    image = context.work / "esp.img"
    image.unlink(missing_ok=True)
    volume = f"{context.identifier('esp').fields[0]:08x}"
    run.run(
        ["mkfs.vfat", "-F", "32", "-n", "ESP", "-i", volume, "-C", image, str(ESP_SECTORS // 2)],
        doing="making the EFI system partition",
        log=context.log,
        env=context.environment,
    )
    made: set[str] = set()
    for name, content in files.items():
        source = context.work / "esp-file"
        source.write_bytes(content)
        parts = Path(name).parts
        for depth in range(1, len(parts)):
            folder = "/".join(parts[:depth])
            if folder not in made:
                _mtools(context, "mmd", "-i", image, f"::/{folder}")
                made.add(folder)
        _mtools(context, "mcopy", "-i", image, source, f"::/{name}")
    _copy_sparse(image, context.raw_disk, ESP_START * SECTOR)
    image.unlink()


def _mtools(context: BuildContext, *command: str | Path) -> None:
    doing = "filling the EFI system partition"
    run.run(command, doing=doing, log=context.log, env=context.environment)


def _write_root(context: BuildContext) -> None:
    sectors = _root_end(context) - ROOT_START + 1
    options = (
        f"offset={ROOT_START * SECTOR}",
        f"hash_seed={context.identifier('hash-seed')}",
        # The file is all zeros, so nothing is left for the guest's first boot to zero.
        "assume_storage_prezeroed=1",
    )
    run.run(
        [
            *("mke2fs", "-q", "-F", "-t", "ext4", "-L", "root", "-m", "1"),
            *("-O", EXT4_FEATURES, "-U", str(context.identifier("root"))),
            *("-E", ",".join(options), "-d", context.root),
            *(context.raw_disk, f"{sectors * SECTOR // 1024}k"),
        ],
        doing="writing the root filesystem",
        log=context.log,
        env=context.environment,
    )


def _copy_sparse(source: Path, target: Path, offset: int) -> None:
    zeros = bytes(MIB)
    with source.open("rb") as reader, target.open("r+b") as writer:
        while block := reader.read(MIB):
            if block != zeros[: len(block)]:
                writer.seek(offset)
                writer.write(block)
            offset += len(block)
        os.fsync(writer.fileno())
