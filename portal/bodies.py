"""Bounds on what requests may send, before Django keeps it on disk.

Django's ASGI handler spools a whole body to a temporary file before any view runs. So how
much may come is decided here, by path, and a full disk is named here.
"""

import errno
import json
from collections.abc import Awaitable, Callable
from typing import Any

from tenants.api.errors import error_body

SMALL = 8 * 1024**2
"""Bytes that any request may send."""
_FULL = (
    "The portal's disk is full, and nothing of this was kept. Ask the operator for room, then "
    "try again."
)
_TOO_LONG = "This is more than may be sent here ({limit} bytes)."


class _TooLongError(Exception):
    pass


class BoundedBodies:
    """An ASGI application around another: 413 for a body over its bound, and 507 where the
    disk is full. `large` maps the paths that take files to their bound in bytes, for those
    senders of whom `trusted` says so; from all others nothing large is kept."""

    def __init__(
        self,
        application: Any,
        *,
        large: dict[str, int],
        trusted: Callable[[Any], Awaitable[bool]],
    ) -> None:
        self.application, self.large, self.trusted = application, large, trusted

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.application(scope, receive, send)
            return
        limit = SMALL
        if scope["path"] in self.large and await self.trusted(scope):
            limit = self.large[scope["path"]]
        received, started = 0, False

        async def bounded() -> Any:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > limit:
                raise _TooLongError
            return message

        async def noted(message: Any) -> None:
            nonlocal started
            started = True
            await send(message)

        if _announced(scope) > limit:
            await _answer(send, 413, "too_large", _TOO_LONG.format(limit=limit))
            return
        try:
            await self.application(scope, bounded, noted)
        except _TooLongError:
            if started:
                raise
            await _answer(send, 413, "too_large", _TOO_LONG.format(limit=limit))
        except OSError as error:
            if started or error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            await _answer(send, 507, "portal_disk_full", _FULL)


def _announced(scope: Any) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            return int(value)
    return 0


async def _answer(send: Any, status: int, code: str, message: str) -> None:
    body = json.dumps(error_body(code, message)).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        # What is left of the body is not read, so the connection can't be used again.
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
