"""Daemons of the machine that several runs use: they end with their last user.

Each user holds a shared lock on one file for as long as it lives. The keeper, which started
the daemons, waits for the exclusive lock, and that is granted when no user is left, however
they ended.
"""

import fcntl
import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, TextIO

_KEEPER = """
lock=$1
shift
for daemon; do "$daemon" & pids="$! $pids"; done
exec 9<"$lock"
flock --exclusive 9
for pid in $pids; do kill "$pid" 2>/dev/null && wait "$pid"; done
: >"$lock"
"""


class SharedDaemons:
    """Daemons that one run starts, all may use, and the last one ends."""

    def __init__(self, lock: Path) -> None:
        self._path = lock
        self._lock: TextIO | None = None

    def join(self) -> None:
        """From here until `leave` (or this process's end) they are not ended. Waits while
        those of earlier users end."""
        if self._lock is None:
            self._lock = self._path.open("a+")
            fcntl.flock(self._lock, fcntl.LOCK_SH)

    def start(self, commands: Sequence[str], *, log: IO[bytes], env: Mapping[str, str]) -> None:
        """Start `commands` (paths of programs) in this order, to be ended in the opposite one
        when nobody uses them any more. Call `join` first."""
        keeper = subprocess.Popen(
            ["sh", "-c", _KEEPER, "basalt-daemons", str(self._path), *commands],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env=dict(env),
        )
        self._path.write_text(f"{keeper.pid}\n")

    def leave(self, *, seconds: float = 10.0) -> None:
        """Returns when they have ended, if this was their last user."""
        if self._lock is None:
            return
        self._lock.close()
        self._lock = None
        end = time.monotonic() + seconds
        while self._is_kept() and not self._is_used() and time.monotonic() < end:
            time.sleep(0.05)

    def _is_kept(self) -> bool:
        """The keeper empties the file when all have ended."""
        try:
            os.kill(int(self._path.read_text()), 0)
        except (OSError, ValueError):
            return False
        return True

    def _is_used(self) -> bool:
        inode = f":{self._path.stat().st_ino} "
        locks = Path("/proc/locks").read_text().splitlines()
        return any(inode in line and " READ " in line and "->" not in line for line in locks)
