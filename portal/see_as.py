"""While somebody looks at the portal as another person: whose it is, and what is refused.

The session stays the viewer's own. Requests are answered as the other person's, but only those
that read, and none that show what is theirs alone: consoles, their account, signing in.
"""

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.urls import reverse

from portal.views.base import SIGNED_IN
from tenants.actor import Actor
from tenants.middleware import READING
from tenants.models import User
from tenants.scope import sign_in_scope
from tenants.services.see_as import SESSION_KEY, SeeAsError, SeeingAs, see_as_stop, seeing_as

OWN = frozenset({SIGNED_IN, "vm.console"})
"""Pages that ask for these show what nobody sees for another."""


class SeeAsMiddleware:
    """Between Django's authentication and the scope: from here on, `request.user` is whom the
    viewer looks as, `request.seeing_as` tells it, and `request.viewer` is who it is."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        # An API token speaks for its owner, whatever the browser's session looks at.
        if SESSION_KEY in request.session and "authorization" not in request.headers:
            refused = self._look(request)
            if refused is not None:
                return refused
        return self.get_response(request)

    def _look(self, request: HttpRequest) -> HttpResponse | None:
        """Make it the other person's request; an answer is a refusal."""
        with sign_in_scope():
            viewer = request.user if request.user.is_authenticated else None
        stops = request.method == "POST" and request.path == reverse("see-as-stop")
        if not isinstance(viewer, User) or stops:
            return None
        reads = request.method in READING
        try:
            seen = seeing_as(viewer=viewer, session=request.session)
        except SeeAsError as over:
            actor = Actor(user=viewer, ip=request.META.get("REMOTE_ADDR"))
            see_as_stop(actor=actor, session=request.session, why=over.message)
            request.see_as_over = over.message  # type: ignore[attr-defined]
            # What changes something was meant for a page that was another person's.
            return None if reads else _refused(request, over.message)
        request.user = seen.user
        request.viewer = viewer  # type: ignore[attr-defined]
        request.seeing_as = seen  # type: ignore[attr-defined]
        if reads:
            return None
        words = f"You look at the portal as {seen.user}, and change nothing while you do."
        return _refused(request, f"{words} Stop first.")

    def process_view(self, request: HttpRequest, view: Any, *_arguments: Any) -> Any:
        """Refuse what shows secrets, or what is about signing in."""
        seen: SeeingAs | None = getattr(request, "seeing_as", None)
        if seen is None:
            return None
        page = getattr(view, "view_class", None)
        if getattr(page, "permission", None) in OWN or view.__module__.startswith("allauth."):
            words = f"This is for {seen.user} alone, so you don't see it as them. Stop first."
            return _refused(request, words)
        return None


def _refused(request: HttpRequest, words: str) -> HttpResponse:
    if request.path.startswith("/api/"):
        return JsonResponse({"error": {"code": "see_as", "message": words}}, status=403)
    if "hx-request" in request.headers:
        # A part of a page asks: the sentence goes above the page, which shows of refusals only
        # those of forms.
        answer = render(request, "components/see_as_refused.html", {"words": words}, status=422)
        answer["HX-Retarget"] = "#messages"
        answer["HX-Reswap"] = "innerHTML"
        answer["HX-Reselect"] = "#see-as-refused"
        return answer
    return render(request, "pages/see_as_refused.html", {"words": words}, status=403)
