"""GRUB for BIOS and UEFI, put in place without a running system.

`grub-install` wants a block device and a mounted filesystem; writing the same bytes ourselves
needs neither. The offsets are those of GRUB's own util/setup.c and include/grub/i386/pc/boot.h.
"""

from __future__ import annotations

import shutil
import struct
from pathlib import Path

from build import run
from build.context import BuildContext
from build.errors import BuildError
from build.rootfs import kernel_version

SECTOR = 512

# include/grub/i386/pc/boot.h
BOOT_DRIVE_CHECK = 0x66
BOOT_KERNEL_SECTOR = 0x5C
BOOT_CODE_END = 440  # the disk signature and the partition table follow
# The last of diskboot.img's block lists, which grow downwards from the end of the sector.
DISKBOOT_BLOCK_LIST = SECTOR - 12
CORE_SEGMENT = 0x820

CORE_MODULES = (
    "biosdisk",
    "part_gpt",
    "part_msdos",
    "ext2",
    "search_fs_uuid",
    "normal",
    "linux",
    "minicmd",
)

# Found by the core image and by the signed GRUB on the ESP alike.
FIND_ROOT = """\
search.fs_uuid {root} root
set prefix=($root)/boot/grub
"""

# The first configuration. `update-grub` in the guest writes its own over it with the next kernel.
GRUB_CFG = """\
set timeout_style=menu
set timeout=1
set default=0
if serial --speed=115200; then
  terminal_input console serial
  terminal_output console serial
fi
menuentry "{os_name}" {{
  search --no-floppy --fs-uuid --set=root {root}
  linux /boot/vmlinuz-{kernel} root=UUID={root} ro {arguments}
  initrd /boot/initrd.img-{kernel}
}}
menuentry "{os_name} (recovery mode)" {{
  search --no-floppy --fs-uuid --set=root {root}
  linux /boot/vmlinuz-{kernel} root=UUID={root} ro single {arguments}
  initrd /boot/initrd.img-{kernel}
}}
"""
KERNEL_ARGUMENTS = "console=tty0 console=ttyS0,115200 consoleblank=0"


def install_into_root(context: BuildContext) -> None:
    """GRUB's modules and configuration, in the root filesystem's /boot/grub."""
    grub = context.root / "boot/grub"
    grub.mkdir(exist_ok=True)
    modules = context.root / "usr/lib/grub/i386-pc"
    target = grub / "i386-pc"
    target.mkdir()
    for path in [*modules.glob("*.mod"), *modules.glob("*.lst")]:
        shutil.copy2(path, target)
    (grub / "grub.cfg").write_text(
        GRUB_CFG.format(
            os_name=context.recipe.os_name,
            root=context.identifier("root"),
            kernel=kernel_version(context.root),
            arguments=KERNEL_ARGUMENTS,
        )
    )


def make_core(context: BuildContext) -> tuple[bytes, bytes]:
    """GRUB's boot sector and core image for BIOS, made by the guest's own GRUB."""
    inside = Path("run/grub")
    folder = context.root / inside
    folder.mkdir(parents=True)
    (folder / "early.cfg").write_text(FIND_ROOT.format(root=context.identifier("root")))
    run.run(
        [
            "chroot",
            context.root,
            "grub-mkimage",
            "--format=i386-pc",
            f"--config=/{inside}/early.cfg",
            "--prefix=/boot/grub",
            f"--output=/{inside}/core.img",
            *CORE_MODULES,
        ],
        doing="making GRUB's core image",
        log=context.log,
    )
    core = (folder / "core.img").read_bytes()
    boot = (context.root / "usr/lib/grub/i386-pc/boot.img").read_bytes()
    shutil.rmtree(folder)
    return boot, core


def embed(disk: Path, *, boot: bytes, core: bytes, first_sector: int, sectors: int) -> None:
    """Write GRUB for BIOS: `boot` into the first sector, `core` into the BIOS boot partition.

    Raises BuildError("bootloader_too_large") when `core` does not fit.
    """
    length = -(-len(core) // SECTOR)
    if length > sectors:
        message = f"GRUB's core image takes {length} sectors; its partition has {sectors}."
        raise BuildError("bootloader_too_large", message)
    boot_sector = bytearray(boot[:SECTOR])
    struct.pack_into("<Q", boot_sector, BOOT_KERNEL_SECTOR, first_sector)
    # Two NOPs over a jump: some BIOSes pass a wrong drive number (util/setup.c, same reason).
    boot_sector[BOOT_DRIVE_CHECK : BOOT_DRIVE_CHECK + 2] = b"\x90\x90"
    image = bytearray(core.ljust(length * SECTOR, b"\0"))
    struct.pack_into("<QHH", image, DISKBOOT_BLOCK_LIST, first_sector + 1, length - 1, CORE_SEGMENT)
    with disk.open("r+b") as file:
        file.write(boot_sector[:BOOT_CODE_END])
        file.seek(first_sector * SECTOR)
        file.write(image)


def esp_files(context: BuildContext) -> dict[str, bytes]:
    """What the EFI system partition holds: Debian's signed shim and GRUB at the removable path.

    The signed GRUB looks for /EFI/debian/grub.cfg, and firmware without boot entries (a fresh
    guest's) starts /EFI/BOOT/BOOTX64.EFI (UEFI specification, 3.5.1.1). Secure Boot stays possible.
    """
    shim = context.root / "usr/lib/shim"
    grub = context.root / "usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed"
    config = FIND_ROOT.format(root=context.identifier("root")) + "configfile $prefix/grub.cfg\n"
    return {
        "EFI/BOOT/BOOTX64.EFI": (shim / "shimx64.efi.signed").read_bytes(),
        "EFI/BOOT/grubx64.efi": grub.read_bytes(),
        "EFI/BOOT/mmx64.efi": (shim / "mmx64.efi.signed").read_bytes(),
        "EFI/debian/grub.cfg": config.encode(),
    }
