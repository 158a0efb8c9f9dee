"""One NIC's HTTP listeners: who is let in, how fast, and for how long.

A guest that knocks too often is left waiting in its own namespace's queue, which costs this
process nothing; what does not fit in there the kernel drops. So whatever one guest does, it takes
a bounded share of the one thread that serves all.
"""

import asyncio
import errno
import logging
import socket
from collections.abc import Awaitable, Callable, Sequence

from aiohttp import web
from aiohttp.abc import AbstractAccessLogger
from aiohttp.web_protocol import RequestHandler
from aiohttp.web_server import Server

from metadata.throttle import Throttle

MOST_CONNECTIONS = 24
CONNECTION_S = 60.0
"""No connection lives longer, whatever it does. A guest just opens the next one."""
_KEEP_ALIVE_S = 15.0
_READ_BYTES = 65_536
_CONNECTIONS_PER_S, _CONNECTION_BURST = 10.0, 200.0
_RECEIVE_BYTES = 8192  # the kernel holds twice that
_AT_ONCE = 4
_PAUSE_S = 0.1
_SHORTAGE_S = 1.0
_SHORTAGES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)

# What guests do is no news for the host's disk: their errors are theirs.
_silent = logging.getLogger("metadata.guests")
_silent.addHandler(logging.NullHandler())
_silent.propagate = False

Handle = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class Doors:
    """Lets guests in to `handle`."""

    def __init__(self, handle: Handle) -> None:
        self._web = Server(handle)
        self._rate = Throttle(per_second=_CONNECTIONS_PER_S, burst=_CONNECTION_BURST)
        self._listeners: list[socket.socket] = []
        self._inside: set[_Visit] = set()
        self._entering: set[asyncio.Task[object]] = set()
        self._shut = True
        self._reopening: asyncio.TimerHandle | None = None

    def open(self, listeners: Sequence[socket.socket]) -> None:
        """Take over bound sockets that listen already: their queues are as long as whoever
        opened them has said."""
        for listener in listeners:
            listener.setblocking(False)
        self._listeners = list(listeners)
        self._reopen()

    def close(self) -> None:
        """Let nobody in any more, and put everybody out."""
        self._close_for_now()
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()
        for task in self._entering:
            task.cancel()
        for visit in list(self._inside):
            visit.end()

    def _reopen(self) -> None:
        if self._reopening is not None:
            self._reopening.cancel()
            self._reopening = None
        if self._shut and self._listeners:
            self._shut = False
            for listener in self._listeners:
                asyncio.get_running_loop().add_reader(listener.fileno(), self._enter, listener)

    def _close_for_now(self, *, seconds: float | None = None) -> None:
        """Until a visit ends; or for some seconds, whatever ends."""
        loop = asyncio.get_running_loop()
        if not self._shut:
            self._shut = True
            for listener in self._listeners:
                loop.remove_reader(listener.fileno())
        if self._reopening is not None:
            self._reopening.cancel()
            self._reopening = None
        if seconds is not None:
            self._reopening = loop.call_later(seconds, self._reopen)

    def _enter(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(_AT_ONCE):
            if self._shut:
                return
            if len(self._inside) >= MOST_CONNECTIONS:
                self._close_for_now()
                return
            if not self._rate.take(loop.time()):
                self._close_for_now(seconds=_PAUSE_S)
                return
            try:
                connection, _address = listener.accept()
            except OSError as error:
                if error.errno in _SHORTAGES:
                    self._close_for_now(seconds=_SHORTAGE_S)
                # Otherwise nobody is there, or somebody has left already.
                return
            connection.setblocking(False)
            # What is read at once is also worked through at once, while all others wait.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BYTES)
            visit = _Visit(self._web, self._left)
            self._inside.add(visit)
            task = asyncio.ensure_future(self._begin(visit, connection))
            self._entering.add(task)
            task.add_done_callback(self._entering.discard)

    async def _begin(self, visit: "_Visit", connection: socket.socket) -> None:
        try:
            await asyncio.get_running_loop().connect_accepted_socket(lambda: visit, connection)
        except (OSError, asyncio.CancelledError):
            connection.close()
            self._left(visit)

    def _left(self, visit: "_Visit") -> None:
        self._inside.discard(visit)
        if self._reopening is None:
            self._reopen()


def visit_for(handle: Handle) -> asyncio.Protocol:
    """What answers on one connection, without a door: for whoever brings the bytes themselves."""
    return _Visit(Server(handle), lambda _visit: None)


class _NoAccessLog(AbstractAccessLogger):
    """Nothing is written for what a guest asks."""

    @property
    def enabled(self) -> bool:
        return False

    def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:
        """Never called while `enabled` is False."""


class _Visit(RequestHandler):
    """aiohttp's connection, with an end that no guest can put off."""

    __slots__ = ("_end", "_left")

    def __init__(self, server: Server, left: "Callable[[_Visit], None]") -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=_KEEP_ALIVE_S,
            tcp_keepalive=False,
            logger=_silent,
            access_log=_silent,
            access_log_class=_NoAccessLog,
            max_line_size=2048,
            max_headers=64,
            max_field_size=4096,
            lingering_time=0,
            read_bufsize=_READ_BYTES,
            auto_decompress=False,
        )
        self._left = left
        self._end: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._end = self._loop.call_later(CONNECTION_S, self.end)

    async def start(self) -> None:
        try:
            await super().start()
        except Exception:  # noqa: BLE001 - whatever it was, a guest brought it about
            # aiohttp fails on some requests that its parser lets through ("CONNECT" to nowhere),
            # and asyncio would write that to the host's disk, as often as a guest likes.
            self.end()

    def connection_lost(self, exc: BaseException | None) -> None:
        if self._end is not None:
            self._end.cancel()
        super().connection_lost(exc)
        self._left(self)

    def end(self) -> None:
        """At once, without a word."""
        if isinstance(self.transport, asyncio.Transport):
            self.transport.abort()
