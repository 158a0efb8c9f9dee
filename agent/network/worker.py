"""The network worker: `python -m agent.network.worker FD`, a child of the agent.

It does one operation after another, as root, and ends when the agent closes the socket.
"""

import asyncio
import os
import socket
import sys
from typing import Any

import msgspec

from agent.network import nat, vlan, wire
from agent.network.errors import NetworkError
from agent.network.operations import (
    CheckBridge,
    Done,
    Failed,
    MakeNat,
    MakeVlan,
    Operation,
    Outcome,
    Protect,
    RemoveNat,
    RemoveVlan,
    Unwire,
    Wire,
)
from metadata.control import Channel, ChannelClosedError, decoded

_decoder: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(Operation)


def perform(operation: Operation) -> list[int]:
    """Do it. Returns descriptors to hand over. Raises NetworkError."""
    match operation:
        case Wire():
            return wire.wire(operation)
        case Unwire():
            wire.unwire(operation)
        case Protect():
            wire.protect(operation)
        case MakeNat():
            nat.make_nat(operation)
        case CheckBridge():
            nat.check_bridge(operation)
        case RemoveNat():
            nat.remove_nat(operation)
        case MakeVlan():
            vlan.make_vlan(operation)
        case RemoveVlan():
            vlan.remove_vlan(operation)
    return []


def _outcome(operation: Operation) -> tuple[Outcome, list[int]]:
    try:
        descriptors = perform(operation)
    except NetworkError as error:
        return Failed(code=error.code, message=error.message), []
    except Exception as error:  # noqa: BLE001 - told to the agent, which names it
        kind = type(operation).__name__
        return Failed(code="internal", message=f"{kind} failed: {error!r}."), []
    return Done(sockets=len(descriptors)), descriptors


async def serve(connection: socket.socket) -> None:
    """Until the agent closes the connection."""
    channel = Channel(connection)
    try:
        while True:
            operation = decoded(_decoder, await channel.receive())
            outcome, descriptors = await asyncio.to_thread(_outcome, operation)
            try:
                await channel.send(outcome, descriptors)
            finally:
                for descriptor in descriptors:
                    os.close(descriptor)
    except ChannelClosedError:
        return
    finally:
        channel.close()


if __name__ == "__main__":
    asyncio.run(serve(socket.socket(fileno=int(sys.argv[1]))))
