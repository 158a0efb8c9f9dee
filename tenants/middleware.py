"""Puts the acting person on each request as `request.actor`."""

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.functional import SimpleLazyObject

from tenants.actor import Actor


def actor_for(request: Any) -> Actor:
    """The actor behind a Django or DRF request, whichever way it was authenticated."""
    user = request.user if request.user.is_authenticated else None
    token = getattr(request, "auth", None)
    return Actor(user=user, token=token, ip=request.META.get("REMOTE_ADDR"))


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
