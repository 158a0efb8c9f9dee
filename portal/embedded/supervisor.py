"""Keeps the portal's processes running, and ends them in order."""

import json
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from portal.embedded.processes import open_log, stop_group

_SHORTEST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 15.0
_STABLE_S = 30.0


@dataclass
class Child:
    """One supervised program. `stop_s`: how long it may take to end by itself."""

    name: str
    command: Sequence[str]
    env: Mapping[str, str]
    stop_s: float = 10.0
    process: "subprocess.Popen[bytes] | None" = None
    started: float = 0.0
    failures: int = 0
    next_start: float = field(default=0.0)


class Supervisor:
    """Children in the order they were added; stopped in the opposite one.

    `DATA/run/processes.json` tells their process ids to whoever asks.
    """

    def __init__(self, data: Path, *, say: Callable[[str], None]) -> None:
        self._logs = data / "log"
        self._list = data / "run" / "processes.json"
        self._say = say
        self._children: list[Child] = []

    def add(self, child: Child) -> None:
        """Start a program, and start it again whenever it ends."""
        self._children.append(child)
        self._start(child)

    def tend(self) -> None:
        """Start again what has ended. Call it a few times a second."""
        now = time.monotonic()
        for child in self._children:
            if child.process is not None and child.process.poll() is not None:
                self._ended(child, child.process.returncode, now)
            if child.process is None and now >= child.next_start:
                self._start(child)

    def failing(self) -> str | None:
        """The name of a program that keeps ending right after its start."""
        return next((child.name for child in self._children if child.failures >= 3), None)

    def stop(self) -> None:
        for child in reversed(self._children):
            if child.process is not None:
                stop_group(child.process, first=signal.SIGTERM, seconds=child.stop_s)
                child.process = None
        self._children.clear()
        self._list.unlink(missing_ok=True)

    def _ended(self, child: Child, code: int, now: float) -> None:
        child.failures = 0 if now - child.started > _STABLE_S else child.failures + 1
        pause = min(_SHORTEST_PAUSE_S * 2 ** max(child.failures - 1, 0), _LONGEST_PAUSE_S)
        how = f"was killed by signal {-code}" if code < 0 else f"ended with status {code}"
        self._say(
            f"The {child.name} {how}; it is started again. "
            f"{self._logs / (child.name + '.log')} has its last words."
        )
        if child.process is not None:
            # What it had started itself must not meet its successor.
            stop_group(child.process, first=signal.SIGKILL, seconds=1)
        child.process, child.next_start = None, now + pause

    def _start(self, child: Child) -> None:
        with open_log(self._logs / f"{child.name}.log") as log:
            child.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", "--", *child.command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env=dict(child.env),
            )
        child.started = time.monotonic()
        self._write_list()

    def _write_list(self) -> None:
        pids = {child.name: child.process.pid for child in self._children if child.process}
        temporary = self._list.with_suffix(".new")
        temporary.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps(pids))
        temporary.replace(self._list)
