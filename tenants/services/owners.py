"""Every MSP keeps an owner: whoever takes something away from members asks here first."""

from collections.abc import Collection
from uuid import UUID

from django.db.models import Q

from tenants.errors import RuleError
from tenants.models import Membership, Tenant
from tenants.scope import system_scope

OWNER = "msp-owner"


class LastOwnerError(RuleError):
    """It would leave an MSP without anybody who may do everything."""

    code = "last_owner"
    status = 409


def owners_must_remain(ending: Collection[UUID]) -> None:
    """Check that the memberships with these ids can end, be narrowed or be given an end. Inside
    of a transaction: until it ends, no other owner of the same MSP can be taken away.

    Raises LastOwnerError.
    """
    with system_scope("owners of an MSP are counted, whoever may see them"):
        owned = Tenant.objects.filter(
            memberships__in=Membership.objects.current().filter(
                Q(role__slug=OWNER, role__tenant=None), id__in=ending, tenant__kind="msp"
            )
        )
        # Locked in one order, so that two who leave at once don't wait for each other.
        ids = sorted(owned.values_list("id", flat=True))
        for tenant in Tenant.objects.select_for_update().filter(id__in=ids).order_by("id"):
            left = Membership.objects.filter(
                tenant=tenant,
                role__slug=OWNER,
                role__tenant=None,
                user__is_active=True,
                user__is_service=False,
                expires_at=None,
            )
            if not left.exclude(id__in=ending).exists():
                raise LastOwnerError(
                    f"{tenant.name} would be left without an owner. Make somebody else "
                    "“MSP owner” first, without an end."
                )
