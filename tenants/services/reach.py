"""Which tenants a person reaches."""

from uuid import UUID

from django.db.models import Q

from tenants.models import Membership, Tenant, User


def reach_tenants(user: User) -> list[UUID]:
    """Every tenant in which `user` may see anything at all. One query."""
    if not user.is_active:
        return []
    held = Membership.objects.current().filter(user=user).values("tenant_id")
    reached = Tenant.objects.filter(
        Q(id__in=held) | Q(parent_id__in=held) | Q(parent__parent_id__in=held)
    )
    return list(reached.order_by().values_list("id", flat=True))
