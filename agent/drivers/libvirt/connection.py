"""The connection to libvirtd, opened again whenever it goes away.

libvirt's calls block, so each runs in a thread; its events come through libvirtaio into
the event loop. Nothing here forks after the connection is open.
"""

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import libvirt
import libvirtaio
import structlog

from agent.errors import JobFailedError

log = structlog.get_logger("agent.libvirt")

Result = TypeVar("Result")

_RETRY_S = 5.0
_KEEPALIVE_S, _KEEPALIVE_TRIES = 10, 3
_CALL_WAIT_S = 3.0
"""How long a call waits for a connection that is being made again."""

DOWN = (
    "libvirtd does not answer on this host: start it with `systemctl start libvirtd` (and see "
    "`journalctl -u libvirtd` if it will not), then try again."
)


class _Events(libvirtaio.virEventAsyncIOImpl):  # type: ignore[misc]
    """libvirtaio for calls that run in threads.

    A thread that waits for an answer also reads the events that arrive before it, and arms
    the timer that delivers them. Without a wake-up the event loop would see that timer
    only when something else happens.
    """

    def _wake(self) -> None:
        if threading.get_ident() != _loop_thread and not self.loop.is_closed():
            self.loop.call_soon_threadsafe(lambda: None)

    def _add_timeout(self, timeout: int, callback: Any, opaque: Any) -> int:
        iden: int = super()._add_timeout(timeout, callback, opaque)
        self._wake()
        return iden

    def _update_timeout(self, timer: int, timeout: int) -> None:
        super()._update_timeout(timer, timeout)
        self._wake()

    def schedule_ff_callback(self, iden: int, opaque: Any) -> None:
        super().schedule_ff_callback(iden, opaque)
        self._wake()


_events: _Events | None = None
_loop_thread = 0


def _use_event_loop() -> None:
    """libvirt takes one implementation for the life of the process."""
    global _events, _loop_thread
    _loop_thread = threading.get_ident()
    loop = asyncio.get_running_loop()
    if _events is None:
        libvirt.registerErrorHandler(lambda *_: None, None)  # errors are raised, not printed
        _events = _Events(loop=loop)
        _events.register()
    else:
        _events.loop = loop


class Connection:
    """One connection to `uri` at a time. `start` returns at once; `call` uses it."""

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._connection: Any = None
        self._up = asyncio.Event()
        self._lost = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def up(self) -> bool:
        return self._up.is_set() and not self._lost.is_set()

    async def start(
        self,
        *,
        on_open: Callable[[Any], Awaitable[None]],
        on_ready: Callable[[], Awaitable[None]],
        on_lost: Callable[[], None],
    ) -> None:
        """Keep connected. `on_open` gets each new connection before any other call uses
        it; `on_ready` follows once calls work."""
        _use_event_loop()
        self._task = asyncio.create_task(self._keep(on_open, on_ready, on_lost))

    async def stop(self) -> None:
        """Close. Callbacks stop."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._close()

    async def call(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """`function(connection, *arguments)` in a thread.

        Raises JobFailedError `libvirt_down`, and libvirt.libvirtError for all else.
        """
        if not self.up:
            self._up.clear()  # a connection that is known to be lost is not waited for
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._up.wait(), _CALL_WAIT_S)
        connection = self._connection
        if connection is None:
            raise JobFailedError("libvirt_down", DOWN)
        try:
            return await asyncio.to_thread(function, connection, *arguments)
        except libvirt.libvirtError as error:
            if _is_lost(error, connection):
                if connection is self._connection:
                    self._lost.set()
                raise JobFailedError("libvirt_down", DOWN) from error
            raise

    async def _keep(
        self,
        on_open: Callable[[Any], Awaitable[None]],
        on_ready: Callable[[], Awaitable[None]],
        on_lost: Callable[[], None],
    ) -> None:
        told = False
        while True:
            try:
                await self._open(on_open)
            except libvirt.libvirtError as error:
                if not told:
                    log.warning("libvirtd does not answer", uri=self._uri, reason=str(error))
                    on_lost()
                    told = True
                await asyncio.sleep(_RETRY_S)
                continue
            told = False
            log.info("connected to libvirt", uri=self._uri)
            ready = asyncio.ensure_future(on_ready())
            await self._lost.wait()
            log.warning("the connection to libvirtd is lost", uri=self._uri)
            await asyncio.gather(ready, return_exceptions=True)
            await self._close()
            on_lost()

    async def _open(self, on_open: Callable[[Any], Awaitable[None]]) -> None:
        connection = await asyncio.to_thread(libvirt.open, self._uri)
        self._lost = asyncio.Event()
        lost = self._lost
        # The test driver is part of this process: there is no connection to keep alive.
        with contextlib.suppress(libvirt.libvirtError):
            connection.registerCloseCallback(lambda *_: lost.set(), None)
            connection.setKeepAlive(_KEEPALIVE_S, _KEEPALIVE_TRIES)
        await on_open(connection)
        self._connection = connection
        self._up.set()

    async def _close(self) -> None:
        connection, self._connection = self._connection, None
        self._up.clear()
        if connection is None:
            return
        with contextlib.suppress(libvirt.libvirtError):
            connection.unregisterCloseCallback()
        with contextlib.suppress(libvirt.libvirtError):
            await asyncio.to_thread(connection.close)


def _is_lost(error: libvirt.libvirtError, connection: Any) -> bool:
    codes = (
        libvirt.VIR_ERR_SYSTEM_ERROR,
        libvirt.VIR_ERR_INTERNAL_ERROR,
        libvirt.VIR_ERR_RPC,
        libvirt.VIR_ERR_NO_CONNECT,
        libvirt.VIR_ERR_INVALID_CONN,
    )
    if error.get_error_code() not in codes:
        return False
    try:
        return not connection.isAlive()
    except libvirt.libvirtError:
        return True
