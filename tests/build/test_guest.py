"""What `build_guest` does before and instead of building, and how it refuses."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from build import cache, guest, run
from build.errors import BuildError
from build.guest import GIB, GuestRequest, build_guest
from build.mirror import mirror_of_address
from build.recipe import RECIPES

ROOT = Path(__file__).resolve().parents[2]
DEBIAN_12 = RECIPES["debian-12"]
# The discard port of this machine: nothing listens there.
NOWHERE = mirror_of_address("http://127.0.0.1:9/debian")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def finished(output: Path, *, age: timedelta) -> str:
    digest = cache.recipe_digest(DEBIAN_12, disk_size=2 * GIB)
    image = cache.image_path(output, DEBIAN_12, "a" * 12)
    image.write_bytes(b"disk")
    built_at = (datetime.now(UTC) - age).isoformat()
    record = {"size": 4, "recipe": digest, "built_at": built_at}
    image.with_suffix(".json").write_text(json.dumps(record))
    return str(image.resolve())


def command(*arguments: str | Path, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "build", *map(str, arguments)],
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=120,
        **options,  # type: ignore[call-overload]
    )


def test_a_young_enough_image_is_taken_without_asking_the_mirror(tmp_path: Path) -> None:
    path = finished(tmp_path, age=timedelta(hours=1))
    said: list[str] = []
    request = GuestRequest(DEBIAN_12, NOWHERE, tmp_path, max_age=7200)
    assert build_guest(request, say=said.append)["path"] == path
    assert said == []


def test_an_old_image_is_better_than_none_when_the_mirror_is_away(tmp_path: Path) -> None:
    path = finished(tmp_path, age=timedelta(days=30))
    said: list[str] = []
    assert build_guest(GuestRequest(DEBIAN_12, NOWHERE, tmp_path), say=said.append)["path"] == path
    assert "cannot be reached" in said[0]


@needs_root
def test_force_does_not_settle_for_the_old_image(tmp_path: Path) -> None:
    finished(tmp_path, age=timedelta(hours=1))
    with pytest.raises(BuildError, match="cannot be reached"):
        build_guest(GuestRequest(DEBIAN_12, NOWHERE, tmp_path, force=True), say=print)


@pytest.mark.parametrize("size", [-1, 0, 1, 2049])
def test_an_impossible_size_is_refused_with_the_possible_ones(tmp_path: Path, size: int) -> None:
    with pytest.raises(BuildError, match="from 2 to 2048 GiB"):
        build_guest(GuestRequest(DEBIAN_12, NOWHERE, tmp_path, disk_gib=size), say=print)


def test_a_missing_program_is_named_with_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guest, "PROGRAMS", {**guest.PROGRAMS, "no-such-tool": "tool-package"})
    with pytest.raises(BuildError, match="apt-get install tool-package"):
        build_guest(GuestRequest(DEBIAN_12, NOWHERE, tmp_path), say=print)


def test_an_unknown_system_is_answered_with_the_known_ones() -> None:
    done = command("guest", "debian-99")
    assert done.returncode == 1
    assert "Choose one of: debian-12, debian-13." in done.stderr
    assert done.stdout == ""


@pytest.fixture
def nobody() -> Iterator[None]:
    os.seteuid(65534)
    yield
    os.seteuid(0)


@needs_root
@pytest.mark.root
def test_without_root_the_build_says_so(nobody: None) -> None:
    output = Path("/tmp/basalt-test-of-a-build-without-root")
    with pytest.raises(BuildError, match="again with sudo") as caught:
        build_guest(GuestRequest(DEBIAN_12, NOWHERE, output), say=print)
    assert caught.value.code == "not_root"
    assert not output.exists()


@pytest.fixture
def small_filesystem(tmp_path: Path) -> Iterator[Path]:
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "basalt-test", small], check=True)
    yield small
    subprocess.run(["umount", small], check=True)


@needs_root
@pytest.mark.root
def test_too_little_disk_is_refused_before_anything_is_fetched(small_filesystem: Path) -> None:
    with pytest.raises(BuildError, match="the build needs 3 GiB") as caught:
        build_guest(GuestRequest(DEBIAN_12, NOWHERE, small_filesystem), say=print)
    assert caught.value.code == "disk_full"
    assert list(small_filesystem.iterdir()) == []


def test_a_disk_that_becomes_full_is_told_from_other_failures(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="became full while copying"):
        run.run(["cp", "/etc/passwd", "/dev/full"], doing="copying", log=tmp_path / "log")


def test_a_failing_program_is_quoted(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="ended with code 3") as caught:
        run.run(["sh", "-c", "echo why; exit 3"], doing="trying", log=tmp_path / "log")
    assert "    why" in str(caught.value)


def children_of(pid: int) -> list[int]:
    done = subprocess.run(["pgrep", "-P", str(pid)], check=False, capture_output=True, text=True)
    return [int(line) for line in done.stdout.split()]


@needs_root
@pytest.mark.root
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_build_leaves_nothing_behind(tmp_path: Path, signum: signal.Signals) -> None:
    build = subprocess.Popen(
        [sys.executable, "-m", "build", "guest", "debian-12", "--output", tmp_path, "--force"],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )
    log = tmp_path / "debian-12.log"
    deadline = time.monotonic() + 60
    while not (log.exists() and re.search("extracting archives", log.read_text())):
        assert build.poll() is None, build.stderr and build.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.2)
    [mmdebstrap] = children_of(build.pid)
    build.send_signal(signum)
    _, errors = build.communicate(timeout=60)
    assert build.returncode == 130
    assert "Nothing was left behind" in errors
    assert not Path(f"/proc/{mmdebstrap}").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == [".debian-12.lock", "debian-12.log"]
    assert str(tmp_path) not in Path("/proc/mounts").read_text()
