"""Encoding and decoding. Decoding checks type and bounds; what fails is never half-read."""

from typing import Any

import msgspec

from agent.protocol.messages import FromAgent, FromPortal

MAX_MESSAGE_BYTES = 8 * 1024 * 1024
"""No message of either side is longer; sockets refuse more before it is read."""

_encoder = msgspec.msgpack.Encoder()
_from_agent = msgspec.msgpack.Decoder(FromAgent)
_from_portal = msgspec.msgpack.Decoder(FromPortal)


class ProtocolError(ValueError):
    """The peer sent something that is not a message of this protocol."""


def encode(message: FromAgent | FromPortal) -> bytes:
    """One message as msgpack."""
    return _encoder.encode(message)


def decode_from_agent(data: bytes) -> FromAgent:
    """Decode what an agent sent. Raises ProtocolError."""
    message: FromAgent = _decode(_from_agent, data)
    return message


def decode_from_portal(data: bytes) -> FromPortal:
    """Decode what the portal sent. Raises ProtocolError."""
    message: FromPortal = _decode(_from_portal, data)
    return message


def _decode(decoder: msgspec.msgpack.Decoder[Any], data: bytes) -> Any:
    if len(data) > MAX_MESSAGE_BYTES:
        raise ProtocolError(f"message of {len(data)} bytes is over the limit")
    try:
        return decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProtocolError(str(error)) from error
