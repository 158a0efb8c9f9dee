"""Which tenants a scope holds. Called as `tenants.scope.scope_of` and `tenant_scope`."""

from collections.abc import Iterable
from uuid import UUID

from django.contrib.auth.models import AnonymousUser

from tenants.models import Tenant, User
from tenants.scope import NOTHING, Scope, system_scope
from tenants.services.reach import reach_tenants

_REACH = system_scope("what a scope holds is found out before there is one")


def person_scope(user: User | AnonymousUser) -> Scope:
    """What this person may see at all."""
    if not isinstance(user, User) or not user.is_active:
        return NOTHING
    with _REACH:
        reached = frozenset(reach_tenants(user))
        above = _above(reached)
    return Scope(kind="tenants", tenants=reached, above=above, person=user.pk)


def tenants_scope(tenant_ids: Iterable[UUID]) -> Scope:
    """These tenants alone."""
    wanted = frozenset(tenant_ids)
    with _REACH:
        return Scope(kind="tenants", tenants=wanted, above=_above(wanted))


def _above(tenant_ids: frozenset[UUID]) -> frozenset[UUID]:
    """Tenants over these, up to the top."""
    if not tenant_ids:
        return frozenset()
    over = Tenant.objects.filter(id__in=tenant_ids).order_by()
    found = over.values_list("parent_id", "parent__parent_id").distinct()
    return frozenset(one for pair in found for one in pair if one is not None) - tenant_ids
