"""Who could agree with somebody, and who of them may be told of whom."""

from collections.abc import Sequence
from typing import Any

from tenants.models import Membership, Tenant, User
from tenants.models.holdings import holdings_load
from tenants.scope import system_scope
from tenants.services.second_person_kinds import Kind, kind_named, may

_LOOKED_AT = 100
"""People whose reach is looked at, at most."""


def agreers(kind: Kind, rows: Sequence[Any], *, but: User | None) -> list[Membership]:
    """Memberships of who may do this to each of `rows`, and is a person other than `but`. One for
    each person."""
    tenants = [row if isinstance(row, Tenant) else row.tenant for row in rows]
    lines = [set(tenant.line()) for tenant in tenants if tenant is not None]
    if not lines:
        return []
    with system_scope("who could agree is found out among everybody above, too"):
        held = (
            Membership.objects.current()
            .filter(
                tenant__in=set.intersection(*lines),
                role__permissions__contains=[*kind.permissions, "agreement.manage"],
                user__is_active=True,
            )
            .exclude(user=but)
            .select_related("user", "tenant")
            .order_by("tenant__parent_id", "user__email", "id")[:_LOOKED_AT]
        )
        found: dict[Any, Membership] = {}
        for membership in held:
            user = membership.user
            if user.pk in found or getattr(user, "is_service", False):
                continue
            holdings = holdings_load(user)
            if all(may(kind, user, row, held=holdings) for row in rows):
                found[user.pk] = membership
    return list(found.values())


def in_words(memberships: Sequence[Membership], *, reader: User) -> str:
    """ "Ada, Tess and 2 people of Northwind": by name those that `reader` may see."""
    seen = set(Tenant.objects.allowed(reader, "user.view").values_list("id", flat=True))
    names = [str(one.user) for one in memberships if one.tenant_id in seen]
    others: dict[str, int] = {}
    for one in memberships:
        if one.tenant_id not in seen:
            others[one.tenant.name] = others.get(one.tenant.name, 0) + 1
    parts = names[:5] + ([f"{len(names) - 5} more"] if len(names) > 5 else [])
    parts += [
        f"{count} {'person' if count == 1 else 'people'} of {name}"
        for name, count in others.items()
    ]
    return " and ".join(filter(None, [", ".join(parts[:-1]), *parts[-1:]]))


def two_can(tenant: Tenant) -> bool:
    """Whether two people or more may delete the tenant's VMs, and so agree with each other."""
    kind = kind_named("vm.delete")
    return kind is not None and len(agreers(kind, [tenant], but=None)) >= 2
