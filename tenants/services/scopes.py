"""Which tenants a scope holds. Called as `tenants.scope.scope_of` and `tenant_scope`."""

import uuid
from collections.abc import Iterable
from datetime import datetime, timedelta
from uuid import UUID

from django.contrib.auth.models import AnonymousUser
from django.db.models import Subquery
from django.utils import timezone

from tenants.models import ApiToken, Tenant, TenantSet, User
from tenants.models.holdings import Holdings, Limit, holdings_load, limits_of_token
from tenants.scope import NOTHING, Scope, limits_on, system_scope
from tenants.services.reach import reach_tenants

MOST_BY_THEMSELVES = 16
"""Longer lists are told by their name."""
KEPT = timedelta(days=30)
_NAMES = UUID("6ec2f0e5-3b5e-4f0c-9a53-0f3d5a0b7c11")
_REACH = system_scope("what a scope holds is found out before there is one")


def person_scope(user: User | AnonymousUser, token: ApiToken | None = None) -> Scope:
    """What this person may see at all, or with this token. Three queries, and one more for a
    token that names tenants. Without a token, one that the work at hand came with goes on."""
    if not isinstance(user, User) or not user.is_active:
        return NOTHING
    with _REACH:
        limits = limits_on(user.pk) if token is None else limits_of_token(token)
        holdings = holdings_load(user, limits)
        reached = reach_tenants(user, holdings)
        return _scope(reached, person=user.pk, holdings=holdings, limits=limits)


def tenants_scope(tenant_ids: Iterable[UUID]) -> Scope:
    """These tenants alone. One query."""
    with _REACH:
        return _scope(tenant_ids, person=None)


def tenant_sets_sweep() -> int:
    """Forget sets that nobody has needed for long. Returns how many."""
    return TenantSet.objects.filter(used_at__lt=timezone.now() - KEPT).delete()[0]


def _scope(
    tenant_ids: Iterable[UUID],
    *,
    person: UUID | None,
    holdings: Holdings | None = None,
    limits: tuple[Limit, ...] = (),
) -> Scope:
    tenants = frozenset(tenant_ids)
    name = _name(tenants)
    # In one query with the tenants above: this is asked for at every request.
    known = TenantSet.objects.filter(pk=name or _NAMES).values("used_at")[:1]
    over = Tenant.objects.filter(id__in=tenants).order_by().annotate(used_at=Subquery(known))
    found = over.values_list("parent_id", "parent__parent_id", "used_at").distinct()
    above: set[UUID | None] = set()
    used: datetime | None = None
    for parent, grandparent, when in found:
        above |= {parent, grandparent}
        used = when
    if name and (used is None or timezone.now() - used > timedelta(days=1)):
        _set_store(name, tenants)
    return Scope(
        kind="tenants",
        tenants=tenants,
        above=frozenset(one for one in above if one is not None) - tenants,
        person=person,
        name=str(name or ""),
        holdings=holdings,
        limits=limits,
    )


def _name(tenant_ids: frozenset[UUID]) -> UUID | None:
    """The name by which the database knows this set; None for one that is told as it is."""
    if len(tenant_ids) <= MOST_BY_THEMSELVES:
        return None
    # By content (RFC 9562, version 5): whoever finds the row, finds these tenants in it.
    return uuid.uuid5(_NAMES, ",".join(sorted(map(str, tenant_ids))))


def _set_store(name: UUID, tenant_ids: frozenset[UUID]) -> None:
    row = TenantSet(pk=name, tenants=sorted(tenant_ids), used_at=timezone.now())
    TenantSet.objects.bulk_create(
        [row], update_conflicts=True, unique_fields=["id"], update_fields=["used_at"]
    )
