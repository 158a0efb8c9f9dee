"""IMDSv2's session tokens: a NIC's own, good for a time, and nothing to remember of them.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-metadata-v2-how-it-works.html. The
wire is the proof of who asks; tokens are here for programs that insist on them.
"""

import base64
import binascii
import hashlib
import hmac
import os
import struct

MOST_SECONDS = 21_600
_END = struct.Struct("!d")
_KEY_BYTES = 32


class TokenMint:
    """Gives out tokens and knows its own again. `now` is in seconds of a clock that never
    goes back. However many are asked for, a mint holds its key and no more."""

    def __init__(self) -> None:
        self._key = os.urandom(_KEY_BYTES)

    def token(self, *, seconds: int, now: float) -> str:
        """A token that is good for `seconds` from `now`."""
        end = _END.pack(now + seconds)
        return base64.urlsafe_b64encode(end + self._mark(end)).decode()

    def accepts(self, token: str, *, now: float) -> bool:
        """Whether it is of this mint, and its time is not over."""
        try:
            content = base64.b64decode(token, altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            return False
        end, mark = content[: _END.size], content[_END.size :]
        if len(end) != _END.size or not hmac.compare_digest(mark, self._mark(end)):
            return False
        return now < float(_END.unpack(end)[0])

    def _mark(self, end: bytes) -> bytes:
        return hmac.new(self._key, end, hashlib.sha256).digest()


def seconds_asked(value: str) -> int | None:
    """The time a guest asks a token for, or None where AWS would refuse it."""
    if not (value.isascii() and value.isdigit() and len(value) <= len(str(MOST_SECONDS))):
        return None
    seconds = int(value)
    return seconds if 1 <= seconds <= MOST_SECONDS else None
