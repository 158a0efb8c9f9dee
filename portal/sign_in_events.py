"""What follows when somebody signs in, or changes how they do."""

import time
from typing import Any

import structlog
from allauth.account.signals import password_changed, password_reset, password_set, user_logged_in
from django.conf import settings
from django.contrib.auth.signals import user_logged_in as django_logged_in
from django.contrib.auth.signals import user_logged_out
from django.core.mail import send_mail
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.utils import timezone

from tenants.gate import PROVIDER_ASKED, SIGNED_IN_AT
from tenants.models import IdentityProvider, User
from tenants.scope import sign_in_scope
from tenants.services.known_devices import device_remember, user_agent_family
from tenants.services.sessions import sessions_end, sockets_close

log = structlog.get_logger("portal.sign_in")


def connect() -> None:
    """Called once, when the apps are ready."""
    django_logged_in.connect(_session_began, dispatch_uid="basalt.session_began")
    user_logged_in.connect(_signed_in, dispatch_uid="basalt.signed_in")
    user_logged_out.connect(_signed_out, dispatch_uid="basalt.signed_out")
    for signal in (password_changed, password_set, password_reset):
        signal.connect(_password_changed, dispatch_uid="basalt.password_changed")


def _session_began(request: HttpRequest, **_signal: Any) -> None:
    request.session[SIGNED_IN_AT] = time.time()


def _signed_in(request: HttpRequest, response: HttpResponse, user: User, **signal: Any) -> None:
    login = signal.get("sociallogin")
    if login is not None:
        provider = IdentityProvider.objects.filter(pk=login.account.provider).first()
        request.session[PROVIDER_ASKED] = bool(provider and provider.asks_second_factor)
    if device_remember(request, response, user):
        device_mail(user=user, request=request)


def _signed_out(request: HttpRequest, **_signal: Any) -> None:
    key = request.session.session_key
    if key:
        sockets_close([key])


def _password_changed(request: HttpRequest, user: User, **_signal: Any) -> None:
    """Whoever knew the old one is out; but not who changed it just now."""
    own = request.session.session_key if request.user == user else None
    with sign_in_scope():
        sessions_end(user=user, but=own)


def device_mail(*, user: User, request: HttpRequest) -> None:
    """After commit, tell the person that somebody signed in from a browser not seen before."""
    facts = {
        "user": user,
        "when": timezone.localtime(timezone=user_zone(user)),
        "address": request.META.get("REMOTE_ADDR") or "an unknown address",
        "device": user_agent_family(request.META.get("HTTP_USER_AGENT", "")),
        "origin": settings.BASALT_ORIGIN,
    }

    def send() -> None:
        # A mail server that is down keeps nobody out.
        try:
            send_mail(
                "A new sign-in to your Basalt account",
                render_to_string("account/email/new_device.txt", facts),
                None,
                [user.email],
            )
        except OSError as error:
            log.warning("the mail about a new device was not sent", error=str(error))

    transaction.on_commit(send, robust=True)


def user_zone(user: User) -> Any:
    """The person's own time zone."""
    import zoneinfo

    try:
        return zoneinfo.ZoneInfo(user.time_zone)
    except (KeyError, ValueError):
        return zoneinfo.ZoneInfo("UTC")
