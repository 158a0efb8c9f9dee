"""The whole portal behind real sockets, inside the test's own event loop."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import uvicorn
from websockets.asyncio.client import ClientConnection, connect

from agent.protocol import MAX_MESSAGE_BYTES
from hypervisors.sockets import in_database

T = TypeVar("T")


@dataclass(frozen=True)
class RunningPortal:
    """`url` is its origin."""

    url: str

    def websocket(self, path: str, **options: Any) -> connect:
        """A client connection to `path`, to be used with `async with` or `await`."""
        options.setdefault("compression", None)
        options.setdefault("max_size", MAX_MESSAGE_BYTES)
        return connect(self.url.replace("http", "ws", 1) + path, **options)


@contextlib.asynccontextmanager
async def portal_running(settings: Any) -> AsyncIterator[RunningPortal]:
    """Started, and stopped with its sockets closed."""
    from portal.asgi import application

    listener = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    settings.BASALT_ORIGIN = url
    config = uvicorn.Config(
        application,
        ws="websockets-sansio",
        ws_max_size=MAX_MESSAGE_BYTES,
        ws_per_message_deflate=False,
        lifespan="off",
        log_config=None,
        timeout_graceful_shutdown=5,
    )
    server = uvicorn.Server(config)
    # Signals belong to pytest.
    server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign]
    task = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started:  # noqa: ASYNC110 - it offers no event
        await asyncio.sleep(0.01)
    try:
        yield RunningPortal(url)
    finally:
        server.should_exit = True
        await task


async def eventually(question: Callable[[], T], *, seconds: float = 5.0) -> T:
    """The first true answer of a question to the database."""
    end = asyncio.get_running_loop().time() + seconds
    while True:
        answer = await in_database(question)
        if answer:
            return answer
        assert asyncio.get_running_loop().time() < end, f"never came true: {answer!r}"
        await asyncio.sleep(0.03)


async def closed_with(socket: ClientConnection, *, seconds: float = 8.0) -> tuple[int, str]:
    """The close code and reason, after reading whatever else comes."""
    async with asyncio.timeout(seconds):
        with contextlib.suppress(Exception):
            while True:
                await socket.recv()
        await socket.wait_closed()
    return socket.close_code or 0, socket.close_reason or ""
