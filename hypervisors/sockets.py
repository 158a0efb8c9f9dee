"""What the sockets of agents and consoles have in common."""

import contextlib
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer
from django.db import OperationalError
from psycopg import errors

from tenants.scope import NOTHING
from tenants.sockets import Declared

_MAX_REASON_BYTES = 123
_TRIES = 3

P = ParamSpec("P")
T = TypeVar("T")


async def in_database(service: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
    """Call a service in a thread. Not in Django's one shared thread: a thousand links must
    not wait in one line. A deadlock, which PostgreSQL resolves by failing one side, is tried
    again."""
    call = database_sync_to_async(service, thread_sensitive=False)
    for attempt in range(1, _TRIES + 1):
        try:
            result: T = await call(*args, **options)
        except OperationalError as error:
            if attempt == _TRIES or not isinstance(error.__cause__, errors.DeadlockDetected):
                raise
        else:
            return result
    raise AssertionError("unreachable")


class Socket(Declared, AsyncWebsocketConsumer):  # type: ignore[misc]
    """A WebSocket that cleans up whichever way it ends, and says nothing after its end. It
    begins with a scope that sees no rows; all it does runs in the scope that it enters."""

    ended = False

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        with NOTHING:
            try:
                await super().__call__(scope, receive, send)
            finally:
                self.ended = True
                await self.cleanup()

    async def dispatch(self, message: dict[str, Any]) -> None:
        """As in Channels, but without its visit to the database thread for every frame:
        `in_database` looks after connections itself."""
        self.must_declare(message["type"])
        handler = getattr(self, message["type"].replace(".", "_"))
        await handler(message)

    async def websocket_disconnect(self, message: dict[str, Any]) -> None:
        self.ended = True
        await super().websocket_disconnect(message)

    async def cleanup(self) -> None:
        """Runs once, at the end, also when a handler failed."""

    async def say(self, data: bytes) -> None:
        """Send one binary frame, waiting while the peer is slow. Nothing if it is gone."""
        if not self.ended:
            with contextlib.suppress(OSError):
                await self.send(bytes_data=data)

    async def end(self, code: int, reason: str = "") -> None:
        """Close, once. `reason` is cut to what a close frame holds (RFC 6455, 5.5)."""
        if self.ended:
            return
        self.ended = True
        with contextlib.suppress(OSError):
            await self.close(code=code, reason=close_reason(reason))


def close_reason(text: str) -> str:
    """At most 123 bytes of UTF-8, cut between characters."""
    data = text.encode()
    if len(data) <= _MAX_REASON_BYTES:
        return text
    return data[: _MAX_REASON_BYTES - 3].decode(errors="ignore") + "…"
