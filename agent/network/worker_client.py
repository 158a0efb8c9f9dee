"""The agent's side of the network worker: started when needed, ended when idle."""

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec

import metadata
from agent.network.errors import NetworkError
from agent.network.operations import Done, Operation, Outcome
from metadata.control import Channel, ChannelClosedError, decoded

IDLE_S = 15.0
_OPERATION_S = 60.0

_decoder: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(Outcome)


def python_environment() -> dict[str, str]:
    """The environment in which `python -m` finds this program's own packages."""
    root = str(Path(metadata.__file__).resolve().parent.parent)
    inherited = os.environ.get("PYTHONPATH")
    path = f"{root}{os.pathsep}{inherited}" if inherited else root
    return {**os.environ, "PYTHONPATH": path}


class NetworkWorker:
    """One operation at a time; the process behind it comes and goes."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: Channel | None = None
        self._idle: asyncio.TimerHandle | None = None

    async def run(self, operation: Operation) -> list[int]:
        """Do it. Returns descriptors that the caller owns. Raises NetworkError.

        What the worker began when it died is repaired by doing it again.
        """
        async with self._turn:
            if self._idle is not None:
                self._idle.cancel()
            try:
                channel = self._channel
                if channel is None:
                    channel = await asyncio.to_thread(self._start)
                async with asyncio.timeout(_OPERATION_S):
                    await channel.send(operation)
                    outcome: Outcome = decoded(_decoder, await channel.receive())
                if isinstance(outcome, Done):
                    return channel.take_descriptors(outcome.sockets)
            except (ChannelClosedError, TimeoutError) as error:
                await asyncio.to_thread(_end, *self._take())
                raise NetworkError(
                    "internal",
                    "The process that changes the host's network has died or hangs. The agent's "
                    "log has its last words; try again.",
                ) from error
            except asyncio.CancelledError:
                # Its answer must not be taken for the next one's.
                _end(*self._take())
                raise
            finally:
                self._idle = asyncio.get_running_loop().call_later(IDLE_S, self._end_if_idle)
        raise NetworkError(outcome.code, outcome.message)

    async def stop(self) -> None:
        async with self._turn:
            if self._idle is not None:
                self._idle.cancel()
            await asyncio.to_thread(_end, *self._take())

    def _start(self) -> Channel:
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "agent.network.worker", str(theirs.fileno())],
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    env=python_environment(),
                    # Ctrl-C is for the agent, which ends this process when it is done.
                    start_new_session=True,
                )
            except OSError as error:
                ours.close()
                raise NetworkError(
                    "internal",
                    f"The process that changes the host's network cannot start: {error}.",
                ) from error
        self._channel = Channel(ours)
        return self._channel

    def _end_if_idle(self) -> None:
        if not self._turn.locked():
            ended = self._take()
            asyncio.get_running_loop().run_in_executor(None, _end, *ended)

    def _take(self) -> "tuple[Channel | None, subprocess.Popen[bytes] | None]":
        taken = self._channel, self._process
        self._channel = self._process = None
        return taken


def _end(channel: Channel | None, process: "subprocess.Popen[bytes] | None") -> None:
    if channel is not None:
        channel.close()
    if process is None:
        return
    # It ends by itself when the socket closes, unless it hangs.
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=2)
        return
    process.kill()
    process.wait()
