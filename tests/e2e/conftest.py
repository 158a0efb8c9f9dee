"""One running Basalt for all end-to-end tests, and the proof that it leaves nothing."""

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.leftovers import on_host
from tests.e2e.stack import ROOT, Stack


def free_port() -> int:
    """A TCP port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    missing = [
        name for name in ("virsh", "qemu-system-x86_64", "nft", "ip") if not shutil.which(name)
    ]
    if missing or os.geteuid() != 0:
        pytest.skip(f"a real host needs root and these programs: {missing or 'root'}")
    os.environ.setdefault("BASALT_IMAGE_CACHE", str(ROOT / "var" / "images"))
    before = on_host()
    # Not in pytest's own folder: every run closes that one, and QEMU has a user of its own.
    folder = Path(tempfile.mkdtemp(prefix="basalt-e2e-"))
    folder.chmod(0o755)
    data = folder / "data"
    stack = Stack(data, free_port())
    try:
        stack.start()
        yield stack
    finally:
        stack.stop()
        _keep_logs(stack)
    shutil.rmtree(folder)
    assert on_host() - before == set()
    processes = subprocess.run(
        ["pgrep", "-af", str(stack.data)], check=False, capture_output=True, text=True
    )
    assert processes.stdout == ""


def _keep_logs(stack: Stack) -> None:
    """For whoever wonders why a test failed."""
    kept = ROOT / "test-results" / "logs"
    shutil.rmtree(kept, ignore_errors=True)
    if (stack.data / "log").exists():
        shutil.copytree(stack.data / "log", kept)
    if stack.output.exists():
        shutil.copy(stack.output, kept / "up.log")


@pytest.fixture(scope="session")
def browser_type_launch_args() -> dict[str, object]:
    return {
        "executable_path": shutil.which("chromium") or "/usr/bin/chromium",
        "args": [
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
        ],
    }
