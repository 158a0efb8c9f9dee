"""Browsers in which somebody signed in before, known by a signed cookie."""

import re
import secrets
from typing import Any

from django.conf import settings
from django.core import signing
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from tenants.models import KnownDevice, User
from tenants.models.api_token import token_hash
from tenants.scope import sign_in_scope

_SALT = "basalt.device"
_AGE_S = 365 * 86_400
_BROWSERS = (
    ("Edg", "Edge"),
    ("OPR", "Opera"),
    ("Firefox", "Firefox"),
    ("FxiOS", "Firefox"),
    ("CriOS", "Chrome"),
    ("Chrome", "Chrome"),
    ("Safari", "Safari"),
)
_SYSTEMS = (
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("Windows", "Windows"),
    ("Mac OS X", "macOS"),
    ("CrOS", "ChromeOS"),
    ("Linux", "Linux"),
)


def user_agent_family(user_agent: str) -> str:
    """ "Firefox on Linux", which stays the same when either is updated."""
    browser = next((name for sign, name in _BROWSERS if f"{sign}/" in user_agent), "")
    system = next((name for sign, name in _SYSTEMS if sign in user_agent), "")
    if not browser:
        # A script, as "curl/8.5": its own first word.
        browser = re.split(r"[/\s]", user_agent, maxsplit=1)[0][:60] or "An unnamed program"
    return f"{browser} on {system}" if system else browser


def device_of(request: HttpRequest, user: User) -> str | None:
    """The id of the known device that this request comes from, of this person. None: unknown."""
    found = _find(request, user_id=user.pk)
    return str(found.pk) if found else None


def device_of_login(request: HttpRequest, login: str) -> str | None:
    """The same, for who is only about to sign in as `login`."""
    found = _find(request, user__email__iexact=login)
    return str(found.pk) if found else None


def device_remember(request: HttpRequest, response: HttpResponse, user: User) -> bool:
    """Keep this browser in mind. True where it was not known before, although others were."""
    with sign_in_scope():
        found = _find(request, user_id=user.pk)
        if found is not None:
            found.last_seen_at = timezone.now()
            found.save(update_fields=["last_seen_at"])
            return False
        others = KnownDevice.objects.filter(user=user).exists()
        # A browser that several people use keeps its secret: each has a row of their own.
        secret = _secret(request) or secrets.token_urlsafe(32)
        KnownDevice.objects.update_or_create(
            user=user, hash=token_hash(secret), defaults={"family": _family(request)}
        )
    response.set_cookie(
        settings.BASALT_DEVICE_COOKIE_NAME,
        signing.dumps(secret, salt=_SALT),
        max_age=_AGE_S,
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="Lax",
    )
    return others


def _find(request: HttpRequest, **whose: Any) -> KnownDevice | None:
    secret = _secret(request)
    if secret is None:
        return None
    with sign_in_scope():
        # A cookie that was carried to another kind of browser is not known.
        return KnownDevice.objects.filter(
            hash=token_hash(secret), family=_family(request), **whose
        ).first()


def _secret(request: HttpRequest) -> str | None:
    cookie = request.COOKIES.get(settings.BASALT_DEVICE_COOKIE_NAME, "")
    try:
        secret: str = signing.loads(cookie, salt=_SALT, max_age=_AGE_S)
    except signing.BadSignature:
        return None
    return secret


def _family(request: HttpRequest) -> str:
    return user_agent_family(request.META.get("HTTP_USER_AGENT", ""))[:100]
