"""The guest's root filesystem, made by mmdebstrap in a folder."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from build import run
from build.context import BuildContext
from build.errors import BuildError
from build.recipe import EXCLUDED_PATHS, KEPT_PATHS, OVERLAY

# What the guest itself asks for packages, whatever mirror built it.
GUEST_SOURCES = """\
Types: deb
URIs: http://deb.debian.org/debian
Suites: {suite} {suite}-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://deb.debian.org/debian-security
Suites: {suite}-security
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
"""

FSTAB = """\
UUID={root} / ext4 errors=remount-ro,discard 0 1
UUID={esp} /boot/efi vfat umask=0077,nofail 0 0
"""

LEFTOVERS = (
    "etc/apt/apt.conf.d/99mmdebstrap",
    "etc/apt/sources.list",
    "etc/dpkg/dpkg.cfg.d/99mmdebstrap",
    "var/lib/dbus/machine-id",
    "var/lib/systemd/random-seed",
    "var/log/alternatives.log",
    "var/log/bootstrap.log",
    "var/log/dpkg.log",
)
LEFTOVER_PATTERNS = (
    "etc/ssh/ssh_host_*",
    "var/log/apt/*",
    "var/cache/apt/*.bin",
    "var/cache/debconf/*-old",
)


def make_rootfs(context: BuildContext) -> None:
    """Fill `context.root`. Raises BuildError when packages cannot be had or installed."""
    overlay = _stage_overlay(context)
    recipe = context.recipe
    excluded = [f"--dpkgopt=path-exclude={path}" for path in EXCLUDED_PATHS]
    kept = [f"--dpkgopt=path-include={path}" for path in KEPT_PATHS]
    run.run(
        [
            "mmdebstrap",
            "--mode=root",
            "--format=directory",
            "--variant=minbase",
            f"--architectures={recipe.architecture}",
            f"--include={','.join(recipe.packages)}",
            '--aptopt=Acquire::Languages "none"',
            "--dpkgopt=force-unsafe-io",
            *excluded,
            *kept,
            # Before the kernel: its initramfs is made from these files.
            f"--essential-hook=cp -R --preserve=mode '{overlay}/.' \"$1\"/",
            recipe.suite,
            context.root,
            *context.mirror.sources(recipe.suite),
        ],
        doing=f"installing {recipe.os_name} with mmdebstrap",
        log=context.log,
        env=context.environment,
    )
    _make_generic(context)


def installed_packages(root: Path) -> dict[str, str]:
    """Names and versions of what is installed under `root`."""
    text = run.capture(
        ["dpkg-query", f"--admindir={root}/var/lib/dpkg", "-W", "-f=${Package} ${Version}\\n"],
        doing="listing the installed packages",
    )
    return dict(line.split(" ", 1) for line in text.splitlines())


def kernel_version(root: Path) -> str:
    """The newest kernel under `root`. Raises BuildError("kernel_missing")."""
    found = sorted((root / "boot").glob("vmlinuz-*"))
    if not found:
        raise BuildError("kernel_missing", "No kernel was installed. The build log says why.")
    return found[-1].name.removeprefix("vmlinuz-")


def _stage_overlay(context: BuildContext) -> Path:
    """A copy of the overlay with modes that do not depend on the umask of a git checkout."""
    staged = context.work / "overlay"
    shutil.copytree(OVERLAY, staged)
    files = GUEST_SOURCES.format(suite=context.recipe.suite)
    esp = f"{context.identifier('esp').fields[0]:08X}"
    fstab = FSTAB.format(root=context.identifier("root"), esp=f"{esp[:4]}-{esp[4:]}")
    (staged / "etc/apt/sources.list.d").mkdir(parents=True)
    (staged / "etc/apt/sources.list.d/debian.sources").write_text(files)
    (staged / "etc/fstab").write_text(fstab)
    (staged / "boot/efi").mkdir(parents=True)
    for path in [staged, *staged.rglob("*")]:
        executable = path.is_dir() or path.parent.name == "hooks"
        path.chmod(0o755 if executable else 0o644)
    return staged


def _make_generic(context: BuildContext) -> None:
    """Take away what only one machine may have, and what the build left."""
    root = context.root
    for name in LEFTOVERS:
        (root / name).unlink(missing_ok=True)
    for pattern in LEFTOVER_PATTERNS:
        for path in root.glob(pattern):
            path.unlink()
    (root / "etc/machine-id").write_text("")
    # With it grub-cloud-amd64 reinstalls GRUB when GRUB is upgraded. Only now: its installation
    # would look for the disk that is not there yet.
    (root / "etc/grub.d/enable_cloud").touch()
    (root / "etc/hostname").write_text("localhost\n")
    (root / "etc/hostname").chmod(0o644)
    resolv = root / "etc/resolv.conf"
    resolv.unlink(missing_ok=True)
    resolv.symlink_to("../run/systemd/resolve/stub-resolv.conf")
    _choose_services(context)
    _compile_netplan(context)
    _clamp_times(root, context.epoch)
    # systemd takes a newer /usr for an update that was put there offline, and would rebuild
    # caches at the first boot (systemd-update-done.service(8)).
    for name in ("etc/.updated", "var/.updated"):
        (root / name).touch()


def _choose_services(context: BuildContext) -> None:
    # Debian leaves networkd off; netplan's configuration of it would wait for ever.
    # e2scrub works on LVM, which this disk does not have, and takes seconds of every boot.
    for verb, units in {
        "enable": ["systemd-networkd.service"],
        "disable": ["e2scrub_reap.service", "e2scrub_all.timer"],
    }.items():
        run.run(
            ["chroot", context.root, "systemctl", verb, *units],
            doing="choosing which services start",
            log=context.log,
        )


def _compile_netplan(context: BuildContext) -> None:
    # Debian 12 ships netplan's command uncompiled; the first boot would wait for it.
    folder = Path("usr/share/netplan")
    if (context.root / folder).is_dir():
        run.run(
            ["chroot", context.root, "python3", "-m", "compileall", "-q", f"/{folder}"],
            doing="compiling netplan's command",
            log=context.log,
        )


def _clamp_times(root: Path, epoch: int) -> None:
    """No file is newer than the archive it came from, so that two builds compare well."""
    for folder, folders, files in os.walk(root):
        for name in [*folders, *files]:
            path = Path(folder) / name
            if path.lstat().st_mtime > epoch:
                os.utime(path, (epoch, epoch), follow_symlinks=False)
