"""The sessions of a person: which there are, and ending them, on open sockets too."""

import hashlib
from collections.abc import Iterable
from datetime import timedelta
from importlib import import_module
from types import SimpleNamespace
from typing import Any, cast

from allauth.usersessions.models import UserSession
from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.conf import settings
from django.contrib.auth import get_user
from django.contrib.sessions.models import Session
from django.core.cache import cache
from django.db import transaction
from django.http import HttpRequest
from django.utils import timezone

from tenants.gate import gate_closed
from tenants.models import KnownDevice, User
from tenants.scope import sign_in_scope

_LAST_SEEN_GRAIN_S = 60
_DEVICE_KEPT = timedelta(days=365)


def session_group(session_key: str) -> str:
    """The channel-layer group of all sockets that one session opened."""
    # Hashed: the key is a secret, and groups' names are seen by the layer.
    return "session." + hashlib.sha256(session_key.encode()).hexdigest()[:40]


def sessions_of(user: User) -> list[UserSession]:
    """Sessions that still open something, the latest first."""
    with sign_in_scope():
        found: list[UserSession] = UserSession.objects.purge_and_list(user)
    return sorted(found, key=lambda session: session.last_seen_at, reverse=True)


def session_seen(request: HttpRequest) -> None:
    """Note, once a minute, that the session is in use and from where."""
    key = request.session.session_key
    if not key or not cache.add(f"seen:{session_group(key)}", 1, _LAST_SEEN_GRAIN_S):
        return
    with sign_in_scope():
        UserSession.objects.create_from_request(request)


def session_end(*, user: User, session_id: int) -> bool:
    """End one of the person's sessions. False where there is none of this id."""
    with sign_in_scope():
        found = UserSession.objects.filter(user=user, id=session_id)
        return _end(found) > 0


@transaction.atomic
def sessions_end(*, user: User, but: str | None = None) -> int:
    """End all sessions of the person, but the one of this key; devices are known no more.
    Returns how many ended."""
    with sign_in_scope():
        found = UserSession.objects.filter(user=user)
        if but is not None:
            found = found.exclude(session_key=but)
        KnownDevice.objects.filter(user=user).delete()
        return _end(found)


def sessions_sweep() -> int:
    """Forget sessions that have run out, and devices that nobody signed in with for a year.
    Returns how many."""
    now = timezone.now()
    gone: int = Session.objects.filter(expire_date__lt=now).delete()[0]
    alive = Session.objects.values("session_key")
    gone += UserSession.objects.exclude(session_key__in=alive).delete()[0]
    gone += KnownDevice.objects.filter(last_seen_at__lt=now - _DEVICE_KEPT).delete()[0]
    return gone


def session_open(session: Any, user: User) -> bool:
    """Whether a session that a socket was opened with still opens anything. Read anew: the
    socket's own copy is of the moment when it was opened."""
    engine = import_module(settings.SESSION_ENGINE)
    now = engine.SessionStore(session.session_key)
    found: Any = get_user(cast(HttpRequest, SimpleNamespace(session=now)))
    return found.pk == user.pk and gate_closed(user, now) is None


def _end(found: Iterable[Any]) -> int:
    ended = list(found)
    for session in ended:
        session.end()
    keys = [session.session_key for session in ended]
    transaction.on_commit(lambda: sockets_close(keys), robust=True)
    return len(ended)


def sockets_close(session_keys: Iterable[str]) -> None:
    """Tell the open sockets of these sessions to close, wherever they are."""
    layer = get_channel_layer()
    if layer is None:
        return
    for key in session_keys:
        async_to_sync(layer.group_send)(session_group(key), {"type": "session.ended"})
