"""What a guest shows, as QEMU draws it."""

from typing import Any

from agent.errors import JobFailedError
from agent.pictures import MOST_INPUT_BYTES


def read_screen(connection: Any, domain: Any) -> bytes:
    """The guest's first screen as a PNG. Raises JobFailedError, libvirt.libvirtError."""
    stream = connection.newStream(0)
    kind = domain.screenshot(stream, 0, 0)
    pieces: list[bytes] = []
    left = [MOST_INPUT_BYTES]

    def more(_stream: Any, data: bytes, _opaque: Any) -> int:
        left[0] -= len(data)
        pieces.append(data)
        return 0 if left[0] >= 0 else -1

    stream.recvAll(more, None)
    stream.finish()
    if kind != "image/png":
        raise JobFailedError(
            "screen_unknown",
            "This host's QEMU draws no PNG pictures of screens: it is older than Debian 12's.",
        )
    return b"".join(pieces)
