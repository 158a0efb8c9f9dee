"""The agent's side of the metadata server: find it or start it, ask it, hear from it."""

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import structlog

from agent.network.errors import NetworkError
from agent.network.worker_client import python_environment
from metadata.control import (
    VERSION,
    Answer,
    Channel,
    ChannelClosedError,
    Greeting,
    NicStatus,
    Quit,
    Report,
    Reported,
    Request,
    StateChanged,
    decoded,
)

log = structlog.get_logger("agent.network")

_START_S = 15.0
_ANSWER_S = 15.0
_LOG_BYTES = 1_048_576
_UNIX_PATH_BYTES = 100

_decoder: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(Report)


class ServerGoneError(ConnectionError):
    """The metadata server is not there, or went away before it answered."""


class ServerLink:
    """One connection. It ends once; whoever needs the server again makes a new one."""

    def __init__(
        self,
        channel: Channel,
        greeting: Greeting,
        on_change: Callable[[StateChanged], None],
        on_report: Callable[[Reported], None],
    ) -> None:
        self.nics: dict[str, NicStatus] = {nic.nic_id: nic for nic in greeting.nics}
        """What it served when we came."""
        self.pid = greeting.pid
        self.version = greeting.version
        self._channel = channel
        self._on_change = on_change
        self._on_report = on_report
        self._waiting: deque[asyncio.Future[Answer]] = deque()
        self._asking = asyncio.Lock()
        self._listening = asyncio.create_task(self._listen())

    @property
    def open(self) -> bool:
        return not self._listening.done()

    async def ask(self, request: Request, descriptors: Sequence[int] = ()) -> None:
        """Raises ServerGoneError, and NetworkError when the server refuses."""
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        try:
            async with self._asking:
                if not self.open:
                    raise ServerGoneError("the metadata server is gone")
                self._waiting.append(answer)
                await self._channel.send(request, descriptors)
            outcome = await asyncio.wait_for(answer, _ANSWER_S)
        except (ChannelClosedError, TimeoutError) as error:
            self.close()
            raise ServerGoneError("the metadata server did not answer") from error
        if outcome.error is not None:
            raise NetworkError("internal", outcome.error)

    async def ended(self) -> None:
        """Returns when the connection is gone."""
        await asyncio.wait([self._listening])

    def close(self) -> None:
        self._listening.cancel()
        self._channel.close()

    async def _listen(self) -> None:
        try:
            while True:
                report = decoded(_decoder, await self._channel.receive())
                if isinstance(report, StateChanged):
                    self._on_change(report)
                elif isinstance(report, Reported):
                    self._on_report(report)
                elif isinstance(report, Answer) and self._waiting:
                    waiting = self._waiting.popleft()
                    if not waiting.done():
                        waiting.set_result(report)
        except ChannelClosedError:
            return
        finally:
            while self._waiting:
                waiting = self._waiting.popleft()
                if not waiting.done():
                    waiting.set_exception(ServerGoneError("the metadata server went away"))


async def open_link(
    *,
    control_path: Path,
    log_path: Path,
    user: str,
    spawn: bool,
    on_change: Callable[[StateChanged], None],
    on_report: Callable[[Reported], None] = lambda report: None,  # noqa: ARG005
) -> ServerLink:
    """Connect to the server at `control_path`; start one where there is none, or where
    there is one of another version. Raises NetworkError.
    """
    _reap()
    link = await _connect(control_path, on_change, on_report)
    if link is not None and link.version != VERSION:
        log.info("replacing the metadata server", pid=link.pid, version=link.version)
        with contextlib.suppress(ServerGoneError, NetworkError):
            await link.ask(Quit())
        link.close()
        link = None
    if link is not None:
        log.info("adopted the metadata server", pid=link.pid, nics=len(link.nics))
        return link
    if not spawn:
        raise NetworkError("internal", f"No metadata server answers at {control_path}.")
    process = await asyncio.to_thread(_spawn, control_path, log_path, user)
    deadline = asyncio.get_running_loop().time() + _START_S
    while asyncio.get_running_loop().time() < deadline and process.poll() is None:
        link = await _connect(control_path, on_change, on_report)
        if link is not None:
            log.info("started the metadata server", pid=link.pid)
            return link
        await asyncio.sleep(0.05)
    raise NetworkError(
        "internal", f"The metadata server does not start. {log_path} has its last words."
    )


async def _connect(
    control_path: Path,
    on_change: Callable[[StateChanged], None],
    on_report: Callable[[Reported], None],
) -> ServerLink | None:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        await asyncio.to_thread(_connect_socket, connection, control_path)
    except OSError:
        connection.close()
        return None
    channel = Channel(connection)
    try:
        async with asyncio.timeout(_ANSWER_S):
            greeting = decoded(_decoder, await channel.receive())
    except (ChannelClosedError, TimeoutError):
        channel.close()
        return None
    if not isinstance(greeting, Greeting):
        channel.close()
        return None
    return ServerLink(channel, greeting, on_change, on_report)


def _connect_socket(connection: socket.socket, path: Path) -> None:
    if len(os.fsencode(path)) <= _UNIX_PATH_BYTES:
        connection.connect(str(path))
        return
    # The kernel takes 107 bytes; a folder's descriptor makes any path short.
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        connection.connect(f"/proc/self/fd/{folder}/{path.name}")
    finally:
        os.close(folder)


def _spawn(control_path: Path, log_path: Path, user: str) -> "subprocess.Popen[bytes]":
    control_path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    log_path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    fresh = log_path.exists() and log_path.stat().st_size > _LOG_BYTES
    with log_path.open("wb" if fresh else "ab") as log_file:
        process = subprocess.Popen(
            [sys.executable, "-m", "metadata", "--control", str(control_path), "--user", user],
            stdin=subprocess.DEVNULL,
            stdout=log_file,
            stderr=log_file,
            env=python_environment(),
            cwd="/",
            # It outlives this agent: guests are served while an agent is replaced.
            start_new_session=True,
        )
    _children.append(process)
    return process


# Servers that this process started: asked now and then, so that a dead one is no zombie.
_children: list["subprocess.Popen[bytes]"] = []


def _reap() -> None:
    _children[:] = [child for child in _children if child.poll() is None]
