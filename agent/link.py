"""The one outbound connection to the portal, opened again for as long as the agent lives."""

import asyncio
import random
import time
from collections.abc import Coroutine
from typing import Any, Protocol

import structlog
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from agent import __version__
from agent.host import Host
from agent.jobs import JobRunner
from agent.protocol import (
    MAX_MESSAGE_BYTES,
    VERSION,
    BootAcknowledged,
    Challenge,
    FromAgent,
    FromPortal,
    Hello,
    JobAcknowledged,
    JobRequest,
    OpenStream,
    ProtocolError,
    Refused,
    TakeScreenshot,
    Welcome,
    decode_from_portal,
    encode,
    link_statement,
)

log = structlog.get_logger("agent.link")

_PATH = "/agent/v1/link/"
_HANDSHAKE_S = 15.0
_SNAPSHOT_S = 240.0
_BACKOFF_S = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
_REFUSED_S = 60.0
_STABLE_S = 30.0
"""A link that stood this long was a good one: the next break starts with short waits."""


class LinkRefusedError(RuntimeError):
    """The portal will not talk to this agent."""


class StreamOpener(Protocol):
    """Dials back console streams."""

    def open(self, request: OpenStream) -> None:
        """Begin; what goes wrong is told to the portal as StreamRefused."""


class ScreenTaker(Protocol):
    """Takes pictures of guests' screens."""

    def take(self, request: TakeScreenshot) -> None:
        """Begin; the portal is told by Screenshot how it went."""


def websocket_url(portal: str, path: str) -> str:
    """The ws:// or wss:// form of a path on the portal."""
    return "ws" + portal.removeprefix("http").rstrip("/") + path


class Link:
    """Keeps one link open. `run` returns only when it is cancelled."""

    def __init__(
        self,
        *,
        host: Host,
        runner: JobRunner,
        streams: StreamOpener,
        screens: ScreenTaker,
        run_id: str,
    ) -> None:
        self._host = host
        self._runner = runner
        self._streams = streams
        self._screens = screens
        self._run_id = run_id
        self.connected = asyncio.Event()

    async def run(self) -> None:
        """Connect, talk, and connect again with growing, jittered waits, so that a portal
        that restarts is not met by all hosts in one second."""
        failures = 0
        while True:
            started = time.monotonic()
            pause = 0.0
            try:
                await self._session()
            except LinkRefusedError as refusal:
                log.warning("the portal refuses this host", reason=str(refusal))
                pause = _REFUSED_S
            except (OSError, TimeoutError, WebSocketException, ProtocolError) as error:
                log.warning("no link", reason=f"{type(error).__name__}: {error}"[:300])
            finally:
                self.connected.clear()
            if time.monotonic() - started > _STABLE_S:
                failures = 0
            pause = pause or _BACKOFF_S[min(failures, len(_BACKOFF_S) - 1)]
            failures += 1
            await asyncio.sleep(random.uniform(pause / 2, pause))  # noqa: S311

    async def _session(self) -> None:
        url = websocket_url(self._host.settings.identity.portal, _PATH)
        async with connect(
            url,
            compression=None,
            max_size=MAX_MESSAGE_BYTES,
            open_timeout=_HANDSHAKE_S,
            ping_interval=20,
            ping_timeout=30,
            close_timeout=5,
            user_agent_header=f"basalt-agent/{__version__}",
        ) as socket:
            async with asyncio.timeout(_HANDSHAKE_S):
                welcome = await self._handshake(socket)
            log.info("link open", portal=self._host.settings.identity.portal)
            self._host.outbox.clear()
            await self._runner.retell()
            await self._send(socket, await self._host.snapshot())
            self.connected.set()
            await _first_of(
                self._read(socket),
                self._write(socket),
                self._heartbeat(socket, welcome.heartbeat_s),
                self._refresh(socket),
            )

    async def _handshake(self, socket: ClientConnection) -> Welcome:
        challenge = await self._receive(socket)
        if not isinstance(challenge, Challenge):
            raise ProtocolError(f"{type(challenge).__name__} came instead of a challenge")
        if VERSION not in challenge.versions:
            raise LinkRefusedError(
                f"The portal speaks versions {challenge.versions} of the protocol, and this "
                f"agent version {VERSION}. Update the agent from the portal's install page."
            )
        identity = self._host.settings.identity
        statement = link_statement(
            nonce=challenge.nonce, hypervisor_id=identity.hypervisor_id, origin=identity.origin
        )
        await self._send(
            socket,
            Hello(
                hypervisor_id=identity.hypervisor_id,
                protocol=VERSION,
                signature=self._host.keys.sign(statement),
                run_id=self._run_id,
                agent_version=__version__,
            ),
        )
        answer = await self._receive(socket)
        if isinstance(answer, Refused):
            raise LinkRefusedError(f"{answer.message} ({answer.code})")
        if not isinstance(answer, Welcome):
            raise ProtocolError(f"{type(answer).__name__} came instead of a welcome")
        return answer

    async def _read(self, socket: ClientConnection) -> None:
        while True:
            message = await self._receive(socket)
            match message:
                case JobRequest():
                    await self._runner.request(message)
                case JobAcknowledged():
                    await self._runner.acknowledged(message.job_id)
                case BootAcknowledged():
                    await self._host.first_boots.acknowledged(message.vm_id, message.number)
                case OpenStream():
                    self._streams.open(message)
                case TakeScreenshot():
                    self._screens.take(message)
                case Refused():
                    raise LinkRefusedError(f"{message.message} ({message.code})")
                case _:
                    raise ProtocolError(f"{type(message).__name__} on an open link")

    async def _write(self, socket: ClientConnection) -> None:
        outbox = self._host.outbox
        while True:
            await outbox.wait()
            for message in outbox.take():
                await self._send(socket, message)
            if outbox.snapshot_wanted:
                outbox.snapshot_wanted = False
                await self._send(socket, await self._host.snapshot())

    async def _heartbeat(self, socket: ClientConnection, seconds: int) -> None:
        while True:
            await asyncio.sleep(seconds)
            await self._send(socket, await self._host.usage())

    async def _refresh(self, socket: ClientConnection) -> None:
        while True:
            await asyncio.sleep(random.uniform(_SNAPSHOT_S * 0.8, _SNAPSHOT_S))  # noqa: S311
            await self._send(socket, await self._host.snapshot())

    async def _receive(self, socket: ClientConnection) -> FromPortal:
        data = await socket.recv()
        if isinstance(data, str):
            raise ProtocolError("a text frame")
        return decode_from_portal(data)

    async def _send(self, socket: ClientConnection, message: FromAgent) -> None:
        await socket.send(encode(message))


async def _first_of(*parts: Coroutine[Any, Any, None]) -> None:
    """Run all until the first fails, end the others, and raise what it raised."""
    tasks = [asyncio.ensure_future(part) for part in parts]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
