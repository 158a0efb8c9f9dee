"""A fake screen: the server's side of RFB (RFC 6143), as far as noVNC asks of it.

It answers on a real WebSocket of the portal's own address, where a test puts it.
"""

import asyncio
import struct
from collections.abc import Awaitable, Callable
from typing import Any

PREFIX = "/fake-screen/"
REFUSED = f"{PREFIX}refused/"
REASON = "This host is simulated: its VMs have no screen."
WIDTH, HEIGHT = 320, 200
_VERSION = b"RFB 003.008\n"
_NO_SECURITY = b"\x01\x01"
_OK = b"\x00\x00\x00\x00"
_PIXELS = struct.pack(">BBBBHHHBBB3x", 32, 24, 0, 1, 255, 255, 255, 16, 8, 0)
_SERVER_INIT = struct.pack(">HH", WIDTH, HEIGHT) + _PIXELS + struct.pack(">I", 4) + b"desk"
_LENGTHS = {0: 20, 3: 10, 4: 8, 5: 6}
_KEY_EVENT = 4


class FakeScreen:
    """One connection. `keys` are the keysyms that were pressed, in order."""

    def __init__(self, path: str, send: Callable[[Any], Awaitable[None]]) -> None:
        self.path, self.send = path, send
        self.keys: list[int] = []
        self.loop = asyncio.get_running_loop()
        self.answers = [_NO_SECURITY, _OK, _SERVER_INIT]
        self.buffer = b""

    async def hear(self, message: bytes) -> None:
        if self.answers:
            await self.send({"type": "websocket.send", "bytes": self.answers.pop(0)})
            return
        self.buffer += message
        while self.buffer and len(self.buffer) >= self._length():
            length = self._length()
            one, self.buffer = self.buffer[:length], self.buffer[length:]
            if one[0] == _KEY_EVENT and one[1] == 1:
                self.keys.append(struct.unpack(">I", one[4:8])[0])

    def close(self, code: int, reason: str) -> None:
        """From the test's own thread."""
        message = {"type": "websocket.close", "code": code, "reason": reason}
        asyncio.run_coroutine_threadsafe(self.send(message), self.loop).result(timeout=5)  # type: ignore[arg-type]

    def _length(self) -> int:
        if self.buffer[0] == 2:
            return 4 + 4 * struct.unpack(">H", self.buffer[2:4])[0]
        return _LENGTHS[self.buffer[0]]


class WithScreens:
    """The portal's application, and fake screens below PREFIX."""

    def __init__(self, application: Any) -> None:
        self.application = application
        self.opened: list[FakeScreen] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "websocket" or not scope["path"].startswith(PREFIX):
            await self.application(scope, receive, send)
            return
        await receive()
        await send({"type": "websocket.accept"})
        if scope["path"] == REFUSED:
            await send({"type": "websocket.close", "code": 4502, "reason": REASON})
            return
        screen = FakeScreen(scope["path"], send)
        self.opened.append(screen)
        await send({"type": "websocket.send", "bytes": _VERSION})
        while (event := await receive())["type"] == "websocket.receive":
            await screen.hear(event["bytes"])
