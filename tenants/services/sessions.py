"""The sessions of a person: which there are, and ending them, on open sockets too."""

import hashlib
from collections.abc import Iterable
from datetime import datetime, timedelta
from importlib import import_module
from types import SimpleNamespace
from typing import Any, cast

from allauth.account.adapter import get_adapter
from allauth.usersessions.models import UserSession
from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.conf import settings
from django.contrib.auth import get_user
from django.contrib.sessions.models import Session
from django.core.cache import cache
from django.db import transaction
from django.db.models import Min
from django.http import HttpRequest
from django.utils import timezone

from tenants.gate import LAST_SEEN_GRAIN_S, gate_closed
from tenants.models import KnownDevice, SignInPolicy, User
from tenants.scope import sign_in_scope
from tenants.services.sign_in_rules import sign_in_rules

BACKGROUND = "Basalt-Background"
"""A header of requests that a page makes without anybody at it."""
_DEVICE_KEPT = timedelta(days=365)


def session_group(session_key: str) -> str:
    """The channel-layer group of all sockets that one session opened."""
    # Hashed: the key is a secret, and groups' names are seen by the layer.
    return "session." + hashlib.sha256(session_key.encode()).hexdigest()[:40]


def sessions_of(user: User) -> list[UserSession]:
    """Sessions that still open something, the latest first."""
    with sign_in_scope():
        found: list[UserSession] = UserSession.objects.purge_and_list(user)
    longest = sign_in_rules(user).idle_time
    if longest is not None:
        found = [session for session in found if session.last_seen_at >= _idle_since(longest)]
    return sorted(found, key=lambda session: session.last_seen_at, reverse=True)


def session_used(request: HttpRequest) -> None:
    """Note, twice a minute at most, that somebody uses the session, and from where. To be called
    once the gate is open: an idle session does not come back by being used.

    What a page asks by itself is no use, or a page left open would never be idle: live parts,
    charts, pictures of screens and consoles that connect again. Whoever is at a page or console
    without asking for anything, typing for instance, is told of by the page
    (static/src/js/presence.js).
    """
    key = request.session.session_key
    if not key or BACKGROUND in request.headers:
        return
    if not cache.add(f"seen:{session_group(key)}", 1, LAST_SEEN_GRAIN_S):
        return
    longest = UserSession._meta.get_field("user_agent").max_length
    facts = {
        "ip": get_adapter().get_client_ip(request),
        "user_agent": request.META.get("HTTP_USER_AGENT", "")[:longest],
        "last_seen_at": timezone.now(),
    }
    with sign_in_scope():
        # What was ended in the meantime is not made anew.
        known = UserSession.objects.filter(session_key=key).update(**facts)
        if not known and request.session.exists(key):
            # Whoever looks at the portal as somebody else has the session, not whom they look as.
            facts["user"] = getattr(request, "viewer", request.user)
            UserSession.objects.get_or_create(session_key=key, defaults=facts)


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
    """Forget sessions that have run out or that nobody used for as long as a policy allows, and
    devices that nobody signed in with for a year. Returns how many."""
    now = timezone.now()
    gone: int = _end_idle()
    gone += Session.objects.filter(expire_date__lt=now).delete()[0]
    alive = Session.objects.values("session_key")
    gone += UserSession.objects.exclude(session_key__in=alive).delete()[0]
    gone += KnownDevice.objects.filter(last_seen_at__lt=now - _DEVICE_KEPT).delete()[0]
    return gone


def _end_idle() -> int:
    """So that a policy that is made less strict brings no session back."""
    shortest = SignInPolicy.objects.aggregate(Min("idle_minutes"))["idle_minutes__min"]
    if shortest is None:
        return 0
    long_ago = _idle_since(timedelta(minutes=shortest))
    people = User.objects.filter(usersession__last_seen_at__lt=long_ago).distinct()
    return sum(_end_idle_of(person) for person in people)


@transaction.atomic
def _end_idle_of(person: User) -> int:
    longest = sign_in_rules(person).idle_time
    if longest is None:
        return 0
    # Who uses one at this moment is waited for, or waits.
    found = UserSession.objects.select_for_update().filter(user=person)
    return _end(found.filter(last_seen_at__lt=_idle_since(longest)))


def _idle_since(longest: timedelta) -> datetime:
    """Whatever was last seen before this is idle."""
    return timezone.now() - longest - timedelta(seconds=LAST_SEEN_GRAIN_S)


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
