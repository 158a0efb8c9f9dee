"""Who sends a large body, asked before the first byte of it is kept."""

from http.cookies import CookieError, SimpleCookie
from importlib import import_module
from typing import Any

from channels.db import database_sync_to_async
from django.conf import settings
from django.contrib.auth import get_user
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest
from rest_framework.exceptions import AuthenticationFailed

from tenants.api.authentication import TokenAuthentication
from tenants.gate import gate_closed
from tenants.models import ApiToken, Tenant, User
from tenants.scope import NOTHING, scope_of, sign_in_scope


async def may_send_images(scope: Any) -> bool:
    """Whether whoever opened this HTTP request may add images to any tenant.

    The view asks again, of the tenant at hand: here it is only decided whether a body may
    take up room on the portal's disk.
    """
    headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
    may: bool = await database_sync_to_async(_may)(
        headers.get(b"authorization", ""), headers.get(b"cookie", "")
    )
    return may


def _may(authorization: str, cookies: str) -> bool:
    request = HttpRequest()
    request.META["HTTP_AUTHORIZATION"] = authorization
    with sign_in_scope():
        token = _by_token(request)
        user = token.user if token else _by_session(request, cookies)
        # Lazy no more.
        known = user.is_authenticated
    with scope_of(user, token) if known else NOTHING:
        return Tenant.objects.allowed(user, "image.manage").exists()


def _by_token(request: Any) -> ApiToken | None:
    try:
        found = TokenAuthentication().authenticate(request)
    except AuthenticationFailed:
        return None
    return found[1] if found else None


def _by_session(request: HttpRequest, cookies: str) -> User | AnonymousUser:
    try:
        morsel = SimpleCookie(cookies).get(settings.SESSION_COOKIE_NAME)
    except CookieError:
        morsel = None
    engine = import_module(settings.SESSION_ENGINE)
    request.session = engine.SessionStore(morsel.value if morsel else None)
    user: User | AnonymousUser = get_user(request)
    if isinstance(user, User) and gate_closed(user, request.session) is not None:
        return AnonymousUser()
    return user
