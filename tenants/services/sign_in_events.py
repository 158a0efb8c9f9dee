"""Signing in and out, and what people change about how they sign in: one event each.

Django and allauth tell of these by signals, whatever page they happen on.
"""

from typing import Any

from allauth.account import signals as account
from django.contrib.auth import signals as auth
from django.http import HttpRequest

from tenants.actor import Actor, agent_short, session_mark
from tenants.models import User
from tenants.scope import system_scope
from tenants.services.audit import audit_personal

UNKNOWN = "An address that has no account"
"""What was typed is not kept: it may be a password, in the wrong field."""


def sign_in_events_connect() -> None:
    """Called once, when the app is ready."""
    for signal, receiver in (
        (auth.user_logged_in, _signed_in),
        (auth.user_logged_out, _signed_out),
        (auth.user_login_failed, _failed),
        (account.password_changed, _password_changed),
        (account.password_set, _password_changed),
        (account.password_reset, _password_changed),
    ):
        signal.connect(receiver, dispatch_uid=f"audit {receiver.__name__}")


def _actor(request: HttpRequest, user: User | None) -> Actor:
    session = getattr(request, "session", None)
    return Actor(
        user=user,
        ip=request.META.get("REMOTE_ADDR") or None,
        user_agent=agent_short(request.META.get("HTTP_USER_AGENT", "")),
        session=session_mark(session.session_key) if session is not None else "",
    )


def _signed_in(request: HttpRequest, user: User, **_signal: Any) -> None:
    # A session that a program made has no request, and nobody came by.
    if request.path:
        audit_personal(actor=_actor(request, user), action="user.sign_in")


def _signed_out(request: HttpRequest, user: User | None, **_signal: Any) -> None:
    if user is not None and request.path:
        audit_personal(actor=_actor(request, user), action="user.sign_out")


def _failed(
    credentials: dict[str, Any], request: HttpRequest | None = None, **_signal: Any
) -> None:
    if request is None or not request.path:
        return
    typed = str(credentials.get("email") or credentials.get("username") or "").strip()
    with system_scope("whose account somebody tried is found out among all"):
        person = User.objects.filter(email__iexact=typed).first() if typed else None
    audit_personal(
        # Who it was is not known: that is what failed.
        actor=_actor(request, None),
        person=person,
        action="user.sign_in_failed",
        object_name=person.email if person else UNKNOWN,
    )


def _password_changed(request: HttpRequest, user: User, **_signal: Any) -> None:
    acting = request.user if isinstance(request.user, User) else user
    audit_personal(actor=_actor(request, acting), person=user, action="user.password")
