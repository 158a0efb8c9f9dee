"""Processes of an interrupted run are found, awaited and ended; others are not touched."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from portal.embedded import leftovers as module
from portal.embedded.leftovers import MARK, end_leftovers, leftovers

STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    "print('here', flush=True); time.sleep(60)"
)


@pytest.fixture
def started() -> Iterator[list["subprocess.Popen[bytes]"]]:
    processes: list[subprocess.Popen[bytes]] = []
    yield processes
    for process in processes:
        process.kill()
        process.wait()


def start(started: list["subprocess.Popen[bytes]"], code: str, data: Path | None) -> int:
    env = {key: value for key, value in os.environ.items() if key != MARK}
    if data is not None:
        env[MARK] = str(data)
    process = subprocess.Popen([sys.executable, "-c", code], env=env, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"here\n"
    started.append(process)
    return process.pid


WAITING = "import time; print('here', flush=True); time.sleep(60)"
SHORT = "import time; print('here', flush=True); time.sleep(1)"


def test_only_what_serves_this_folder_counts(
    tmp_path: Path, started: list["subprocess.Popen[bytes]"]
):
    ours = start(started, WAITING, tmp_path / "a")
    start(started, WAITING, tmp_path / "ab")
    start(started, WAITING, None)
    assert [one.pid for one in leftovers(tmp_path / "a")] == [ours]


def test_what_ends_by_itself_is_awaited(tmp_path: Path, started: list["subprocess.Popen[bytes]"]):
    start(started, SHORT, tmp_path)
    end_leftovers(tmp_path, also_metadata=False)
    assert started[0].wait(0) == 0


def test_what_does_not_end_is_killed(
    tmp_path: Path, started: list["subprocess.Popen[bytes]"], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "_PATIENCE_S", 0.3)
    monkeypatch.setattr(module, "_TERMINATION_S", 0.3)
    start(started, STUBBORN, tmp_path)
    end_leftovers(tmp_path, also_metadata=False)
    assert started[0].wait(5) == -9


def test_the_metadata_server_of_running_guests_is_left_to_the_next_agent(
    tmp_path: Path, started: list["subprocess.Popen[bytes]"]
):
    package = tmp_path / "metadata"
    package.mkdir()
    (package / "__main__.py").write_text(WAITING)
    env = {**os.environ, MARK: str(tmp_path), "PYTHONPATH": str(tmp_path)}
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "metadata", "--control", "x"], env=env, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"here\n"
    started.append(process)
    begun = time.monotonic()
    end_leftovers(tmp_path, also_metadata=False)
    assert time.monotonic() - begun < 5
    assert process.poll() is None
    end_leftovers(tmp_path, also_metadata=True)
    assert process.wait(5) == -15
