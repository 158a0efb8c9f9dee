"""Where sockets part: agents on one side, browsers on the other; and what all begin with."""

from typing import Any
from urllib.parse import urlsplit

from channels.auth import AuthMiddleware
from channels.db import database_sync_to_async
from channels.security.websocket import WebsocketDenier
from channels.sessions import CookieMiddleware, SessionMiddleware
from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.http.request import split_domain_port, validate_host

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


class OwnOrigin:
    """An ASGI application around another, which only the portal's own pages may open: the
    Origin is this portal's, or that of the very address which was asked, port included.

    Channels' own check looks at host names alone: a page on another port would pass.
    """

    def __init__(self, application: Any) -> None:
        self.application = application

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if _own_origin(scope["headers"]):
            await self.application(scope, receive, send)
        else:
            await WebsocketDenier()(scope, receive, send)


def _own_origin(headers: Any) -> bool:
    origins = [value for name, value in headers if name == b"origin"]
    hosts = [value for name, value in headers if name == b"host"]
    if len(origins) != 1 or len(hosts) != 1:
        return False
    origin, host = origins[0].decode("latin-1"), hosts[0].decode("latin-1")
    if origin == settings.BASALT_ORIGIN:
        return True
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    wanted = {"http", "https"} if settings.BASALT_ORIGIN.startswith("http:") else {"https"}
    name = split_domain_port(host)[0]
    return (
        parts.scheme in wanted
        and origin == f"{parts.scheme}://{host}"
        and bool(name)
        and validate_host(name, settings.ALLOWED_HOSTS)
    )


class WithoutOrigin:
    """An ASGI application around another, which no browser may open: agents name no Origin."""

    def __init__(self, application: Any) -> None:
        self.application = application

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        named = any(name == b"origin" for name, _ in scope["headers"])
        await (WebsocketDenier() if named else self.application)(scope, receive, send)


class FirstPath:
    """An ASGI application: one for paths below `prefix`, another otherwise."""

    def __init__(self, prefix: str, below: Any, *, otherwise: Any) -> None:
        self.prefix, self.below, self.otherwise = prefix, below, otherwise

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        chosen = self.below if scope["path"].startswith(self.prefix) else self.otherwise
        await chosen(scope, receive, send)
