"""What each request carries: whose rows it may see, and who acts, as `request.actor`."""

from collections.abc import Callable
from typing import Any

from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.functional import SimpleLazyObject

from tenants.actor import Actor
from tenants.scope import (
    NOTHING,
    bound_async_iterator,
    bound_iterator,
    current,
    enter,
    scope_of,
    sign_in_scope,
)

READING = frozenset({"GET", "HEAD", "OPTIONS"})


def actor_for(request: Any) -> Actor:
    """The actor behind a Django or DRF request, whichever way it was authenticated."""
    # Whoever looks at the portal as somebody else acts, if at all, as themselves.
    user = getattr(request, "viewer", request.user)
    user = user if user.is_authenticated else None
    token = getattr(request, "auth", None)
    return Actor(user=user, token=token, ip=request.META.get("REMOTE_ADDR"))


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
        if not request.user.is_authenticated and view.__module__.startswith("allauth."):
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
