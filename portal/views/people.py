"""People: the list, and one of them."""

from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import NoReverseMatch, reverse
from django.utils import timezone

from portal.views.base import PageView
from portal.views.lists import ListPage
from portal.views.people_filters import PeopleFilters
from portal.views.people_queries import people_for_list
from portal.views.people_tables import PeopleTable, membership_words
from portal.views.states import person_look
from tenants.models import ApiToken, AuditEvent, Invitation, Tenant, User

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
        ("roles", lambda row: "; ".join(membership_words(one) for one in row.seen_memberships)),
        ("last_seen", lambda row: row.last_seen and row.last_seen.isoformat()),
        ("id", lambda row: row.id),
    )

    def rows(self) -> "QuerySet[User]":
        return people_for_list(self.user)

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
        return self.page(
            {
                "here": reverse("person", args=(person.pk,)),
                "person": person,
                "tokens": _tokens_open(person),
                "events": events.filter(actor=person)[:_EVENTS_SHOWN],
                "reach_url": _reach_url(person),
                "may_end": Tenant.objects.allowed(self.user, "user.manage")
                .filter(id__in=[one.tenant_id for one in _held(person)])
                .exists(),
            }
        )


def _held(person: Any) -> list[Any]:
    return [one for one in person.seen_memberships if not one.ended]


def _tokens_open(person: User) -> int:
    tokens = ApiToken.objects.filter(user=person, revoked_at=None)
    return tokens.exclude(expires_at__lte=timezone.now()).count()


def _reach_url(person: User) -> str:
    """The page that says why the person reaches what they reach; "" where there is none."""
    try:
        return reverse("person-reach", args=(person.pk,))
    except NoReverseMatch:
        return ""
