"""A guest's screen made small: libvirt gives it as a PNG of full size.

Only what QEMU writes is read (8 bits, RGB with or without alpha, not interlaced), row by row,
so that a large screen never lies in memory as a whole. PNG: https://www.w3.org/TR/png-3/.
"""

import struct
import zlib
from collections.abc import Iterable, Iterator
from itertools import accumulate

MOST_WIDTH, MOST_HEIGHT = 320, 240
MOST_BYTES = 100 * 1024
MOST_INPUT_BYTES = 16 * 1024 * 1024

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_MOST_SIDE = 8192
_CHANNELS = {2: 3, 6: 4}
_PIECE = 64 * 1024
_COARSE = bytes((value >> 5) * 255 // 7 for value in range(256))
"""Three bits of each colour: what even noise of MOST_WIDTH times MOST_HEIGHT fits with."""


class PictureError(ValueError):
    """This is no picture as QEMU draws it."""


def thumbnail(png: bytes) -> bytes:
    """The same picture as a PNG of at most MOST_WIDTH times MOST_HEIGHT and MOST_BYTES.

    Raises PictureError.
    """
    header, packed = _chunks(png)
    width, height, depth, kind, _, _, interlaced = struct.unpack(">IIBBBBB", header)
    if (depth, interlaced) != (8, 0) or kind not in _CHANNELS:
        raise PictureError(f"a PNG of kind {kind} with {depth} bits")
    factor = max(1, -(-width // MOST_WIDTH), -(-height // MOST_HEIGHT))
    if not (factor <= width <= _MOST_SIDE and factor <= height <= _MOST_SIDE):
        raise PictureError(f"a screen of {width} times {height}")
    channels = _CHANNELS[kind]
    rows = _rows(packed, width=width, height=height, channels=channels)
    small = list(_shrunk(rows, factor=factor, width=width // factor, channels=channels))
    made = write_png(width // factor, small)
    if len(made) > MOST_BYTES:
        made = write_png(width // factor, [row.translate(_COARSE) for row in small])
    return made


def write_png(width: int, rows: list[bytes]) -> bytes:
    """Rows of RGB, 8 bits each, as a PNG."""
    header = struct.pack(">IIBBBBB", width, len(rows), 8, 2, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row for row in rows), 9)
    return _SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def _chunks(png: bytes) -> tuple[bytes, list[memoryview]]:
    """The header, and the pieces of the packed pixels."""
    view = memoryview(png)
    header, packed, at = b"", [], len(_SIGNATURE)
    if view[:at] != _SIGNATURE:
        raise PictureError("not a PNG")
    while at + 8 <= len(view):
        size, name = struct.unpack_from(">I4s", view, at)
        data = view[at + 8 : at + 8 + size]
        if name == b"IHDR" and len(data) == 13:
            header = bytes(data)
        elif name == b"IDAT":
            packed.append(data)
        at += size + 12
    if not header or not packed:
        raise PictureError("a PNG without pixels")
    return header, packed


def _shrunk(rows: Iterator[bytes], *, factor: int, width: int, channels: int) -> Iterator[bytes]:
    """Each pixel is the mean of at most nine that it stands for."""
    offsets = sorted({0, factor // 2, factor - 1})
    step = factor * channels
    chosen: list[bytes] = []
    for number, row in enumerate(rows):
        if number % factor in offsets:
            chosen.append(row)
        if number % factor == factor - 1:
            made = bytearray(3 * width)
            for channel in range(3):
                samples = [
                    line[offset * channels + channel :: step][:width]
                    for line in chosen
                    for offset in offsets
                ]
                count = len(samples)
                made[channel::3] = bytes(sum(each) // count for each in zip(*samples, strict=True))
            yield bytes(made)
            chosen = []


def _rows(
    packed: Iterable[memoryview], *, width: int, height: int, channels: int
) -> Iterator[bytes]:
    """The rows as they were before PNG filtered them. Raises PictureError."""
    length = width * channels
    before = bytes(length)
    count = 0
    waiting = bytearray()
    for piece in _unpacked(packed):
        waiting += piece
        while len(waiting) > length and count < height:
            before = _unfiltered(waiting[0], bytes(waiting[1 : length + 1]), before, channels)
            del waiting[: length + 1]
            count += 1
            yield before
    if count < height:
        raise PictureError("a PNG that ends too early")


def _unpacked(packed: Iterable[memoryview]) -> Iterator[bytes]:
    unpack = zlib.decompressobj()
    try:
        for piece in packed:
            rest: bytes | memoryview = piece
            full = True
            # An output of the full size may have left more behind, without any input.
            while (rest or full) and not unpack.eof:
                made = unpack.decompress(rest, _PIECE)
                rest, full = unpack.unconsumed_tail, len(made) == _PIECE
                yield made
    except zlib.error as error:
        raise PictureError("a PNG whose pixels can't be unpacked") from error


def _unfiltered(kind: int, row: bytes, above: bytes, channels: int) -> bytes:
    """One row (PNG, 9.2). What is common is done without a loop over the bytes."""
    if kind == 0:
        return row
    if kind == 2:
        return _added(row, above)
    made = bytearray(len(row))
    for channel in range(channels):
        mine, over = row[channel::channels], above[channel::channels]
        if kind == 1:
            made[channel::channels] = bytes(total & 255 for total in accumulate(mine))
        elif kind == 3:
            made[channel::channels] = _averaged(mine, over)
        elif kind == 4:
            made[channel::channels] = _paeth(mine, over)
        else:
            raise PictureError(f"a PNG with filter {kind}")
    return bytes(made)


def _added(row: bytes, above: bytes) -> bytes:
    """Byte by byte, modulo 256, with two large numbers rather than many small ones."""
    size = len(row)
    low = int.from_bytes(b"\x7f" * size)
    one, other = int.from_bytes(row), int.from_bytes(above)
    total = ((one & low) + (other & low)) ^ ((one ^ other) & ~low)
    return total.to_bytes(size)


def _averaged(row: bytes, above: bytes) -> bytes:
    made = bytearray()
    left = 0
    for value, up in zip(row, above, strict=True):
        left = (value + (left + up) // 2) & 255
        made.append(left)
    return bytes(made)


def _paeth(row: bytes, above: bytes) -> bytes:
    made = bytearray()
    left = corner = 0
    for value, up in zip(row, above, strict=True):
        by_left, by_up = abs(up - corner), abs(left - corner)
        by_corner = abs(left + up - 2 * corner)
        if by_left <= by_up and by_left <= by_corner:
            guess = left
        else:
            guess = up if by_up <= by_corner else corner
        left = (value + guess) & 255
        corner = up
        made.append(left)
    return bytes(made)
