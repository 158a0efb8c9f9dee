"""GRUB's bytes end up where the BIOS and GRUB itself look for them."""

import struct
from pathlib import Path

import pytest

from build.bootloader import embed
from build.errors import BuildError

BOOT = bytes(range(256)) * 2
CORE = b"\xaa" * 1300  # three sectors, the last one not full


def blank(path: Path) -> Path:
    path.write_bytes(b"\x77" * 512 + bytes(99 * 512))
    return path


def test_the_boot_sector_names_the_core_image_and_keeps_the_partition_table(tmp_path: Path) -> None:
    disk = blank(tmp_path / "disk")
    embed(disk, boot=BOOT, core=CORE, first_sector=40, sectors=10)
    sector = disk.read_bytes()[:512]
    assert struct.unpack_from("<Q", sector, 0x5C) == (40,)
    assert sector[440:] == b"\x77" * 72


def test_the_core_image_names_where_its_rest_is(tmp_path: Path) -> None:
    disk = blank(tmp_path / "disk")
    embed(disk, boot=BOOT, core=CORE, first_sector=40, sectors=10)
    core = disk.read_bytes()[40 * 512 : 43 * 512]
    assert struct.unpack_from("<QH", core, 512 - 12) == (41, 2)
    assert core[512:1300] == CORE[512:]
    assert core[1300:] == bytes(236)


def test_a_core_image_larger_than_its_partition_is_refused(tmp_path: Path) -> None:
    disk = blank(tmp_path / "disk")
    with pytest.raises(BuildError, match="3 sectors; its partition has 2"):
        embed(disk, boot=BOOT, core=CORE, first_sector=40, sectors=2)
    assert disk.read_bytes() == b"\x77" * 512 + bytes(99 * 512)
