"""What an earlier run left when it could not end by itself: found, awaited, ended.

Children are told to end when their parent dies, but a database takes a moment for that, and
a start that comes sooner must not meet it.
"""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

MARK = "BASALT_STARTED_FOR"
"""The environment variable that every program of ours carries: the data folder it serves."""

_PATIENCE_S = 40.0
"""An agent may have guests to shut down."""
_TERMINATION_S = 5.0


@dataclass(frozen=True)
class Leftover:
    """A process of an earlier run."""

    pid: int
    command: str

    @property
    def is_metadata(self) -> bool:
        return " -m metadata " in self.command


def mark(data: Path) -> None:
    """From here on what this process starts can be found by `leftovers(data)`."""
    os.environ[MARK] = str(data)


def leftovers(data: Path) -> list[Leftover]:
    """Processes that serve `data`, other than this one. Those of other users are not seen."""
    wanted = f"{MARK}={data}".encode()
    # Redis writes its title over its environment.
    redis = f"unixsocket:{data}/".encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        pid = int(folder.name)
        if pid == os.getpid():
            continue
        try:
            command = (folder / "cmdline").read_bytes()
            ours = wanted in (folder / "environ").read_bytes().split(b"\0") or redis in command
        except OSError:
            continue  # gone, or somebody else's
        if ours and command:
            found.append(Leftover(pid, command.replace(b"\0", b" ").decode(errors="replace")))
    return found


def end_leftovers(data: Path, *, also_metadata: bool) -> None:
    """Wait until they are gone, and help those that stay.

    The server that gives guests their metadata is meant to outlive an agent: the next one
    takes it over. `also_metadata` ends it too.
    """
    if also_metadata:
        for process in leftovers(data):
            if process.is_metadata:
                _send(process.pid, signal.SIGTERM)
    for number, seconds in (
        (None, _PATIENCE_S),
        (signal.SIGTERM, _TERMINATION_S),
        (signal.SIGKILL, 5.0),
    ):
        end = time.monotonic() + seconds
        remaining = _remaining(data, also_metadata=also_metadata)
        for process in remaining:
            if number is not None:
                _send(process.pid, number)
        while remaining and time.monotonic() < end:
            time.sleep(0.1)
            remaining = _remaining(data, also_metadata=also_metadata)


def _remaining(data: Path, *, also_metadata: bool) -> list[Leftover]:
    return [one for one in leftovers(data) if also_metadata or not one.is_metadata]


def _send(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return
