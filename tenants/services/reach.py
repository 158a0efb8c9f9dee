"""Which tenants a person reaches."""

from uuid import UUID

from django.db.models import Q

from tenants.models import AccessRule, Membership, Tenant, User
from tenants.models.tenant import at_or_below


def reach_tenants(user: User) -> list[UUID]:
    """Every tenant in which `user` may see anything at all, if only one VM. One query."""
    if not user.is_active:
        return []
    held = Membership.objects.current().filter(user=user).values("tenant_id")
    given = AccessRule.objects.grants(user).order_by().values("tenant_id")
    denied = AccessRule.objects.tenants_denied(user).order_by().values("tenant_id")
    reached = Tenant.objects.filter(at_or_below(held) | Q(id__in=given))
    # Grants below a denied tenant are left out above, but cost nothing to leave out twice.
    reached = reached.exclude(at_or_below(denied))
    return list(reached.order_by().values_list("id", flat=True))
