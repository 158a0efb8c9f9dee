"""Where sockets part: agents on one side, browsers on the other; and what all begin with."""

from typing import Any

from channels.auth import AuthMiddleware
from channels.db import database_sync_to_async
from channels.sessions import CookieMiddleware, SessionMiddleware
from django.contrib.auth.models import AnonymousUser

from tenants.gate import gate_closed
from tenants.scope import NOTHING, sign_in_scope


class Scopeless:
    """An ASGI application around another: each request and each socket begins with a scope
    that sees nothing, whatever the server's own task had."""

    def __init__(self, application: Any) -> None:
        self.application = application

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        with NOTHING:
            await self.application(scope, receive, send)


class _SignedIn(AuthMiddleware):  # type: ignore[misc]
    """Who is signed in, found in the narrow scope that is made for it. Whom a sign-in policy
    keeps from working is nobody here."""

    async def resolve_scope(self, scope: Any) -> None:
        with sign_in_scope():
            await super().resolve_scope(scope)
            if await database_sync_to_async(_kept_out)(scope):
                scope["user"] = AnonymousUser()


def _kept_out(scope: Any) -> bool:
    user, session = scope["user"], scope["session"]
    return user.is_authenticated and gate_closed(user, session) is not None


def signed_in(application: Any) -> Any:
    """As `channels.auth.AuthMiddlewareStack`."""
    return CookieMiddleware(SessionMiddleware(_SignedIn(application)))


class FirstPath:
    """An ASGI application: one for paths below `prefix`, another otherwise."""

    def __init__(self, prefix: str, below: Any, *, otherwise: Any) -> None:
        self.prefix, self.below, self.otherwise = prefix, below, otherwise

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        chosen = self.below if scope["path"].startswith(self.prefix) else self.otherwise
        await chosen(scope, receive, send)
