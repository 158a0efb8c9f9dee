"""A small real server that speaks the portal's side of the protocol."""

import asyncio
import base64
import contextlib
import os
import time
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, TypeVar

from aiohttp import WSMsgType, web

from agent.protocol import (
    VERSION,
    Challenge,
    Hello,
    JobAcknowledged,
    JobFinished,
    JobRequest,
    Snapshot,
    VmChanged,
    Welcome,
    decode_from_agent,
    encode,
    link_statement,
    stream_statement,
    verify,
)

Message = TypeVar("Message")


class FakePortal:
    """Enrols anybody who has the token, and keeps what agents say."""

    def __init__(self) -> None:
        self.token = "bj_good"
        self.hosts: dict[str, dict[str, Any]] = {}
        self.received: list[Any] = []
        self.links = 0
        self.acknowledge = True
        self.refuse: Any = None
        self.streams: dict[str, asyncio.Queue[web.WebSocketResponse]] = {}
        self.images: dict[str, Path] = {}
        self.bundles: dict[str, bytes] = {}
        self._sockets: dict[str, web.WebSocketResponse] = {}
        self._news = asyncio.Condition()
        self._runner: web.AppRunner | None = None
        self.port = 0
        self._ended = asyncio.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        app = web.Application()
        app.router.add_post("/agent/v1/enrol/", self._enrol)
        app.router.add_get("/agent/v1/link/", self._link)
        app.router.add_get("/agent/v1/streams/{id}/", self._stream)
        app.router.add_get("/agent/v1/images/{id}/", self._image)
        app.router.add_get("/agent/v1/bundle/{name}", self._bundle)
        self._runner = web.AppRunner(app, shutdown_timeout=0.2)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        self._ended.set()
        await self.cut()
        if self._runner:
            await self._runner.cleanup()

    async def cut(self) -> None:
        """Drop every link without a goodbye."""
        for socket in list(self._sockets.values()):
            request = socket._req
            if request is not None and request.transport is not None:
                request.transport.abort()
        self._sockets.clear()

    # ------------------------------------------------------------------ talking

    async def send(self, hypervisor_id: str, message: Any) -> None:
        await self._sockets[hypervisor_id].send_bytes(encode(message))

    async def job(self, hypervisor_id: str, arguments: Any, job_id: str | None = None) -> str:
        """Send a job; returns its id."""
        job_id = job_id or str(uuid.uuid4())
        await self.send(
            hypervisor_id,
            JobRequest(job_id=job_id, deadline=time.time() + 600, arguments=arguments),
        )
        return job_id

    async def wait(
        self, kind: type[Message], test: Callable[[Message], bool] = lambda _: True, seconds=20
    ) -> Message:
        """The first message of this kind, old or new, that passes the test."""

        def found() -> list[Message]:
            return [one for one in self.received if isinstance(one, kind) and test(one)]

        async with self._news:
            await asyncio.wait_for(self._news.wait_for(found), seconds)
            return found()[0]

    async def outcome(self, job_id: str, seconds: float = 60) -> JobFinished:
        return await self.wait(JobFinished, lambda one: one.job_id == job_id, seconds)

    async def power(self, vm_id: str, power: str, seconds: float = 20) -> VmChanged:
        """The first report that the VM is in this state."""
        return await self.wait(
            VmChanged,
            lambda one: one.vm_id == vm_id and one.vm is not None and one.vm.power == power,
            seconds,
        )

    async def connected(self) -> Snapshot:
        return await self.wait(Snapshot)

    # ------------------------------------------------------------------ HTTP

    async def _enrol(self, request: web.Request) -> web.Response:
        body = await request.json()
        if body["token"] != self.token:
            error = {"code": "token_invalid", "message": "This join token is not known."}
            return web.json_response({"error": error}, status=400)
        for host_id, host in self.hosts.items():
            if host["sign_public"] == body["sign_public"]:
                return web.json_response(self._identity(host_id))
        host_id = str(uuid.uuid4())
        self.hosts[host_id] = body
        return web.json_response(self._identity(host_id), status=201)

    def _identity(self, host_id: str) -> dict[str, str]:
        return {
            "hypervisor_id": host_id,
            "name": self.hosts[host_id]["name"],
            "origin": self.url,
        }

    def _key(self, host_id: str) -> bytes:
        return base64.b64decode(self.hosts[host_id]["sign_public"])

    async def _link(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(max_msg_size=8 * 2**20)
        await socket.prepare(request)
        nonce = os.urandom(32)
        await socket.send_bytes(encode(Challenge(nonce=nonce, versions=[VERSION, VERSION - 1])))
        hello = decode_from_agent((await socket.receive()).data)
        assert isinstance(hello, Hello)
        statement = link_statement(nonce=nonce, hypervisor_id=hello.hypervisor_id, origin=self.url)
        verify(self._key(hello.hypervisor_id), hello.signature, statement)
        if self.refuse is not None:
            await socket.send_bytes(encode(self.refuse))
            await socket.close()
            return socket
        await socket.send_bytes(encode(Welcome(protocol=VERSION, heartbeat_s=1)))
        self._sockets[hello.hypervisor_id] = socket
        self.links += 1
        async for frame in socket:
            if frame.type != WSMsgType.BINARY:
                break
            message = decode_from_agent(frame.data)
            if isinstance(message, JobFinished) and self.acknowledge:
                await socket.send_bytes(encode(JobAcknowledged(job_id=message.job_id)))
            async with self._news:
                self.received.append(message)
                self._news.notify_all()
        return socket

    async def _image(self, request: web.Request) -> web.FileResponse:
        return web.FileResponse(self.images[request.match_info["id"]])

    async def _bundle(self, request: web.Request) -> web.Response:
        return web.Response(body=self.bundles[request.match_info["name"]])

    async def _stream(self, request: web.Request) -> web.WebSocketResponse:
        stream_id = request.match_info["id"]
        scheme, _, proof = request.headers["Authorization"].partition(" ")
        assert scheme == "Basalt"
        host_id, _, signature = proof.partition(":")
        statement = stream_statement(stream_id=stream_id, hypervisor_id=host_id, origin=self.url)
        verify(self._key(host_id), base64.b64decode(signature), statement)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await self.streams.setdefault(stream_id, asyncio.Queue()).put(socket)
        await self._ended.wait()  # the test reads and writes; this only keeps it open
        return socket

    async def stream(self, stream_id: str) -> web.WebSocketResponse:
        queue = self.streams.setdefault(stream_id, asyncio.Queue())
        return await asyncio.wait_for(queue.get(), 10)


@contextlib.asynccontextmanager
async def fake_portal() -> AsyncIterator[FakePortal]:
    """A running portal on a free port."""
    portal = FakePortal()
    await portal.start()
    try:
        yield portal
    finally:
        await portal.stop()
