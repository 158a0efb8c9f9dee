"""Comparing what two people may do, everywhere one of them gets."""

from collections.abc import Sequence
from uuid import UUID

from tenants.models import AccessRule, Tenant, User
from tenants.models.holdings import Holdings, holdings_load
from tenants.scope import system_scope
from tenants.services.reach import reach_tenants

_BOTH = system_scope("who is compared with whom may be anywhere")


def surplus_of(user: User, viewer: User) -> frozenset[str]:
    """What `user` may do somewhere that `viewer` may not do there."""
    with _BOTH:
        theirs, own = _load(user), _load(viewer)
        lines = _lines(reach_tenants(user))
        parts = [held for held in (*theirs.all, *own.all) if not held.whole]
        sites = dict(
            AccessRule.objects.filter(vm__in=[held.vm_id for held in parts if held.vm_id])
            .order_by()
            .values_list("vm_id", "vm__hypervisor__site_id")
        )
    # Elsewhere than on these sites and VMs, each holds what they hold on the tenant.
    places: list[tuple[tuple[UUID, ...], UUID | None, UUID | None]] = [
        (line, None, None) for line in lines.values()
    ]
    for held in parts:
        if held.tenant_id in lines:
            site_id = sites[held.vm_id] if held.vm_id else held.site_id
            places.append((lines[held.tenant_id], site_id, held.vm_id))
    return frozenset().union(
        *(theirs.along(*place).here - own.along(*place).here for place in places)
    )


def managed_by(user: User, viewer: User) -> bool:
    """Whether `viewer` manages people wherever something gives access to `user`, and something
    does."""
    with _BOTH:
        theirs, own = _load(user), _load(viewer)
    given = [held for held in theirs.all if held.permissions is not None]
    return bool(given) and all("user.manage" in own.along(held.line).tenant for held in given)


def given_by(user: User) -> set[UUID]:
    """The tenants where something gives access to this person. In a scope that sees them all."""
    return {held.tenant_id for held in _load(user).all if held.permissions is not None}


def _load(user: User) -> Holdings:
    return holdings_load(user) if user.is_active else Holdings.NONE


def _lines(tenant_ids: Sequence[UUID]) -> dict[UUID, tuple[UUID, ...]]:
    rows = Tenant.objects.filter(id__in=tenant_ids).order_by()
    found = rows.values_list("id", "parent_id", "parent__parent_id")
    return {row[0]: tuple(one for one in row if one is not None) for row in found}
