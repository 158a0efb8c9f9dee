"""Filters of the lists of people and invitations."""

from typing import Any

import django_filters as filters
from django.db.models import Q, QuerySet
from django.utils import timezone

from portal.views.filters import customer_filter, customers, search_filter
from tenants.models import Invitation, Membership, Role, User


def _roles(request: Any) -> "QuerySet[Role]":
    seen = Membership.objects.allowed(request.user, "user.view")
    return Role.objects.filter(id__in=seen.values("role_id"))


class PeopleFilters(filters.FilterSet):  # type: ignore[misc]
    q = search_filter(method="search")
    customer = filters.ModelChoiceFilter(
        queryset=customers,
        to_field_name="slug",
        label="Customer",
        empty_label="All customers",
        method="of_tenant",
    )
    role = filters.ModelChoiceFilter(
        queryset=_roles, label="Role", empty_label="Any role", method="with_role"
    )
    state = filters.ChoiceFilter(
        choices=[("active", "Active"), ("left", "Left")],
        method="by_state",
        label="State",
        empty_label="Active and left",
    )

    class Meta:
        model = User
        fields: list[str] = []

    def search(self, rows: "QuerySet[User]", name: str, value: str) -> "QuerySet[User]":
        return rows.filter(Q(name__icontains=value.strip()) | Q(email__icontains=value.strip()))

    def of_tenant(self, rows: "QuerySet[User]", name: str, value: Any) -> "QuerySet[User]":
        return rows.filter(id__in=self._seen().filter(tenant=value).values("user_id"))

    def with_role(self, rows: "QuerySet[User]", name: str, value: Any) -> "QuerySet[User]":
        return rows.filter(id__in=self._seen().filter(role=value).current().values("user_id"))

    def by_state(self, rows: "QuerySet[User]", name: str, value: str) -> "QuerySet[User]":
        return rows.filter(Q(is_here=value == "active"))

    def _seen(self) -> Any:
        # Nobody is found by what the viewer may not see of them.
        return Membership.objects.allowed(self.request.user, "user.view")


class InvitationFilters(filters.FilterSet):  # type: ignore[misc]
    q = search_filter(field_name="email", lookup_expr="icontains")
    customer = customer_filter()
    state = filters.ChoiceFilter(
        choices=Invitation.State.choices, method="by_state", label="State", empty_label="Any state"
    )

    class Meta:
        model = Invitation
        fields: list[str] = []

    def by_state(
        self, rows: "QuerySet[Invitation]", name: str, value: str
    ) -> "QuerySet[Invitation]":
        if value == Invitation.State.ACCEPTED:
            return rows.exclude(accepted_at=None)
        if value == Invitation.State.REVOKED:
            return rows.exclude(revoked_at=None)
        now = timezone.now()
        pending = rows.filter(accepted_at=None, revoked_at=None)
        if value == Invitation.State.EXPIRED:
            return pending.filter(expires_at__lte=now)
        return pending.filter(expires_at__gt=now)
