"""Beginning and ending to look as somebody else sees the portal."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from portal.views.base import SIGNED_IN, PageView
from portal.views.memberships import ReachPage
from tenants.services.see_as import see_as_start, see_as_stop


class SeeAsStartView(ReachPage):
    permission = "user.manage"

    def post(self, request: HttpRequest, user_id: str) -> HttpResponse:
        person = self.person(user_id)

        def start() -> None:
            see_as_start(actor=self.actor, user=person, session=request.session)

        if self.attempt(start):
            return redirect("dashboard")
        return redirect("person-reach", user_id=person.pk)


class SeeAsStopView(PageView):
    """Answers as oneself: portal.see_as lets this one address through."""

    permission = SIGNED_IN

    def post(self, request: HttpRequest) -> HttpResponse:
        see_as_stop(actor=self.actor, session=request.session)
        return redirect("dashboard")
