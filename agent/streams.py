"""Console streams: a second WebSocket dialled back to the portal for each."""

import asyncio
import base64
import contextlib
import os

import structlog
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from agent.errors import JobFailedError
from agent.host import Host
from agent.link import websocket_url
from agent.protocol import JobError, OpenStream, StreamRefused, stream_statement

log = structlog.get_logger("agent.streams")

_MAX_STREAMS = 32
_CHUNK_BYTES = 64 * 1024
_MAX_FRAME_BYTES = 1024 * 1024
_BUFFER_BYTES = 256 * 1024


class ConsoleStreams:
    """The open console streams of one host."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._tasks: set[asyncio.Task[None]] = set()
        self._serial: dict[str, asyncio.Task[None]] = {}

    def open(self, request: OpenStream) -> None:
        """Join a guest's console and the portal in the background."""
        task = asyncio.create_task(self._run(request), name=f"stream {request.stream_id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        """End all streams."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _run(self, request: OpenStream) -> None:
        try:
            console = await self._open_console(request)
        except JobFailedError as failure:
            error = JobError(code=failure.code, message=failure.message[:2000])
            self._host.outbox.put(StreamRefused(stream_id=request.stream_id, error=error))
            return
        try:
            await self._join(request, console)
        except (OSError, WebSocketException, TimeoutError) as error:
            log.info("console stream ended", vm_id=request.vm_id, reason=str(error)[:200])
        finally:
            os.close(console)

    async def _open_console(self, request: OpenStream) -> int:
        if len(self._tasks) > _MAX_STREAMS:
            raise JobFailedError(
                "too_many_streams",
                f"This host has {_MAX_STREAMS} consoles open already. Close one first.",
            )
        self._host.record(request.vm_id)
        if request.kind == "serial":
            await self._take_over(request.vm_id)
        return await self._host.driver.open_console(request.vm_id, request.kind)

    async def _take_over(self, vm_id: str) -> None:
        """A serial line has one reader: two would each get half of what the guest says.
        Who opens it last gets it."""
        before = self._serial.get(vm_id)
        current = asyncio.current_task()
        if current is not None:
            self._serial[vm_id] = current
        if before is not None and not before.done():
            before.cancel()
            await asyncio.gather(before, return_exceptions=True)

    async def _join(self, request: OpenStream, console: int) -> None:
        identity = self._host.settings.identity
        signature = self._host.keys.sign(
            stream_statement(
                stream_id=request.stream_id,
                hypervisor_id=identity.hypervisor_id,
                origin=identity.origin,
            )
        )
        proof = f"{identity.hypervisor_id}:{base64.b64encode(signature).decode()}"
        async with connect(
            websocket_url(identity.portal, f"/agent/v1/streams/{request.stream_id}/"),
            additional_headers={"Authorization": f"Basalt {proof}"},
            compression=None,
            max_size=_MAX_FRAME_BYTES,
            max_queue=4,
            write_limit=_BUFFER_BYTES,
            open_timeout=10,
            close_timeout=3,
        ) as socket:
            await _pump(socket, console)


async def _pump(socket: ClientConnection, console: int) -> None:
    """Carry bytes both ways until either end closes. Neither side is read faster than the
    other takes: memory stays bounded however much a guest prints."""
    os.set_blocking(console, False)
    tasks = [
        asyncio.create_task(_console_to_socket(console, socket)),
        asyncio.create_task(_socket_to_console(socket, console)),
    ]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _console_to_socket(console: int, socket: ClientConnection) -> None:
    while True:
        await _ready(console, writing=False)
        try:
            data = os.read(console, _CHUNK_BYTES)
        except BlockingIOError:
            continue
        except OSError:
            return  # a pty whose guest went away answers EIO
        if not data:
            return
        await socket.send(data)


async def _socket_to_console(socket: ClientConnection, console: int) -> None:
    with contextlib.suppress(ConnectionClosed):
        async for message in socket:
            rest = memoryview(message.encode() if isinstance(message, str) else message)
            while rest:
                await _ready(console, writing=True)
                with contextlib.suppress(BlockingIOError):
                    rest = rest[os.write(console, rest) :]


async def _ready(descriptor: int, *, writing: bool) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()

    def wake() -> None:
        if not ready.done():
            ready.set_result(None)

    add = loop.add_writer if writing else loop.add_reader
    remove = loop.remove_writer if writing else loop.remove_reader
    add(descriptor, wake)
    try:
        await ready
    finally:
        remove(descriptor)
