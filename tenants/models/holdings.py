"""All that gives or takes access to one person now, read at once and judged in Python.

`.allowed` asks for it at every turn, and a page asks for `.allowed` a dozen times. So a person's
scope brings it along (tenants/services/scopes.py): queries then hold a few ids, and PostgreSQL
need not plan the same subqueries over and over.

It is also the one place where a token of the API is narrower than its owner: what is read here is
narrowed at once, so whatever asks what the person may do gets the narrower answer. See
docs/decisions/0011.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar
from uuid import UUID

from django.contrib.auth.models import AnonymousUser
from django.db.models import F, UUIDField, Value
from django.db.models.functions import Cast

from tenants.models.api_token import ApiToken
from tenants.models.tenant import Tenant
from tenants.models.user import User
from tenants.scope import current, limits_on

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
class Limit:
    """What a token leaves of what its owner holds. None leaves all of it."""

    permissions: frozenset[str] | None = None
    lines: frozenset[tuple[UUID, ...]] | None = None
    """Of each tenant that it is good for, with all that is below: the tenant and those above it,
    as the tree is now."""

    def narrowed(self, held: Held) -> Iterator[Held]:
        """What is left of one membership, grant or denial: nothing, itself, or its part on each
        tenant of the limit. A denial stays as it is: it takes no less for a token."""
        if held.permissions is None:
            yield held
            return
        if self.permissions is not None:
            held = replace(held, permissions=held.permissions & self.permissions)
            if not held.permissions:
                return
        if self.lines is None or any(line[0] in held.line for line in self.lines):
            yield held
        elif held.whole:
            for line in sorted(self.lines):
                if held.tenant_id in line:
                    yield replace(held, line=line)


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


def holdings_load(user: User, limits: "tuple[Limit, ...] | None" = None) -> Holdings:
    """The same as the database has it, less what these limits take, or else those of the token
    that the work at hand came with. One query; two for a service account."""
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
    held = [_held(*row) for row in found]
    if limits is None:
        limits = limits_on(user.pk)
    if user.is_service:
        limits = (*limits, _home_of_service(user))
    for limit in limits:
        held = [left for one in held for left in limit.narrowed(one)]
    return Holdings(user.pk, tuple(held))


def limits_of_token(token: ApiToken) -> tuple[Limit, ...]:
    """Those of the token, and of the one that it was made with. One query where either names
    tenants. One that is gone leaves nothing."""
    tokens = [token] if token.made_with is None else [token, token.made_with]
    tokens = [one for one in tokens if one.permissions is not None or one.tenants is not None]
    lines = _lines({tenant for one in tokens for tenant in one.tenants or ()})
    return tuple(
        Limit(
            permissions=None if one.permissions is None else frozenset(one.permissions),
            lines=None
            if one.tenants is None
            else frozenset(lines[tenant] for tenant in one.tenants if tenant in lines),
        )
        for one in tokens
    )


def _home_of_service(user: User) -> Limit:
    """A service account works in its own tenant, wherever that has moved."""
    from tenants.models.service_account import ServiceAccount

    homes = ServiceAccount.objects.filter(user=user).order_by()
    return Limit(lines=frozenset(_lines(homes.values_list("tenant_id", flat=True)).values()))


def _lines(tenant_ids: Iterable[UUID]) -> dict[UUID, tuple[UUID, ...]]:
    wanted = list(tenant_ids)
    if not wanted:
        return {}
    rows = Tenant.objects.filter(id__in=wanted).order_by()
    found = rows.values_list("id", "parent_id", "parent__parent_id")
    return {row[0]: tuple(one for one in row if one is not None) for row in found}


def _held(*row: Any) -> Held:
    *line, site_id, vm_id, permissions = row
    return Held(
        line=tuple(one for one in line if one is not None),
        site_id=site_id,
        vm_id=vm_id,
        permissions=None if permissions is None else frozenset(permissions),
    )
