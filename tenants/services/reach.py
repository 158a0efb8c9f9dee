"""Which tenants a person reaches, and why."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from django.db.models import Q, QuerySet
from django.utils import timezone

from tenants.models import AccessRule, Membership, ServiceAccount, Tenant, User
from tenants.models.holdings import Holdings, holdings_load
from tenants.models.tenant import at_or_below
from tenants.scope import system_scope


def reach_tenants(user: User, holdings: Holdings | None = None) -> list[UUID]:
    """Every tenant in which `user` may see anything at all, if only one VM. One query; two without
    their `holdings`."""
    if holdings is None:
        holdings = holdings_load(user) if user.is_active else Holdings.NONE
    held, given = holdings.tenants(), {part.tenant_id for part in holdings.grants}
    if not held and not given:
        return []
    reached = Tenant.objects.filter(at_or_below(held) | Q(id__in=given))
    if holdings.denied_tenants:
        reached = reached.exclude(at_or_below(holdings.denied_tenants))
    return list(reached.order_by().values_list("id", flat=True))


def people_of(viewer: User, permission: str) -> QuerySet[User]:
    """People with a membership, a grant or a denial in a tenant on which `viewer` holds
    `permission`, and the viewer."""
    members = Membership.objects.allowed(viewer, permission).order_by().values("user_id")
    ruled = AccessRule.objects.allowed(viewer, permission).order_by().values("user_id")
    services = ServiceAccount.objects.allowed(viewer, permission).order_by().values("user_id")
    return User.objects.filter(
        Q(id__in=members) | Q(id__in=ruled) | Q(id__in=services) | Q(id=viewer.pk)
    )


# ------------------------------------------------------------------ why

State = Literal["in", "part", "out"]


@dataclass(frozen=True)
class Reason:
    """Something that gives or takes, or that did until it ended. `source` is the membership or
    rule, for who may change it; None where it lies beyond the viewer's reach."""

    tone: Literal["gives", "takes", "ended"]
    words: str
    since: datetime
    until: datetime | None
    source: Membership | AccessRule | None


@dataclass(frozen=True)
class Explained:
    """A tenant, or a site or VM of one about which there is a rule, and why it is seen or not."""

    thing: Any
    kind: str
    state: State
    reasons: Sequence[Reason]
    parts: Sequence["Explained"] = field(default=())
    depth: int = 0


def explain(user: User, viewer: User) -> list[Explained]:
    """Of every tenant where `viewer` may see people: whether `user` reaches it, and why. In the
    tree's order, down to the sites and VMs about which there are rules."""
    tenants = _tree(list(Tenant.objects.allowed(viewer, "user.view")))
    in_sight = {tenant.id for tenant, _ in tenants}
    own_rules = AccessRule.objects.allowed(viewer, "user.view")
    seen_rules = set(own_rules.filter(user=user).values_list("id", flat=True))
    with system_scope("what gives a person access may lie above whoever asks"):
        members = list(
            Membership.objects.filter(user=user)
            .select_related("tenant", "role")
            .order_by("created_at", "id")
        )
        rules = list(
            AccessRule.objects.filter(user=user).select_related(
                "tenant", "role", "site", "vm__hypervisor"
            )
        )
    found = []
    for tenant, depth in tenants:
        line = _line(tenant, {row.id: row for row, _ in tenants})
        found.append(
            _explained(
                tenant,
                depth,
                members=[row for row in members if row.tenant_id in line],
                denials=[
                    rule
                    for rule in rules
                    if rule.tenant_id in line and rule.site_id is None and rule.vm_id is None
                ],
                parts=[
                    rule
                    for rule in rules
                    if rule.tenant_id == tenant.id
                    and rule.id in seen_rules
                    and (rule.site_id or rule.vm_id)
                ],
                in_sight=in_sight,
                active=user.is_active,
            )
        )
    return found


def _explained(
    tenant: Tenant,
    depth: int,
    *,
    members: list[Membership],
    denials: list[AccessRule],
    parts: list[AccessRule],
    in_sight: set[UUID],
    active: bool,
) -> Explained:
    reasons = [
        *(_of_rule(rule, in_sight) for rule in denials),
        *(_of_membership(member, in_sight) for member in members),
    ]
    denied = any(_holds(rule) for rule in denials)
    held = active and not denied and any(_holds(member) for member in members)
    by_thing: dict[Any, list[AccessRule]] = defaultdict(list)
    for rule in parts:
        by_thing[rule.thing].append(rule)
    explained = []
    for thing, about in by_thing.items():
        # A denial of the site holds for its VMs too, and a grant as well.
        over = [
            rule
            for rule in parts
            if about[0].vm_id and rule.site_id == about[0].vm.hypervisor.site_id
        ]
        live = [rule for rule in (*about, *over) if _holds(rule)]
        taken = denied or any(rule.role is None for rule in live)
        given = active and not taken and (held or any(rule.role for rule in live))
        explained.append(
            Explained(
                thing=thing,
                kind="VM" if about[0].vm_id else "site",
                state="in" if given else "out",
                reasons=[_of_rule(rule, in_sight) for rule in about],
            )
        )
    partly = any(part.state != ("in" if held else "out") for part in explained)
    return Explained(
        thing=tenant,
        kind=tenant.get_kind_display(),
        state="part" if partly else "in" if held else "out",
        reasons=reasons,
        parts=explained,
        depth=depth,
    )


def _holds(row: Membership | AccessRule) -> bool:
    return row.expires_at is None or row.expires_at > timezone.now()


def _of_membership(member: Membership, in_sight: set[UUID]) -> Reason:
    known = member.tenant_id in in_sight
    words = f"{member.role.name} of {member.tenant.name}" if known else _ABOVE
    return _reason(member, "gives", words, known)


def _of_rule(rule: AccessRule, in_sight: set[UUID]) -> Reason:
    known = rule.tenant_id in in_sight
    if rule.role is not None:
        return _reason(rule, "gives", f"{rule.role.name} of {rule.thing} alone", known)
    words = f"kept from {rule.thing}" if known else "kept from a tenant above, which you don't see"
    return _reason(rule, "takes", words, known)


_ABOVE = "a role of a tenant above, which you don't see"


def _reason(
    row: Membership | AccessRule, tone: Literal["gives", "takes"], words: str, known: bool
) -> Reason:
    return Reason(
        tone=tone if _holds(row) else "ended",
        words=words,
        since=row.created_at,
        until=row.expires_at,
        source=row if known else None,
    )


def _tree(tenants: list[Tenant]) -> list[tuple[Tenant, int]]:
    """Each after the one above it, by name, with its depth below the topmost in sight."""
    ids = {tenant.id for tenant in tenants}
    below: dict[UUID | None, list[Tenant]] = defaultdict(list)
    for tenant in sorted(tenants, key=lambda row: row.name.casefold()):
        below[tenant.parent_id if tenant.parent_id in ids else None].append(tenant)

    def walk(parent: UUID | None, depth: int) -> list[tuple[Tenant, int]]:
        return [
            found
            for tenant in below[parent]
            for found in ((tenant, depth), *walk(tenant.id, depth + 1))
        ]

    return walk(None, 0)


def _line(tenant: Tenant, known: dict[UUID, Tenant]) -> set[UUID]:
    above = known.get(tenant.parent_id) if tenant.parent_id else None
    if above is not None:
        return {tenant.id} | _line(above, known)
    # Those above the viewer's own reach still give: their ids are read, not their rows.
    return set(tenant.line())
