"""The one place where the build starts other programs."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from build.errors import BuildError

# mmdebstrap takes its own mounts down when asked to stop; give it time to.
STOP_GRACE_SECONDS = 20.0
TAIL_LINES = 12


def missing_programs(programs: Mapping[str, str]) -> dict[str, str]:
    """Those of `programs` (name to Debian package) that are not on PATH."""
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    return {
        name: package for name, package in programs.items() if not shutil.which(name, path=path)
    }


def run(
    command: Sequence[str | Path],
    *,
    doing: str,
    log: Path,
    env: Mapping[str, str] | None = None,
) -> None:
    """Run `command` to its end, with its output appended to `log`.

    The child dies with us even when we are killed outright (`setpriv --pdeathsig`), and it has
    its own process group: Ctrl-C in a terminal reaches us alone, and we stop the child in order.

    Raises BuildError("command_failed") with the last lines of the output.
    """
    with log.open("ab") as output:
        output.write(f"\n# {doing}\n# {' '.join(map(str, command))}\n".encode())
        output.flush()
        start = output.tell()
        child = subprocess.Popen(
            ["setpriv", "--pdeathsig", "TERM", "--", *map(str, command)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=_environment(env),
            start_new_session=True,
        )
        try:
            code = child.wait()
        except BaseException:
            _stop(child)
            raise
    if code != 0:
        raise BuildError("command_failed", _failure(doing, code, _tail(log, start)))


def capture(command: Sequence[str | Path], *, doing: str) -> str:
    """The standard output of a short command. Raises BuildError("command_failed")."""
    done = subprocess.run(
        [str(part) for part in command],
        check=False,
        capture_output=True,
        stdin=subprocess.DEVNULL,
        text=True,
        env=_environment(None),
    )
    if done.returncode != 0:
        lines = (done.stderr or done.stdout).strip().splitlines()[-TAIL_LINES:]
        raise BuildError("command_failed", _failure(doing, done.returncode, lines))
    return done.stdout


def _environment(extra: Mapping[str, str] | None) -> dict[str, str]:
    environment = {**os.environ, "LC_ALL": "C.UTF-8", **(extra or {})}
    # sgdisk and mke2fs live in /usr/sbin, which a login shell of a user may lack.
    environment["PATH"] = environment.get("PATH", "") + ":/usr/sbin:/sbin"
    return environment


def _stop(child: subprocess.Popen[bytes]) -> None:
    for signum, patience in ((signal.SIGTERM, STOP_GRACE_SECONDS), (signal.SIGKILL, None)):
        try:
            os.killpg(child.pid, signum)
            child.wait(timeout=patience)
        except subprocess.TimeoutExpired:
            continue
        except ProcessLookupError:
            child.wait()
        return


def _tail(log: Path, start: int) -> list[str]:
    with log.open("rb") as output:
        output.seek(start)
        return output.read().decode(errors="replace").strip().splitlines()[-TAIL_LINES:]


def _failure(doing: str, code: int, lines: Sequence[str]) -> str:
    text = "\n".join(f"    {line}" for line in lines)
    if any("No space left on device" in line for line in lines):
        return f"The disk became full while {doing}. Free some space and run the command again."
    how = f"was ended by signal {-code}" if code < 0 else f"ended with code {code}"
    return f"It failed while {doing}: the program {how}. Its last words:\n{text}"
