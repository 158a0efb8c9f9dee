"""A name under which QEMU, which runs as its own user, can open the guests' disks."""

import contextlib
import os
import stat
import subprocess
from pathlib import Path

import structlog

log = structlog.get_logger("agent.reach")

_MOUNTS = Path("/run/basalt-agent")


def reachable_folder(folder: Path, hypervisor_id: str) -> Path:
    """`folder` itself when every user may pass through its parents, as /var/lib. Otherwise
    (a folder inside /root, say) a bind mount of it under /run.

    Without the right to mount, `folder` comes back and starting a guest will say what is
    wrong.
    """
    folder = folder.resolve()
    folder.chmod(folder.stat().st_mode | 0o011)  # what is secret in it has its own rights
    if all(_passable(parent) for parent in (folder, *folder.parents)) or os.geteuid() != 0:
        return folder
    mount = _MOUNTS / hypervisor_id[:8]
    mount.mkdir(mode=0o711, parents=True, exist_ok=True)
    if _is_same(mount, folder):
        return mount
    try:
        subprocess.run(
            ["mount", "--bind", str(folder), str(mount)], check=True, capture_output=True
        )
    except (OSError, subprocess.CalledProcessError) as error:
        log.warning("QEMU may not be able to open the disks", folder=str(folder), reason=str(error))
        return folder
    return mount


def leave_folder(hypervisor_id: str) -> None:
    """Undo the mount. Harmless when there is none, or while something still uses it."""
    mount = _MOUNTS / hypervisor_id[:8]
    if not mount.exists():
        return
    subprocess.run(["umount", str(mount)], check=False, capture_output=True)
    with contextlib.suppress(OSError):  # something still uses it, or another agent's is there
        mount.rmdir()
        _MOUNTS.rmdir()


def _passable(folder: Path) -> bool:
    return bool(folder.stat().st_mode & stat.S_IXOTH)


def _is_same(one: Path, other: Path) -> bool:
    a, b = one.stat(), other.stat()
    return (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino)
