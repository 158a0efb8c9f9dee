"""A guest's screen is made small: every kind of row that a PNG may have, and nothing else."""

import random
import struct
import zlib

import pytest

from agent.pictures import (
    MOST_BYTES,
    MOST_HEIGHT,
    MOST_WIDTH,
    PictureError,
    thumbnail,
    write_png,
)

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width, height, rows, *, depth=8, kind=2, interlaced=0, pieces=1):
    """`rows`: the filtered rows, each with its filter's number before it."""
    data = zlib.compress(b"".join(rows))
    size = -(-len(data) // pieces)
    packed = [chunk(b"IDAT", data[at : at + size]) for at in range(0, len(data), size)]
    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, interlaced)
    return SIGNATURE + chunk(b"IHDR", header) + b"".join(packed) + chunk(b"IEND", b"")


def filtered(rows, filters, channels):
    """The rows as PNG writes them, straight from the standard's definitions (9.2)."""
    above = bytes(len(rows[0]))
    for row, kind in zip(rows, filters, strict=True):
        made = bytearray([kind])
        for place, value in enumerate(row):
            a = row[place - channels] if place >= channels else 0
            b = above[place]
            c = above[place - channels] if place >= channels else 0
            nearest = min((a, b, c), key=lambda one, p=a + b - c: abs(p - one))
            made.append((value - (0, a, b, (a + b) // 2, nearest)[kind]) & 255)
        yield bytes(made)
        above = row


def pixels(small):
    """Width, height and rows of what write_png made."""
    width, height = struct.unpack_from(">II", small, 16)
    size = struct.unpack_from(">I", small, 33)[0]
    raw = zlib.decompress(small[41 : 41 + size])
    step = 1 + 3 * width
    return width, height, [raw[at + 1 : at + step] for at in range(0, len(raw), step)]


@pytest.mark.parametrize("pieces", [1, 7])
@pytest.mark.parametrize("channels", [3, 4])
def test_every_filter_is_undone(channels, pieces):
    pick = random.Random(channels)
    rows = [pick.randbytes(40 * channels) for _ in range(25)]
    filters = [number % 5 for number in range(25)]
    source = png(
        40, 25, filtered(rows, filters, channels), kind={3: 2, 4: 6}[channels], pieces=pieces
    )
    width, height, small = pixels(thumbnail(source))
    assert (width, height) == (40, 25)
    colours = [
        bytes(value for place, value in enumerate(row) if place % channels < 3) for row in rows
    ]
    assert small == colours


@pytest.mark.parametrize(
    ("size", "small"),
    [((720, 400), (240, 133)), ((1024, 768), (256, 192)), ((1920, 1080), (320, 180))],
)
def test_screens_of_usual_sizes_become_small(size, small):
    width, height = size
    source = png(width, height, [b"\0" + b"\x80\x40\x20" * width] * height)
    made = thumbnail(source)
    assert pixels(made)[:2] == small
    assert set(pixels(made)[2]) == {b"\x80\x40\x20" * small[0]}


def test_a_pixel_is_the_mean_of_those_it_stands_for():
    black, white = b"\0" * 3, b"\xff" * 3
    row = b"\0" + (black + white) * 320
    _, _, rows = pixels(thumbnail(png(640, 2, [row, row])))
    assert rows == [bytes([127]) * 960]


def test_even_noise_stays_below_the_bound():
    pick = random.Random(1)
    rows = [b"\0" + pick.randbytes(3 * MOST_WIDTH) for _ in range(MOST_HEIGHT)]
    assert len(thumbnail(png(MOST_WIDTH, MOST_HEIGHT, rows))) <= MOST_BYTES


@pytest.mark.parametrize(
    "source",
    [
        b"",
        b"P6\n720 400\n255\n",
        SIGNATURE,
        png(40, 25, [b"\0" + bytes(120)] * 24),
        png(40, 25, [b"\5" + bytes(120)] * 25),
        png(40, 25, [b"\0" + bytes(40)] * 25, kind=0),
        png(40, 25, [b"\0" + bytes(240)] * 25, depth=16),
        png(40, 25, [b"\0" + bytes(120)] * 25, interlaced=1),
        png(100_000, 1, [b"\0"]),
        png(1, 8000, [b"\0" + bytes(3)] * 8000),
        png(40, 25, [b"\0" + bytes(120)] * 25).replace(b"IDAT", b"XDAT"),
        png(40, 25, [b"\0" + bytes(120)] * 25)[:60],
    ],
)
def test_what_is_no_such_picture_is_refused(source):
    with pytest.raises(PictureError):
        thumbnail(source)


def test_a_bomb_is_not_unpacked_beyond_its_own_size():
    rows = [b"\0" + bytes(3 * 320)] * 100_000
    assert pixels(thumbnail(png(320, 4, rows)))[:2] == (320, 4)


def test_what_is_written_is_read_again():
    rows = [bytes(range(30)), bytes(range(30, 60))]
    assert pixels(thumbnail(write_png(10, rows))) == (10, 2, rows)
