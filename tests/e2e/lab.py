"""A guest that is a small host itself: Debian 12 with Debian's own kernel, and this project in it.

For what the machine that runs the tests may lack: VLANs. Its tests are run by pytest inside; what
they print comes out of the serial line.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from build import mirror
from tests.build.bare_guest import accelerator
from tests.e2e.stack import ROOT

PACKAGES = (
    "bridge-utils", "busybox", "curl", "initramfs-tools", "iproute2", "iputils-ping",
    "linux-image-cloud-amd64", "nftables", "openssl", "procps", "python3", "python3-minimal",
)  # fmt: skip
# What the host's side needs to run and to be tested. Debian 12 has the same Python as this project.
LIBRARIES = (
    "cryptography", "cffi", "_cffi_backend", "pycparser", "msgspec", "pyroute2", "structlog",
    "aiohttp", "aiohappyeyeballs", "aiosignal", "attr", "attrs", "frozenlist", "multidict",
    "propcache", "yarl", "idna", "typing_extensions",
    "pytest", "_pytest", "py", "pluggy", "iniconfig", "packaging", "pygments", "pytest_asyncio",
)  # fmt: skip
_FIRST = """#!/bin/sh
mkdir -p /mnt/code
mount -o ro /dev/vdb /mnt/code
exec /mnt/code/init
"""
_INIT = """#!/bin/sh
mount -t proc proc /proc 2>/dev/null
mount -t sysfs sys /sys 2>/dev/null
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /tmp
mkdir -p /run/netns
ip link set lo up
cd /mnt/code
export HOME=/tmp PATH=/usr/sbin:/usr/bin:/sbin:/bin PYTHONPATH=/mnt/code:/mnt/code/site
export PYTHONDONTWRITEBYTECODE=1
modprobe 8021q
python3 -m pytest -p no:cacheprovider -o addopts= -o asyncio_mode=auto \\
  -o asyncio_default_fixture_loop_scope=function -o pythonpath=. --import-mode=importlib \\
  --confcutdir=tests/agent/network -o "markers=root: needs root" -v --tb=short %s
echo "LAB ENDED $?"
echo o > /proc/sysrq-trigger
sleep 60
"""


def run_inside(*tests: str, seconds: float) -> str:
    """What pytest printed in the guest. Raises TimeoutExpired, and AssertionError where the guest
    did not come to the tests' end."""
    base, kernel, initrd = _system()
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="basalt-lab-") as name:
        work = Path(name)
        disk, code = work / "disk.qcow2", work / "code.ext4"
        overlay = ("qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", base, disk)
        subprocess.run(overlay, check=True)
        _code(work / "code", code, " ".join(tests))
        told = subprocess.run(
            [
                *("qemu-system-x86_64", "-nodefaults", "-display", "none", "-no-reboot"),
                *("-machine", f"q35,accel={accelerator()}", "-cpu", "max", "-m", "1024"),
                *("-kernel", kernel, "-initrd", initrd, "-serial", "stdio"),
                *("-append", "root=/dev/vda rw console=ttyS0 quiet init=/bin/lab"),
                *("-drive", f"file={disk},if=virtio,format=qcow2,cache=unsafe"),
                *("-drive", f"file={code},if=virtio,format=raw,readonly=on"),
            ],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=seconds,
        )
    text = told.stdout.decode(errors="replace").replace("\r", "")
    assert re.search(r"^LAB ENDED \d+$", text, re.MULTILINE), text[-4000:]
    return text


def _system() -> tuple[Path, Path, Path]:
    """Root filesystem, kernel and initramfs, made once."""
    cache = Path(os.environ.get("BASALT_IMAGE_CACHE", ROOT / "var" / "images"))
    cache.mkdir(parents=True, exist_ok=True)
    key = hashlib.sha256(repr(PACKAGES).encode()).hexdigest()[:12]
    made = tuple(cache / f"lab-{key}.{end}" for end in ("ext4", "vmlinuz", "initrd"))
    if not all(path.exists() for path in made):
        with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="basalt-lab-") as name:
            _build(Path(name), *made)
    return made[0], made[1], made[2]


def _build(work: Path, image: Path, kernel: Path, initrd: Path) -> None:
    work.chmod(0o755)
    root = work / "root"
    sources = mirror.mirror_of_host().sources("bookworm")
    command = ("mmdebstrap", "--mode=root", "--variant=minbase", "--format=directory", "-q")
    wanted = f"--include={','.join(PACKAGES)}"
    subprocess.run([*command, wanted, "bookworm", root, *sources], check=True)
    init = root / "bin" / "lab"
    init.write_text(_FIRST)
    init.chmod(0o755)
    for name, target in (("vmlinuz-*", kernel), ("initrd.img-*", initrd)):
        [found] = (root / "boot").glob(name)
        shutil.copy(found, target)
    half = work / "image"
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-d", root, half, "1500M"], check=True)
    shutil.move(half, image)


def _code(folder: Path, image: Path, tests: str) -> None:
    site = folder / "site"
    site.mkdir(parents=True)
    for name in ("agent", "metadata"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("agent/network", "metadata"):
        shutil.copytree(ROOT / "tests" / name, folder / "tests" / name)
    for name in LIBRARIES:
        found = importlib.util.find_spec(name)
        if found is None or found.origin is None:
            continue
        path = Path(found.origin)
        if path.name == "__init__.py":
            shutil.copytree(path.parent, site / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(path, site)
    for info in Path(importlib.util.find_spec("pytest").origin).parent.parent.glob("*.dist-info"):
        if info.name.split("-")[0] in LIBRARIES:
            shutil.copytree(info, site / info.name)
    init = folder / "init"
    init.write_text(_INIT % tests)
    init.chmod(0o755)
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-d", folder, image, "400M"], check=True)


def python_fits() -> bool:
    """Whether this Python's libraries run under Debian 12's."""
    return sys.version_info[:2] == (3, 11)
