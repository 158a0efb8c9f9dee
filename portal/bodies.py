"""Bounds on what requests may send, before Django keeps it on disk.

Django's ASGI handler spools a whole body to a temporary file before any view runs. So how
much may come is decided here, by path, and a full disk is named here.
"""

import asyncio
import errno
import json
from collections.abc import Awaitable, Callable
from typing import Any

from portal.headers import RAW
from tenants.api.errors import error_body

SMALL = 8 * 1024**2
"""Bytes that any request may send."""
_FULL = (
    "The portal's disk is full, and nothing of this was kept. Ask the operator for room, then "
    "try again."
)
SILENCE_S = 30.0
"""Seconds within which the next part of a body must come."""
_SLOW = "The rest of this did not come within {seconds:.0f} seconds. Send it again."
_TOO_LONG = "This is more than may be sent here ({limit} bytes)."


class _TooLongError(Exception):
    pass


class _TooSlowError(Exception):
    pass


class BoundedBodies:
    """An ASGI application around another: 413 for a body over its bound, 408 for one that stops
    half-way, and 507 where the disk is full. `large` maps the paths that take files to their
    bound in bytes, for those senders of whom `trusted` says so; from all others nothing large
    is kept."""

    def __init__(
        self,
        application: Any,
        *,
        large: dict[str, int],
        trusted: Callable[[Any], Awaitable[bool]],
        silence_s: float = SILENCE_S,
    ) -> None:
        self.application, self.large, self.trusted = application, large, trusted
        self.silence_s = silence_s

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.application(scope, receive, send)
            return
        limit = SMALL
        if scope["path"] in self.large and await self.trusted(scope):
            limit = self.large[scope["path"]]
        received, whole, started = 0, False, False

        async def bounded() -> Any:
            nonlocal received, whole
            try:
                # Whoever asks once the body is here waits for the end of the connection.
                async with asyncio.timeout(None if whole else self.silence_s):
                    message = await receive()
            except TimeoutError as error:
                raise _TooSlowError from error
            received += len(message.get("body", b""))
            whole = not message.get("more_body", False)
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
        except _TooSlowError:
            if started:
                raise
            await _answer(send, 408, "too_slow", _SLOW.format(seconds=self.silence_s))
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
        *RAW,
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
