"""Small pictures of guests' screens: asked of hosts, checked, and kept for seconds in Redis.

A picture is what a console shows, so only who may open the console gets it. It is never
written to a disk.
"""

import struct
import time
import uuid
import zlib
from dataclasses import dataclass

import structlog
from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.core.cache import cache

from agent.protocol import Screenshot
from hypervisors.services.jobs import host_group

log = structlog.get_logger("hypervisors.screens")

MOST_WIDTH, MOST_HEIGHT = 320, 240
KEPT_S = 20
ASKED_EVERY_S = 8
SINCE_PROTOCOL = 2
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_HEADER = ">IIBBBBB"


class PictureInvalidError(ValueError):
    """A host sent something else than the small, plain PNG that it should."""


@dataclass(frozen=True, kw_only=True)
class Screen:
    """A picture and when it came, or why there is none (`message`)."""

    png: bytes = b""
    at: float = 0.0
    message: str = ""


def screen_latest(vm_id: uuid.UUID) -> Screen | None:
    """What the host last sent, if that was seconds ago."""
    kept = cache.get(_key(vm_id))
    return Screen(**kept) if isinstance(kept, dict) else None


def screen_ask(*, hypervisor_id: uuid.UUID, vm_id: uuid.UUID) -> bool:
    """Ask the host for a picture, unless it was asked for this one just now: however many
    people look, the host takes one. False where nobody needed to ask."""
    if not cache.add(f"{_key(vm_id)}:asked", 1, ASKED_EVERY_S):
        return False
    layer = get_channel_layer()
    if layer is not None:
        async_to_sync(layer.group_send)(
            host_group(hypervisor_id),
            {"type": "screen.take", "request_id": str(uuid.uuid4()), "vm_id": str(vm_id)},
        )
    return True


def screen_store(*, vm_id: str, answer: Screenshot) -> None:
    """Keep what the host answered to our question about this VM."""
    if answer.png is not None:
        try:
            picture_check(answer.png)
        except PictureInvalidError as error:
            log.warning("not a picture", vm_id=vm_id, reason=str(error))
            return
        kept = {"png": answer.png, "at": time.time()}
    elif answer.error is not None:
        kept = {"message": answer.error.message, "at": time.time()}
    else:
        return
    cache.set(_key(uuid.UUID(vm_id)), kept, KEPT_S)


def picture_check(png: bytes) -> None:
    """That it is what it should be, to the last byte: one small RGB picture and nothing beside
    it, so that no browser finds anything else in it. Raises PictureInvalidError."""
    chunks = _chunks(png)
    names = [name for name, _ in chunks]
    if len(names) < 3 or names[0] != b"IHDR" or names[-1] != b"IEND" or chunks[-1][1]:
        raise PictureInvalidError("its parts are not in order")
    if set(names[1:-1]) != {b"IDAT"} or len(chunks[0][1]) != struct.calcsize(_HEADER):
        raise PictureInvalidError("it has parts that it should not have")
    width, height, *form = struct.unpack(_HEADER, chunks[0][1])
    if not (0 < width <= MOST_WIDTH and 0 < height <= MOST_HEIGHT):
        raise PictureInvalidError(f"it is {width} times {height}")
    if form != [8, 2, 0, 0, 0]:
        raise PictureInvalidError("it is not plain RGB")
    length = height * (1 + 3 * width)
    unpack = zlib.decompressobj()
    try:
        pixels = unpack.decompress(b"".join(data for _, data in chunks[1:-1]), length + 1)
    except zlib.error as error:
        raise PictureInvalidError("its pixels can't be unpacked") from error
    if len(pixels) != length or not unpack.eof or unpack.unused_data or unpack.unconsumed_tail:
        raise PictureInvalidError("it has more or fewer pixels than it says")


def _chunks(png: bytes) -> list[tuple[bytes, bytes]]:
    if not png.startswith(_SIGNATURE):
        raise PictureInvalidError("it is no PNG")
    found, at = [], len(_SIGNATURE)
    while at < len(png):
        if at + 12 > len(png):
            raise PictureInvalidError("it ends too early")
        size, name = struct.unpack_from(">I4s", png, at)
        data = png[at + 8 : at + 8 + size]
        checksum = png[at + 8 + size : at + 12 + size]
        if checksum != struct.pack(">I", zlib.crc32(name + data)):
            raise PictureInvalidError("a checksum is wrong")
        found.append((name, data))
        at += 12 + size
    return found


def _key(vm_id: uuid.UUID) -> str:
    return f"screen:{vm_id}"
