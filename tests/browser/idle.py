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
        self._serving: list[str] = []
        self._changed = threading.Condition()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        address = f"{scope['type']} {scope.get('path', '')}"
        with self._changed:
            self._serving.append(address)
        try:
            await self.application(
                scope, _without_disconnect(receive) if scope["type"] == "http" else receive, send
            )
        finally:
            with self._changed:
                self._serving.remove(address)
                self._changed.notify_all()

    def wait_until_idle(self, *, seconds: float) -> list[str]:
        """What is still being served `seconds` from now; nothing, and then sooner, as a rule."""
        with self._changed:
            self._changed.wait_for(lambda: not self._serving, timeout=seconds)
            return list(self._serving)


def _without_disconnect(receive: Any) -> Any:
    """Of a request that is whole. What never came to its end is given up, as ever."""
    whole = False

    async def wrapped() -> Any:
        nonlocal whole
        event = await receive()
        if event["type"] == "http.disconnect" and whole:
            await asyncio.Event().wait()
        whole = whole or not event.get("more_body", False)
        return event

    return wrapped
