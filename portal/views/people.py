"""People: the list, and one of them."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import NoReverseMatch, reverse

from consoles.models import ConsoleTicket
from portal.views.base import PageView
from portal.views.lists import ListPage
from portal.views.people_filters import PeopleFilters
from portal.views.people_tables import PeopleTable, has_ended, membership_words
from portal.views.states import person_look
from tenants.models import AuditEvent, Invitation, User
from tenants.services.comparing import managed_by
from tenants.services.leaving import leaving_preview, person_leave
from tenants.services.people_read import people_for_list, second_factors
from tenants.services.signing_out import person_sign_out
from tenants.services.tokens_read import token_words, tokens_of

_EVENTS_SHOWN = 10


class PeopleView(ListPage):
    permission = "user.view"
    table_class = PeopleTable
    filters_class = PeopleFilters
    template_name = "pages/people.html"
    name = "people"
    columns = (
        ("name", lambda row: row.name),
        ("email", lambda row: row.email),
        ("state", lambda row: person_look(row).word.lower()),
        (
            "roles",
            lambda row: "; ".join(
                membership_words(one) for one in (*row.seen_memberships, *row.seen_grants)
            ),
        ),
        ("last_seen", lambda row: row.last_seen and row.last_seen.isoformat()),
        ("id", lambda row: row.id),
    )

    def rows(self) -> "QuerySet[User]":
        return people_for_list(self.user)

    def for_rows(self, rows: Sequence[Any]) -> dict[str, Any]:
        return {"second_factors": second_factors(rows)}

    def about(self) -> dict[str, Any]:
        return {
            "title": "People",
            "lead": "Who may sign in, and to what. Whoever left stays listed as such.",
            "events": ["person", "invitation"],
            "action": ("invitation-new", "Invite somebody", "user.manage"),
            "invited": Invitation.objects.allowed(self.user, "user.view").open().count(),
            "empty": (
                "users",
                "Nobody yet",
                "Invite people by e-mail: they choose a password, and get the role you gave them.",
            ),
        }


class PersonPage(PageView):
    """The person named in the address. Actions on them are subclasses."""

    template_name = "pages/person.html"

    def person(self, person_id: UUID) -> User:
        found = people_for_list(self.user, self.permission).filter(pk=person_id).first()
        if found is None:
            raise Http404
        return found


class PersonView(PersonPage):
    permission = "user.view"

    def get(self, request: HttpRequest, person_id: UUID) -> HttpResponse:
        person = self.person(person_id)
        events = AuditEvent.objects.allowed(self.user, "audit.view").select_related("tenant")
        leaving = leaving_preview(actor=self.actor, person=person)
        manages = self._manages(person)
        return self.page(
            {
                "here": reverse("person", args=(person.pk,)),
                "person": person,
                "sessions": leaving.sessions,
                "tokens": leaving.tokens,
                "second_factor": second_factors([person]).get(person.pk),
                "events": events.filter(actor=person)[:_EVENTS_SHOWN],
                "reach_url": _reach_url(person),
                "grants": [
                    (membership_words(one), has_ended(one))
                    for one in person.seen_grants  # type: ignore[attr-defined]
                ],
                "token_list": token_words(tokens_of(person)) if manages else [],
                "may_sign_out": manages,
                "may_end": bool(leaving.memberships or leaving.grants),
            }
        )

    def _manages(self, person: User) -> bool:
        # Else what a token is called would tell of customers that are none of the viewer's, and
        # sessions would end that are in use elsewhere.
        return person.pk != self.user.pk and managed_by(person, self.user)


class PersonLeaveView(PersonPage):
    """First what ends, then, confirmed, it ends."""

    permission = "user.manage"
    template_name = "pages/person_leave.html"

    def get(self, request: HttpRequest, person_id: UUID) -> HttpResponse:
        person = self.person(person_id)
        consoles = ConsoleTicket.objects.allowed(self.user, "user.view").open()
        return self.page(
            {
                "person": person,
                "leaving": leaving_preview(actor=self.actor, person=person),
                "consoles": consoles.filter(user=person).count(),
                "is_oneself": person.pk == self.user.pk,
            }
        )

    def post(self, request: HttpRequest, person_id: UUID) -> HttpResponse:
        person = self.person(person_id)

        def leave() -> str:
            ended = person_leave(actor=self.actor, person=person)
            count = len(ended.memberships) + len(ended.grants)
            return (
                f"{person} has left: {count} role{'s' * (count != 1)} ended, and what was open is "
                "closed."
            )

        self.attempt(leave)
        return redirect("person", person_id=person.pk)


class PersonSignOutView(PersonPage):
    permission = "user.manage"

    def post(self, request: HttpRequest, person_id: UUID) -> HttpResponse:
        person = self.person(person_id)

        def sign_out() -> str:
            ended = person_sign_out(actor=self.actor, person=person)
            sessions = f"{ended} session{'s' * (ended != 1)}"
            return f"{person} is signed out: {sessions} ended. Their access and API tokens stay."

        self.attempt(sign_out)
        return redirect("person", person_id=person.pk)


def _reach_url(person: User) -> str:
    """The page that says why the person reaches what they reach; "" where there is none."""
    try:
        return reverse("person-reach", args=(person.pk,))
    except NoReverseMatch:
        return ""
