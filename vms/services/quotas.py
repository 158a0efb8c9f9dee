"""Keeping to quotas. Whatever makes a VM, or makes one greater, passes here and nowhere else.

The order in which all of it is locked: the MSP's tree (shared), the quotas by id, the host, its
jobs, its VMs. Two wishes under one quota take turns, on whichever hosts they are; a quota that is
being set, and a customer that is being moved, wait for wishes under way.
"""

import uuid
from dataclasses import dataclass

from django.db.models import QuerySet

from tenants.actor import Actor
from tenants.errors import RuleError
from tenants.models import Tenant
from tenants.scope import system_scope
from tenants.services.tree import move_check_register, tree_hold
from vms.models import Quota
from vms.models.quota import LIMITS
from vms.services.quota_usage import NAMES, Amounts, amount_words, quota_usages, tenant_usage

_ABOVE = system_scope("quotas above count what the person can't see")
_FIELDS = {"vcpus": "vcpus", "memory_mib": "memory_mib", "disk_gib": "disks"}
"""What a wish calls it."""


class QuotaExceededError(RuleError):
    """More than a quota allows."""

    code = "quota_exceeded"
    status = 409


@dataclass(frozen=True)
class QuotasHeld:
    """All quotas over a place, the nearest first, locked until the transaction ends."""

    tenant: Tenant
    quotas: tuple[Quota, ...]

    def must_fit(self, *, actor: Actor, more: Amounts) -> None:
        """Only what grows is asked for: a quota that is exceeded already forbids nothing else.

        Raises QuotaExceededError.
        """
        _must_fit(actor, self.tenant, self.quotas, more)


def quotas_hold(*, tenant: Tenant, site_id: uuid.UUID) -> QuotasHeld:
    """Take the turn of whoever wants something at this site of `tenant`. Called first of all in
    the transaction, before the host is locked; what is counted afterwards stays true."""
    tree_hold(tenant)
    with _ABOVE:
        # Where the tenant stands now that nobody moves it.
        tenant = Tenant.objects.select_related("parent__parent").get(pk=tenant.pk)
        return QuotasHeld(tenant, _locked(Quota.objects.over(tenant, site_id), tenant))


def _locked(quotas: "QuerySet[Quota]", tenant: Tenant) -> tuple[Quota, ...]:
    rows = quotas.select_for_update(of=("self",)).select_related("tenant__parent", "site")
    line = tenant.line()
    nearest = sorted(
        rows.order_by("id"), key=lambda q: (q.site_id is None, line.index(q.tenant_id))
    )
    return tuple(nearest)


def _must_fit(
    actor: Actor,
    tenant: Tenant,
    quotas: tuple[Quota, ...],
    more: Amounts,
    field: str | None = None,
) -> None:
    with _ABOVE:
        usages = quota_usages(quotas)
    for quota in quotas:
        used = usages[quota.pk]
        for name in LIMITS:
            limit = quota.limits[name]
            if limit is not None and more[name] > 0 and used[name] + more[name] > limit:
                said = _refusal(quota, name, used[name], more[name])
                if not _may_see(actor, quota):
                    said = _bare_refusal(tenant, name)
                raise QuotaExceededError(said, field=field or _FIELDS.get(name))


def _refusal(quota: Quota, name: str, used: int, more: int) -> str:
    limit = quota.limits[name] or 0
    of = "" if name in ("vms", "vcpus", "snapshots") else " of"
    with _ABOVE:
        above = quota.tenant.parent or quota.tenant
    return (
        f"The quota of {quota.of} allows {amount_words(name, limit)}{of} {NAMES[name]}: "
        f"{amount_words(name, used)} in use, {amount_words(name, more)} more asked for, "
        f"{amount_words(name, max(limit - used, 0))} left. Ask for less, give back what is not "
        f"needed, or ask {above.name} to raise the quota."
    )


def _bare_refusal(tenant: Tenant, name: str) -> str:
    """For who may not see the quota: whose it is, and how much others have, is not theirs to
    know. An MSP's name is: it stands on their pages."""
    with _ABOVE:
        msp = Tenant.objects.get(pk=tenant.line()[-1])
    return (
        f"{tenant.name} can't have more {NAMES[name]} now: a limit that {msp.name} has set is "
        f"reached. Ask for less, or ask {msp.name} for more."
    )


def _may_see(actor: Actor, quota: Quota) -> bool:
    if actor.user is None:
        return True
    return Quota.objects.allowed(actor.user, "tenant.view").filter(pk=quota.pk).exists()


# ------------------------------------------------------------------ moving a customer


def move_check_install() -> None:
    """Called once, when Django is ready."""
    move_check_register(move_must_fit)


def move_must_fit(actor: Actor, tenant: Tenant, parent: Tenant) -> None:
    """A customer brings all that it has into the group it moves to. Raises QuotaExceededError."""
    with _ABOVE:
        new = set(parent.line()) - set(tenant.line())
        rows = Quota.objects.filter(tenant__in=new, site=None)
        quotas = _locked(rows, parent)
        more = tenant_usage(tenant) if quotas else Amounts()
    _must_fit(actor, tenant, quotas, more, field="parent")
