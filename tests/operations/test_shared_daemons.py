"""Two runs on one machine share its daemons: the first to end takes nothing from the other."""

import os
import signal
import subprocess
import sys
import time

import pytest

from portal.embedded.shared_daemons import SharedDaemons

USER = """
import sys, time
from pathlib import Path
from portal.embedded.shared_daemons import SharedDaemons
daemons = SharedDaemons(Path(sys.argv[1]))
daemons.join()
print("joined", flush=True)
time.sleep(60)
"""


@pytest.fixture
def daemon(tmp_path):
    """A program that writes down its start and its end."""
    path = tmp_path / "daemon"
    path.write_text(
        "#!/bin/sh\n"
        f"echo $$ >>{tmp_path}/started\n"
        f"trap 'echo ended >>{tmp_path}/ended; exit' TERM\n"
        "while :; do sleep 0.05; done\n"
    )
    path.chmod(0o755)
    return path


@pytest.fixture
def lock(tmp_path):
    return tmp_path / "lock"


def running(lock, daemon, log):
    daemons = SharedDaemons(lock)
    daemons.join()
    with log.open("wb") as output:
        daemons.start([str(daemon)], log=output, env=os.environ)
    until(daemon.with_name("started").exists)
    return daemons


def until(condition):
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_they_end_with_their_only_user(lock, daemon, tmp_path):
    running(lock, daemon, tmp_path / "log").leave()
    assert (tmp_path / "ended").read_text() == "ended\n"


def test_they_outlive_the_one_who_started_them_while_another_uses_them(lock, daemon, tmp_path):
    first = running(lock, daemon, tmp_path / "log")
    second = SharedDaemons(lock)
    second.join()
    first.leave()
    os.kill(int((tmp_path / "started").read_text()), 0)
    assert not (tmp_path / "ended").exists()
    second.leave()
    assert (tmp_path / "ended").exists()


def test_they_end_when_their_last_user_is_killed(lock, daemon, tmp_path):
    first = running(lock, daemon, tmp_path / "log")
    user = subprocess.Popen([sys.executable, "-c", USER, str(lock)], stdout=subprocess.PIPE)
    assert user.stdout.readline() == b"joined\n"
    first.leave()
    assert not (tmp_path / "ended").exists()
    user.send_signal(signal.SIGKILL)
    user.wait()
    until((tmp_path / "ended").exists)


def test_one_who_comes_while_they_end_starts_them_anew(lock, daemon, tmp_path):
    first = running(lock, daemon, tmp_path / "log")
    first.leave(seconds=0)
    second = running(lock, daemon, tmp_path / "log")
    until(lambda: len((tmp_path / "started").read_text().split()) == 2)
    assert (tmp_path / "ended").read_text() == "ended\n"
    second.leave()
    assert (tmp_path / "ended").read_text() == "ended\n" * 2
