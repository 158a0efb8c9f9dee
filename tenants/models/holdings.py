"""All that gives or takes access to one person now, read at once and judged in Python.

`.allowed` asks for it at every turn, and a page asks for `.allowed` a dozen times. So a person's
scope brings it along (tenants/services/scopes.py): queries then hold a few ids, and PostgreSQL
need not plan the same subqueries over and over.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, ClassVar
from uuid import UUID

from django.contrib.auth.models import AnonymousUser
from django.db.models import F, UUIDField, Value
from django.db.models.functions import Cast

from tenants.models.user import User
from tenants.scope import current

_NO_ID = Cast(Value(None), UUIDField())


@dataclass(frozen=True)
class Held:
    """A current membership, grant or denial. `permissions` None is a denial; `line` are its tenant
    and those above."""

    line: tuple[UUID, ...]
    site_id: UUID | None
    vm_id: UUID | None
    permissions: frozenset[str] | None

    @property
    def tenant_id(self) -> UUID:
        return self.line[0]

    @property
    def whole(self) -> bool:
        """Whether it is about a tenant with all that is below."""
        return self.site_id is None and self.vm_id is None


@dataclass(frozen=True)
class Along:
    """What a person may do on a tenant, on a site of it, and on a thing there."""

    tenant: frozenset[str] = frozenset()
    site: frozenset[str] = frozenset()
    here: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Holdings:
    """Of one person. Made by `holdings_of`."""

    person: UUID | None
    all: tuple[Held, ...] = ()

    NONE: ClassVar["Holdings"]

    @property
    def denied_tenants(self) -> set[UUID]:
        return {held.tenant_id for held in self.all if held.whole and held.permissions is None}

    @property
    def denied_parts(self) -> list[Held]:
        return [held for held in self.all if not held.whole and held.permissions is None]

    @property
    def grants(self) -> list[Held]:
        """Roles on single sites and VMs, where no tenant above is denied."""
        denied = self.denied_tenants
        return [
            held
            for held in self.all
            if not held.whole and held.permissions is not None and not denied & set(held.line)
        ]

    def tenants(self, permission: str | None = None) -> set[UUID]:
        """Tenants of memberships that give this, or anything."""
        return {
            held.tenant_id
            for held in self.all
            if held.whole
            and held.permissions is not None
            and (permission is None or permission in held.permissions)
        }

    def parts(self, permission: str) -> list[Held]:
        """Grants that give this."""
        return [held for held in self.grants if permission in (held.permissions or ())]

    def anywhere(self) -> frozenset[str]:
        """What the person may do at all."""
        whole = (held.permissions or () for held in self.all if held.whole)
        return frozenset().union(*whole, *(held.permissions or () for held in self.grants))

    def along(
        self, line: Collection[UUID], site_id: UUID | None = None, vm_id: UUID | None = None
    ) -> Along:
        """What the person may do on the tenant whose `line` this is; on a site of it; on a VM."""
        steps: list[frozenset[str]] = []
        taken, given = False, frozenset[str]()
        for about in (
            [held for held in self.all if held.whole and held.tenant_id in line],
            [held for held in self.all if held.site_id is not None and held.site_id == site_id],
            [held for held in self.all if held.vm_id is not None and held.vm_id == vm_id],
        ):
            taken = taken or any(held.permissions is None for held in about)
            given = given.union(*(held.permissions or () for held in about))
            steps.append(frozenset() if taken else given)
        return Along(*steps)


Holdings.NONE = Holdings(None)


def holdings_of(user: User | AnonymousUser) -> Holdings:
    """Of this person, as the scope brought them along, or else in one query. None at all for who
    is not signed in, or whose account is closed."""
    if not isinstance(user, User) or not user.is_active:
        return Holdings.NONE
    brought: Holdings | None = current().holdings
    if brought is not None and brought.person == user.pk:
        return brought
    return holdings_load(user)


def holdings_load(user: User) -> Holdings:
    """The same as the database has it. One query."""
    from tenants.models.access_rule import AccessRule
    from tenants.models.membership import Membership

    above = (F("tenant_id"), F("tenant__parent_id"), F("tenant__parent__parent_id"))
    members = (
        Membership.objects.current()
        .filter(user=user)
        .order_by()
        .values_list(*above, _NO_ID, _NO_ID, "role__permissions")
    )
    rules = (
        AccessRule.objects.of(user)
        .order_by()
        .values_list(*above, F("site_id"), F("vm_id"), "role__permissions")
    )
    found: Any = members.union(rules, all=True)
    return Holdings(user.pk, tuple(_held(*row) for row in found))


def _held(*row: Any) -> Held:
    *line, site_id, vm_id, permissions = row
    return Held(
        line=tuple(one for one in line if one is not None),
        site_id=site_id,
        vm_id=vm_id,
        permissions=None if permissions is None else frozenset(permissions),
    )
