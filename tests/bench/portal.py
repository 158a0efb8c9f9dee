"""A Basalt of the bench's own, started as a newcomer does it: with script/up."""

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil

ROOT = Path(__file__).resolve().parents[2]
COMMAND = (str(ROOT / "script/up"),)
STOP_SECONDS = 180.0
READY = "Basalt is ready"


class PortalError(RuntimeError):
    """The portal did not do what the bench needs; the message quotes what it said."""


@dataclass
class Portal:
    """One `script/up` with its own data folder. Never the installation of the developer."""

    data: Path
    port: int = 0
    ready_after: float = 0.0
    """Seconds from the command to a signed-in API that shows a host online."""
    _process: subprocess.Popen[bytes] | None = None
    _admin: dict[str, str] = field(default_factory=dict)

    def start(self, *, seconds: float) -> None:
        """Run `script/up` until it is ready. Raises PortalError with the end of its log."""
        self.port = self.port or _free_port()
        log = self.log.open("wb")
        began = time.monotonic()
        self._process = subprocess.Popen(
            [*COMMAND, "--port", str(self.port), "--data", self.data],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            # A cold start builds the guest image too.
            env={**os.environ, "BASALT_IMAGE_CACHE": str(self.data / "images")},
        )
        self._wait(self._is_ready, seconds=seconds, what="script/up to be ready")
        self.ready_after = time.monotonic() - began

    def stop(self) -> None:
        """Ctrl-C, then wait: script/up stops what it started."""
        if not self._process or self._process.poll() is not None:
            return
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired as error:
            self._process.kill()
            message = f"script/up did not end within {STOP_SECONDS:.0f} s of Ctrl-C."
            raise PortalError(message) from error

    @property
    def log(self) -> Path:
        return self.data / "bench-up.log"

    @property
    def url(self) -> str:
        return self._admin["url"].rstrip("/")

    @property
    def email(self) -> str:
        return self._admin["email"]

    @property
    def password(self) -> str:
        return self._admin["password"]

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """One request to the API; the decoded answer. Raises PortalError."""
        address = urlsplit(self.url)
        link = http.client.HTTPConnection(address.hostname or "", address.port, timeout=30)
        headers = {
            "Authorization": f"Bearer {self._admin['api_token']}",
            "Content-Type": "application/json",
        }
        try:
            text = json.dumps(body) if body is not None else None
            link.request(method, f"/api/v1/{path}", body=text, headers=headers)
            answer = link.getresponse()
            text = answer.read().decode(errors="replace")
        except (OSError, http.client.HTTPException) as error:
            raise PortalError(f"{method} {path} failed: {error}") from error
        finally:
            link.close()
        if answer.status >= 400:
            raise PortalError(f"{method} {path} answered {answer.status}: {text[:2000]}")
        return json.loads(text) if text else None

    def listed(self, path: str) -> list[dict[str, Any]]:
        """The first page of a list."""
        answer = self.call("GET", path)
        rows: list[dict[str, Any]] = answer["results"]
        return rows

    def wait_for(self, path: str, done: Callable[[Any], bool], *, seconds: float) -> Any:
        """Ask for `path` until `done` likes the answer. Raises PortalError."""
        answers: list[Any] = []

        def asked() -> bool:
            answers[:] = [self.call("GET", path)]
            return done(answers[0])

        self._wait(asked, seconds=seconds, what=path)
        return answers[0]

    def processes(self, *words: str) -> list[psutil.Process]:
        """Processes of this portal whose command line holds all `words` in this order.

        The metadata server outlives its parent on purpose, so the data folder tells whose
        a process is.
        """
        assert self._process
        ours = {child.pid for child in psutil.Process(self._process.pid).children(recursive=True)}
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                line = " ".join(process.cmdline())
                mine = process.pid in ours or str(self.data) in line
                if mine and " ".join(words) in line:
                    found.append(process)
        return found

    def _is_ready(self) -> bool:
        if READY not in self.log.read_text(errors="replace"):
            return False
        try:
            self._admin = json.loads((self.data / "admin.json").read_text())
            return any(host["online"] for host in self.listed("hypervisors/"))
        except (OSError, ValueError, PortalError):
            return False

    def _wait(self, done: Callable[[], bool], *, seconds: float, what: str) -> None:
        deadline = time.monotonic() + seconds
        while not done():
            if self._process and self._process.poll() is not None:
                raise PortalError(f"script/up ended. Its last words:\n{self._tail()}")
            if time.monotonic() > deadline:
                message = f"Waited {seconds:.0f} s for {what}. script/up said:\n{self._tail()}"
                raise PortalError(message)
            time.sleep(0.1)

    def _tail(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-25:])


@contextlib.contextmanager
def portal_of_its_own(*, keep: bool = False) -> Iterator[Portal]:
    """A portal in a fresh folder under var/, stopped and removed at the end.

    The folder with finished guest images is shared: building them has its own figure.
    """
    data = ROOT / "var" / f"bench-{os.getpid()}"
    data.mkdir(parents=True)
    portal = Portal(data)
    try:
        yield portal
    finally:
        portal.stop()
        if not keep:
            shutil.rmtree(data, ignore_errors=True)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
