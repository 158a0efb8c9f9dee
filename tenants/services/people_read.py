"""Reads about people, each in a fixed number of queries. What a viewer may not see of somebody,
their memberships elsewhere above all, is in none of them."""

from collections.abc import Iterable
from uuid import UUID

from allauth.mfa.models import Authenticator
from django.db.models import DateTimeField, Exists, Max, OuterRef, Prefetch, QuerySet, Subquery
from django.db.models.functions import Greatest

from tenants.models import AccessRule, ApiToken, Membership, User
from tenants.scope import sign_in_scope
from tenants.services.sign_in_rules import SECOND_FACTORS


def memberships_seen(viewer: User) -> "QuerySet[Membership]":
    """Memberships within the viewer's reach, by tenant and role; ended ones too."""
    seen = Membership.objects.allowed(viewer, "user.view").select_related("tenant", "role")
    return seen.order_by("tenant__name", "role__name", "id")


def grants_seen(viewer: User) -> "QuerySet[AccessRule]":
    """Single sites and VMs that were given, within the viewer's reach; ended ones too."""
    seen = AccessRule.objects.allowed(viewer, "user.view").filter(effect=AccessRule.Effect.ALLOW)
    return seen.select_related("tenant", "site", "vm", "role")


def people_for_list(viewer: User, permission: str = "user.view") -> "QuerySet[User]":
    """People with `is_here`, `last_seen`, and `seen_memberships` and `seen_grants`, by
    the functions above."""
    seen = Membership.objects.allowed(viewer, "user.view").filter(user=OuterRef("pk"))
    given = AccessRule.objects.allowed(viewer, "user.view").filter(
        user=OuterRef("pk"), effect=AccessRule.Effect.ALLOW
    )
    used = ApiToken.objects.filter(user=OuterRef("pk")).order_by().values("user")
    return (
        User.objects.allowed(viewer, permission)
        # Those are on a page of their own (tenants/services/tokens_read.py).
        .filter(is_service=False)
        .annotate(
            is_here=Exists(seen.current().filter(user__is_active=True))
            | Exists(given.current().filter(user__is_active=True)),
            last_seen=Greatest(
                "last_login",
                Subquery(
                    used.annotate(at=Max("last_used_at")).values("at"),
                    output_field=DateTimeField(),
                ),
            ),
        )
        .prefetch_related(
            Prefetch("memberships", memberships_seen(viewer), to_attr="seen_memberships"),
            Prefetch("access_rules", grants_seen(viewer), to_attr="seen_grants"),
        )
    )


def second_factors(people: Iterable[User]) -> dict[UUID, bool]:
    """Of people whom the viewer may see: whether they have a second factor. One query."""
    ids = [person.pk for person in people]
    with sign_in_scope():
        held = Authenticator.objects.filter(user_id__in=ids, type__in=SECOND_FACTORS)
        found = set(held.values_list("user_id", flat=True))
    return {person_id: person_id in found for person_id in ids}
