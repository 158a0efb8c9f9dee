"""Bytes made of known ones, wrong in the ways in which programs are caught out."""

import random
from collections.abc import Sequence
from pathlib import Path

CORPUS = Path(__file__).with_name("corpus")
_ODD = [
    *(b"\0", b"\xff", b"\x7f", b"\x80", b"\0\0\0\0", b"\xff\xff\xff\xff"),
    *(b"\r\n", b"\n", b" ", b"\t", b":", b"%", b"/", b"?"),
    *(b"chunked", b"Content-Length: ", b"-1", b"9" * 30),
]


def corpus(name: str) -> list[bytes]:
    """What is known, one file each."""
    return [path.read_bytes() for path in sorted((CORPUS / name).iterdir())]


def mutated(known: Sequence[bytes], chance: random.Random) -> bytes:
    """One of them, changed in some places."""
    data = bytearray(chance.choice(known))
    for _ in range(chance.choice((1, 1, 2, 3, 5, 8))):
        at = chance.randrange(len(data) + 1)
        match chance.randrange(7):
            case 0 if data:
                data[at % len(data)] = chance.randrange(256)
            case 1 if data:
                data[at % len(data)] ^= 1 << chance.randrange(8)
            case 2:
                data[at:at] = chance.choice(_ODD)
            case 3:
                del data[at : at + chance.choice((1, 2, 4, 16, 1000))]
            case 4:
                other = chance.choice(known)
                data[at:] = other[chance.randrange(len(other) + 1) :]
            case 5:
                data[at:at] = data[at : at + chance.choice((1, 4, 32))] * chance.choice((1, 2, 40))
            case _:
                odd = chance.choice(_ODD)
                data[at : at + len(odd)] = odd
    return bytes(data)
