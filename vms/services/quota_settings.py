"""Setting quotas: never one's own, but an MSP's."""

from collections.abc import Mapping

from django.db import transaction

from tenants.actor import Actor
from tenants.errors import InvalidInputError, RuleError
from tenants.models import Site, Tenant
from tenants.services.audit import audit_record
from tenants.services.live import live_publish
from tenants.services.tree import tree_change
from vms.models import Quota
from vms.models.quota import LIMITS, MOST, tenants_settable


class QuotaFromAboveError(RuleError):
    """Who is bound by a quota does not set it."""

    code = "quota_from_above"
    status = 403


@transaction.atomic
def quota_set(
    *, actor: Actor, tenant: Tenant, site: Site | None = None, limits: Mapping[str, int | None]
) -> Quota:
    """The quota of `tenant` with all below it, or of one `site` of it: made, or changed where
    there is one. `limits` by the names in LIMITS; what is left out or None is unlimited. Less
    than there is already takes nothing away.

    Raises InvalidInputError, QuotaFromAboveError.
    """
    _check_may_set(actor, tenant)
    wished = _checked(limits)
    tree_change(tenant)
    quota = Quota.objects.select_for_update().filter(tenant=tenant, site=site).first()
    before = quota.limits if quota else dict.fromkeys(LIMITS)
    if quota is None:
        quota = Quota.objects.create(tenant=tenant, site=site, **wished)
    elif before == wished:
        return quota
    else:
        for name, limit in wished.items():
            setattr(quota, name, limit)
        quota.save(update_fields=list(wished))
    changed = [name for name in LIMITS if before[name] != wished[name]]
    _record(
        actor,
        quota,
        "quota.set",
        before={name: before[name] for name in changed},
        after={name: wished[name] for name in changed},
    )
    return quota


@transaction.atomic
def quota_remove(*, actor: Actor, quota: Quota) -> None:
    """No limit any more, but those above. Raises QuotaFromAboveError."""
    _check_may_set(actor, quota.tenant)
    tree_change(quota.tenant)
    quota = (
        Quota.objects.select_for_update(of=("self",))
        .select_related("tenant", "site")
        .get(pk=quota.pk)
    )
    before = {name: limit for name, limit in quota.limits.items() if limit is not None}
    _record(actor, quota, "quota.remove", before=before, after={})
    quota.delete()


def _check_may_set(actor: Actor, tenant: Tenant) -> None:
    if actor.user is None or tenants_settable(actor.user).filter(pk=tenant.pk).exists():
        return
    if tenant.parent is None:
        who = f"who manages quotas on all of {tenant.name}"
    else:
        who = f"who manages quotas on all of {tenant.parent.name}"
    raise QuotaFromAboveError(
        f"Quotas of {tenant.name} and its sites are set by {who}. Ask there to change one."
    )


def _checked(limits: Mapping[str, int | None]) -> dict[str, int | None]:
    wished = {name: limits.get(name) for name in LIMITS}
    for name, limit in wished.items():
        if limit is not None and not 0 <= limit <= MOST:
            raise InvalidInputError(f"A limit is a number from 0 to {MOST}.", field=name)
    if all(limit is None for limit in wished.values()):
        raise InvalidInputError(
            "A quota limits something: give at least one number. To lift all limits, remove it."
        )
    return wished


def _record(
    actor: Actor,
    quota: Quota,
    action: str,
    *,
    before: Mapping[str, int | None],
    after: Mapping[str, int | None],
) -> None:
    audit_record(
        actor=actor,
        tenant=quota.tenant,
        action=action,
        object_kind="quota",
        object_id=quota.id,
        object_name=quota.name,
        site_id=quota.site_id,
        before=before,
        after=after,
    )
    live_publish(tenant_id=quota.tenant_id, kind="quota", object_id=quota.id)
