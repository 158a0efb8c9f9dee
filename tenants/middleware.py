"""What each request carries: whose rows it may see, and who acts, as `request.actor`."""

from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.contrib.auth import logout
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone
from django.utils.functional import SimpleLazyObject
from django_htmx.http import HttpResponseClientRedirect

from tenants.actor import Actor, agent_short, session_mark
from tenants.gate import gate_closed
from tenants.scope import (
    NOTHING,
    bound_async_iterator,
    bound_iterator,
    current,
    enter,
    scope_of,
    sign_in_scope,
)
from tenants.services.sessions import session_used

READING = frozenset({"GET", "HEAD", "OPTIONS"})


def actor_for(request: Any) -> Actor:
    """The actor behind a Django or DRF request, whichever way it was authenticated."""
    # Whoever looks at the portal as somebody else acts, if at all, as themselves.
    user = getattr(request, "viewer", request.user)
    user = user if user.is_authenticated else None
    token = getattr(request, "auth", None)
    session = getattr(request, "session", None)
    return Actor(
        user=user,
        token=token,
        ip=request.META.get("REMOTE_ADDR"),
        user_agent=agent_short(request.META.get("HTTP_USER_AGENT", "")),
        session=session_mark(session.session_key) if session is not None and not token else "",
    )


class NothingMiddleware:
    """The first of all: a request begins with a scope that sees nothing."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        with NOTHING:
            return self.get_response(request)


class ScopeMiddleware:
    """After Django's authentication: the request enters the scope of who is signed in. What a
    token of the API opens, tenants.api.base enters once the token is known.

    What only reads does so in one transaction: the database is told once, not at each
    statement, and a page shows one moment.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        with sign_in_scope():
            signed_in = request.user.is_authenticated
        with scope_of(request.user) if signed_in else NOTHING:
            if signed_in and request.method in READING:
                with transaction.atomic(savepoint=False):
                    response = self.get_response(request)
            else:
                response = self.get_response(request)
            self._bind(response)
        return response

    def process_view(self, request: HttpRequest, view: Any, *_arguments: Any) -> None:
        """Pages of signing in look people up by their address, before anybody is known."""
        if request.user.is_authenticated:
            return
        if view.__module__.startswith("allauth.") or getattr(view, "signs_in", False):
            enter(sign_in_scope())

    @staticmethod
    def _bind(response: Any) -> None:
        """What is sent as it is made, is made after all this has ended."""
        if not response.streaming or current() is NOTHING:
            return
        bind: Any = bound_async_iterator if response.is_async else bound_iterator
        response.streaming_content = bind(response.streaming_content)


class ActorMiddleware:
    """Sets `request.actor`, and shows times in the person's zone."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        request.actor = SimpleLazyObject(lambda: actor_for(request))  # type: ignore[attr-defined]
        if request.user.is_authenticated:
            timezone.activate(request.user.time_zone)
        else:
            timezone.deactivate()
        return self.get_response(request)


class SignInGateMiddleware:
    """After ScopeMiddleware. Pages that must work before the gate is open say so: allauth's, and
    views with `before_gate = True`."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_view(self, request: HttpRequest, view: Any, *_rest: Any) -> HttpResponse | None:
        # The API's own authentication asks: there it may be a token instead.
        if not request.user.is_authenticated or hasattr(view, "cls"):
            return None
        # Whoever looks at the portal as somebody else signed in as themselves.
        closed = gate_closed(getattr(request, "viewer", request.user), request.session)
        if closed is not None and closed.ends_session:
            logout(request)
            messages.error(request, closed.message)
            return _go(request, _sign_in_again(request))
        session_used(request)
        if closed is None:
            return None
        ours = getattr(view, "view_class", None)
        if view.__module__.startswith("allauth.") or getattr(view, "signs_in", False):
            return None
        if getattr(ours, "before_gate", False):
            return None
        return _go(request, reverse("security"))


def _sign_in_again(request: HttpRequest) -> str:
    """The page of signing in, which leads back to the page where the person was."""
    htmx = request.htmx  # type: ignore[attr-defined]
    back = htmx.current_url_abs_path if htmx else None
    if not htmx and request.method in READING:
        back = request.get_full_path()
    address = reverse("account_login")
    return f"{address}?{urlencode({'next': back})}" if back else address


def _go(request: HttpRequest, address: str) -> HttpResponse:
    if request.htmx:  # type: ignore[attr-defined]
        return HttpResponseClientRedirect(address)
    return redirect(address)
