"""Asking a guest over SSH, from the host it runs on, what was really applied."""

import shlex
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Guest:
    """A guest reachable at `address` as `username` with the private key in `key`."""

    address: str
    username: str
    key: Path

    def run(self, command: str, *, timeout: float = 60) -> str:
        """Standard output of `command`. Raises CalledProcessError."""
        answer = subprocess.run(
            [*self._ssh(), command],
            check=True,
            capture_output=True,
            text=True,
            timeout=timeout,
            stdin=subprocess.DEVNULL,
        )
        return answer.stdout.strip()

    def wait(self, *, seconds: float) -> None:
        """Until SSH lets the user in."""
        end = time.monotonic() + seconds
        while True:
            try:
                self.run("true", timeout=20)
            except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
                if time.monotonic() > end:
                    stderr = getattr(error, "stderr", b"")
                    raise AssertionError(f"no SSH after {seconds} s: {stderr!r}") from error
                time.sleep(2)
            else:
                return

    def has_password(self, password: str) -> bool:
        """Whether the user's password hash in the guest is one of `password`."""
        entry = self.run(f"sudo -n getent shadow {shlex.quote(self.username)}").split(":")[1]
        _, scheme, salt, *_ = entry.split("$")
        assert scheme == "6", entry
        made = subprocess.run(
            ["openssl", "passwd", "-6", "-salt", salt, "-stdin"],
            input=password,
            check=True,
            capture_output=True,
            text=True,
        )
        return made.stdout.strip() == entry

    def _ssh(self) -> list[str]:
        return [
            "ssh",
            "-i",
            str(self.key),
            "-o",
            "StrictHostKeyChecking=no",
            "-o",
            "UserKnownHostsFile=/dev/null",
            "-o",
            "LogLevel=ERROR",
            "-o",
            "BatchMode=yes",
            "-o",
            "ConnectTimeout=10",
            f"{self.username}@{self.address}",
        ]


def new_key(folder: Path) -> tuple[Path, str]:
    """A fresh Ed25519 key pair: path of the private one, text of the public one."""
    path = folder / "id_ed25519"
    if not path.exists():
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "tester", "-f", str(path)],
            check=True,
        )
    return path, path.with_suffix(".pub").read_text().strip()
