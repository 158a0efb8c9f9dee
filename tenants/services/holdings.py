"""All that gives or takes access to one person, read at once and judged in Python.

For comparing people and for saying why; what is shown to somebody is always found by `.allowed`,
with which this agrees.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

from tenants.models import AccessRule, Membership, User
from tenants.models.tenant import Tenant
from tenants.scope import system_scope

_BOTH = system_scope("who is compared with whom may be anywhere")


@dataclass(frozen=True)
class Held:
    """A current membership, grant or denial. `permissions` None is a denial."""

    tenant_id: UUID
    site_id: UUID | None
    vm_id: UUID | None
    permissions: frozenset[str] | None
    vm_site_id: UUID | None = None


class Holdings:
    """Of one person, now."""

    def __init__(self, user: User) -> None:
        self.user = user
        self.all: list[Held] = []
        if not user.is_active:
            return
        members = Membership.objects.current().filter(user=user)
        for tenant_id, given in members.values_list("tenant_id", "role__permissions"):
            self.all.append(Held(tenant_id, None, None, frozenset(given)))
        rules = AccessRule.objects.of(user).values_list(
            "tenant_id", "site_id", "vm_id", "role__permissions", "vm__hypervisor__site_id"
        )
        for tenant_id, site_id, vm_id, given, vm_site_id in rules.order_by():
            held = None if given is None else frozenset(given)
            self.all.append(Held(tenant_id, site_id, vm_id, held, vm_site_id))

    @property
    def parts(self) -> list[Held]:
        """What is about a site or a VM."""
        return [held for held in self.all if held.site_id or held.vm_id]

    @property
    def given(self) -> list[Held]:
        """What is no denial."""
        return [held for held in self.all if held.permissions is not None]

    def on(
        self, line: Iterable[UUID], site_id: UUID | None = None, vm_id: UUID | None = None
    ) -> frozenset[str]:
        """What the person may do on the tenant whose `line` this is, or on a site or VM of it."""
        above = set(line)
        met = [
            held
            for held in self.all
            if (held.site_id is None and held.vm_id is None and held.tenant_id in above)
            or (held.site_id is not None and held.site_id == site_id)
            or (held.vm_id is not None and held.vm_id == vm_id)
        ]
        if any(held.permissions is None for held in met):
            return frozenset()
        return frozenset().union(*(held.permissions or () for held in met))


def surplus_of(user: User, viewer: User) -> frozenset[str]:
    """What `user` may do somewhere that `viewer` may not do there."""
    from tenants.services.reach import reach_tenants

    with _BOTH:
        theirs, own = Holdings(user), Holdings(viewer)
        lines = _lines(reach_tenants(user))
        # Elsewhere than on these sites and VMs, each holds what they hold on the tenant.
        parts = [
            (lines[part.tenant_id], part.site_id or part.vm_site_id, part.vm_id)
            for part in (*theirs.parts, *own.parts)
            if part.tenant_id in lines
        ]
    places = [*((line, None, None) for line in lines.values()), *parts]
    return frozenset().union(*(theirs.on(*place) - own.on(*place) for place in places))


def managed_by(user: User, viewer: User) -> bool:
    """Whether `viewer` manages people wherever something gives access to `user`, and something
    does."""
    with _BOTH:
        theirs, own = Holdings(user), Holdings(viewer)
        lines = _lines([held.tenant_id for held in theirs.given])
    return bool(lines) and all("user.manage" in own.on(line) for line in lines.values())


def _lines(tenant_ids: Sequence[UUID]) -> dict[UUID, list[UUID]]:
    rows = Tenant.objects.filter(id__in=tenant_ids).order_by()
    found = rows.values_list("id", "parent_id", "parent__parent_id")
    return {row[0]: [one for one in row if one is not None] for row in found}
