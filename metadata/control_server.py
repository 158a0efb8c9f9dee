"""The agent's door: a unix socket on which documents and listeners come in."""

import asyncio
import contextlib
import os
import socket
import struct
from pathlib import Path
from typing import Any

import msgspec

from metadata.boot_reports import BootWord
from metadata.control import (
    VERSION,
    Answer,
    Channel,
    ChannelClosedError,
    Forget,
    Greeting,
    Quit,
    Reported,
    Request,
    Serve,
    StateChanged,
    decoded,
)
from metadata.server import SOCKETS, Nic

_PEER = struct.Struct("3i")
_UNIX_PATH_BYTES = 100
_decoder: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(Request)


def bind_control(path: Path) -> socket.socket:
    """The listening socket at `path`, for its owner alone. Replaces what a dead server left."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        path.unlink(missing_ok=True)
        short = len(os.fsencode(path)) <= _UNIX_PATH_BYTES
        # The kernel takes 107 bytes; a folder's descriptor makes any path short.
        listener.bind(str(path) if short else f"/proc/self/fd/{folder}/{path.name}")
    finally:
        os.close(folder)
    path.chmod(0o600)
    listener.listen(8)
    listener.setblocking(False)
    return listener


class ControlServer:
    """All NICs, and the agents (one, save for moments) that are connected."""

    def __init__(self, *, owner: int) -> None:
        self._owner = owner
        self._nics: dict[str, Nic] = {}
        self._agents: set[Channel] = set()
        self._sessions: set[asyncio.Task[None]] = set()
        self._quit = asyncio.Event()

    async def run(self, listener: socket.socket) -> None:
        """Until an agent asks to quit."""
        accepting = asyncio.create_task(self._accept(listener))
        await self._quit.wait()
        accepting.cancel()
        for nic in self._nics.values():
            nic.close()
        for agent in self._agents:
            agent.close()

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            connection, _ = await loop.sock_accept(listener)
            peer = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
            if _PEER.unpack(peer)[1] != self._owner:
                connection.close()
                continue
            session = asyncio.create_task(self._talk(Channel(connection)))
            self._sessions.add(session)
            session.add_done_callback(self._sessions.discard)

    async def _talk(self, agent: Channel) -> None:
        try:
            statuses = [nic.status for nic in self._nics.values()]
            await agent.send(Greeting(version=VERSION, pid=os.getpid(), nics=statuses))
            for nic in list(self._nics.values()):
                for word in nic.first_boot.reports.words:
                    await agent.send(_reported(nic, word))
            self._agents.add(agent)
            while not self._quit.is_set():
                request = decoded(_decoder, await agent.receive())
                await agent.send(Answer(error=await self._do(agent, request)))
                if isinstance(request, Quit):
                    self._quit.set()
        except ChannelClosedError:
            return
        finally:
            self._agents.discard(agent)
            agent.close()

    async def _do(self, agent: Channel, request: Request) -> str | None:
        match request:
            case Serve():
                sockets = [
                    socket.socket(fileno=number)
                    for number in agent.take_descriptors(request.sockets)
                ]
                return await self._serve(request, sockets)
            case Forget():
                nic = self._nics.pop(request.nic_id, None)
                if nic is not None:
                    nic.close()
        return None

    async def _serve(self, request: Serve, sockets: list[socket.socket]) -> str | None:
        document = request.document
        nic = self._nics.get(document.nic_id)
        if nic is None and not sockets:
            return f"The NIC {document.nic_id} has no listeners here."
        if sockets and len(sockets) != SOCKETS:
            for one in sockets:
                one.close()
            return f"A NIC has {SOCKETS} sockets."
        if nic is None:
            nic = self._nics[document.nic_id] = Nic(document, self._changed, self._reported)
        else:
            nic.replace(document)
        if sockets:
            await nic.listen(sockets)
        return None

    def _changed(self, changed: Nic) -> None:
        """Tell the agents. The end of a first boot seals all NICs of the guest."""
        concerned = [changed]
        if changed.done:
            for nic in self._nics.values():
                same = nic.document.instance_id == changed.document.instance_id
                if same and nic is not changed and not nic.done:
                    nic.seal()
                    concerned.append(nic)
        for nic in concerned:
            self._tell_all(StateChanged(status=nic.status))

    def _reported(self, nic: Nic, word: BootWord) -> None:
        self._tell_all(_reported(nic, word))

    def _tell_all(self, news: StateChanged | Reported) -> None:
        for agent in self._agents:
            task = asyncio.create_task(self._tell(agent, news))
            self._sessions.add(task)
            task.add_done_callback(self._sessions.discard)

    @staticmethod
    async def _tell(agent: Channel, news: StateChanged | Reported) -> None:
        # An agent that is gone asks for everything when it comes back.
        with contextlib.suppress(ChannelClosedError):
            await agent.send(news)


def _reported(nic: Nic, word: BootWord) -> Reported:
    return Reported(nic_id=nic.document.nic_id, instance_id=nic.document.instance_id, word=word)
