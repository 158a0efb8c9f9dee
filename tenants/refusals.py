"""A refused change is an event: somebody tried what they may not."""

from collections.abc import Callable

from django.core.cache import cache
from django.http import HttpRequest, HttpResponse

from tenants.middleware import READING, actor_for
from tenants.services.audit import audit_personal

_AT_MOST_EVERY_S = 60


class RefusalMiddleware:
    """Notes answers of 403 to people who are known, where they wanted to change something. One
    a minute for each person and page: whoever tries in a loop does not fill the log.

    What is not one's own is a 404 like what does not exist, and is no event: there the portal
    does not even say that there was something to refuse.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        if response.status_code == 403 and request.method not in READING:
            self._note(request)
        return response

    @staticmethod
    def _note(request: HttpRequest) -> None:
        actor = actor_for(request)
        # By the name of the page: the address holds what the person typed.
        page = request.resolver_match.view_name if request.resolver_match else ""
        if actor.user is None or not cache.add(
            f"refused:{actor.user.pk}:{page}", 1, timeout=_AT_MOST_EVERY_S
        ):
            return
        audit_personal(
            actor=actor,
            action="access.refuse",
            object_kind="page",
            object_name=page,
            after={"method": request.method},
        )
