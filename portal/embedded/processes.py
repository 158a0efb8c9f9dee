"""Starting programs so that they can't outlive us, and stopping them."""

import os
import pwd
import shutil
import signal
import stat
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

_LARGEST_LOG_BYTES = 10 * 1024**2
# Linux's numbers of the rights to pass through folders that are closed to an account.
_CAPABILITIES = {"dac_read_search": 2, "dac_override": 1}


class EmbeddedError(RuntimeError):
    """Something can't be started; the message says what a person can do."""


@dataclass(frozen=True)
class Account:
    """Whom a service runs as. `name` None: whoever runs this."""

    name: str | None

    @property
    def ids(self) -> tuple[int, int]:
        if self.name is None:
            return os.getuid(), os.getgid()
        entry = pwd.getpwnam(self.name)
        return entry.pw_uid, entry.pw_gid

    def prefix(self, *, die_with_parent: str | None, folder: Path) -> list[str]:
        """A `setpriv` command line that changes to this account, which works in `folder`.

        Where the way there is closed to others, as in root's own home, the account keeps the
        right to pass. Raises EmbeddedError when nobody may give that right.
        """
        command = ["setpriv"]
        if die_with_parent:
            command += ["--pdeathsig", die_with_parent]
        if self.name is not None:
            command += [
                *("--reuid", self.name, "--regid", self.name, "--init-groups", "--no-new-privs"),
                f"--inh-caps=-all{self._right_to_pass(folder)}",
                f"--ambient-caps=-all{self._right_to_pass(folder)}",
            ]
        return [*command, "--"] if len(command) > 1 else []

    def _right_to_pass(self, folder: Path) -> str:
        closed = next((parent for parent in folder.resolve().parents if not _open(parent)), None)
        if closed is None:
            return ""
        ours = _our_capabilities()
        for name, number in _CAPABILITIES.items():
            if ours >> number & 1:
                return f",+{name}"
        raise EmbeddedError(
            f"The account “{self.name}” may not pass through {closed}, and in this container root "
            "can't let it. Choose a folder that it can reach: script/up --data /var/lib/basalt"
        )


def _open(folder: Path) -> bool:
    return bool(folder.stat().st_mode & stat.S_IXOTH)


def _our_capabilities() -> int:
    """What this process may do, as a bit mask: a container's root may do less than root."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return int(line.split()[1], 16)
    return 0


def service_account(name: str) -> Account:
    """Root hands services to their own accounts; anybody else runs them as themselves."""
    if os.geteuid() != 0:
        return Account(None)
    try:
        pwd.getpwnam(name)
    except KeyError as error:
        raise EmbeddedError(
            f"There is no account “{name}” on this machine: its Debian package is not "
            "installed completely. Run: apt-get install --reinstall postgresql redis-server"
        ) from error
    return Account(name)


def own_folder(path: Path, account: Account, *, mode: int = 0o700) -> Path:
    """A folder that belongs to `account`."""
    path.mkdir(parents=True, exist_ok=True)
    os.chown(path, *account.ids)
    path.chmod(mode)
    return path


def run_quietly(
    command: Sequence[str],
    *,
    what: str,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> str:
    """Standard output of a short command. Raises EmbeddedError with what it said."""
    done = subprocess.run(
        list(command),
        check=False,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        env=dict(env) if env else None,
        cwd=cwd,
    )
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip()[-1500:]
        raise EmbeddedError(f"{what} failed:\n{said}")
    return done.stdout


def program(name: str, *folders: str) -> str:
    """Path of a program. Raises EmbeddedError."""
    found = shutil.which(name) or shutil.which(name, path=os.pathsep.join(folders))
    if found is None:
        raise EmbeddedError(f"The program “{name}” is not installed. Run script/up as root.")
    return found


def open_log(path: Path) -> BinaryIO:
    """A log to append to. One that has grown large is put aside, and the one before it goes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and path.stat().st_size > _LARGEST_LOG_BYTES:
        path.replace(path.with_suffix(".old.log"))
    return path.open("ab")


def stop_group(process: "subprocess.Popen[bytes]", *, first: int, seconds: float) -> None:
    """End a process and what it started: politely, and after `seconds` for certain."""
    if process.poll() is None:
        process.send_signal(first)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            _signal_group(process.pid, signal.SIGKILL)
            process.wait(10)
    _signal_group(process.pid, signal.SIGKILL)


def _signal_group(pid: int, number: int) -> None:
    try:
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError):
        return
