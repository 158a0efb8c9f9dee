"""Starting programs so that they can't outlive us, and stopping them."""

import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


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

    def prefix(self, *, die_with_parent: str | None) -> list[str]:
        """A `setpriv` command line that changes to this account.

        It keeps the right to pass through folders that only root may enter: the data may
        lie in root's own home.
        """
        command = ["setpriv"]
        if die_with_parent:
            command += ["--pdeathsig", die_with_parent]
        if self.name is not None:
            command += [
                "--reuid",
                self.name,
                "--regid",
                self.name,
                "--init-groups",
                "--no-new-privs",
                "--inh-caps=-all,+dac_read_search",
                "--ambient-caps=-all,+dac_read_search",
            ]
        return [*command, "--"] if len(command) > 1 else []


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
