"""Knows when the portal has answered everything, so that a test leaves nothing behind it."""

import asyncio
import threading
from typing import Any


class TellsWhenIdle:
    """An ASGI application, and how many of its requests and sockets are being served.

    A browser that goes away mid-request cancels the request's task, but never the thread its view
    runs in. So requests are not told: they end by themselves, and are counted until they do.
    """

    def __init__(self, application: Any) -> None:
        self.application = application
        self._serving = 0
        self._changed = threading.Condition()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self._count(1)
        try:
            await self.application(
                scope, _without_disconnect(receive) if scope["type"] == "http" else receive, send
            )
        finally:
            self._count(-1)

    def wait_until_idle(self, *, seconds: float) -> bool:
        """Whether nothing is being served any more, `seconds` from now at the latest."""
        with self._changed:
            return self._changed.wait_for(lambda: self._serving == 0, timeout=seconds)

    def _count(self, difference: int) -> None:
        with self._changed:
            self._serving += difference
            self._changed.notify_all()


def _without_disconnect(receive: Any) -> Any:
    async def wrapped() -> Any:
        event = await receive()
        if event["type"] == "http.disconnect":
            await asyncio.Event().wait()
        return event

    return wrapped
