"""Where sockets part: agents on one side, browsers on the other."""

from typing import Any


class FirstPath:
    """An ASGI application: one for paths below `prefix`, another otherwise."""

    def __init__(self, prefix: str, below: Any, *, otherwise: Any) -> None:
        self.prefix, self.below, self.otherwise = prefix, below, otherwise

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        chosen = self.below if scope["path"].startswith(self.prefix) else self.otherwise
        await chosen(scope, receive, send)
