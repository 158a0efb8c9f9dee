"""Who speaks for a tenant itself, rather than for one above it."""

from django.db.models import QuerySet

from tenants.models import Membership, Tenant, User


def held_in_the_house(tenant: Tenant, permission: str) -> "QuerySet[Membership]":
    """Memberships of the tenant's own people that give this. Of a customer: those with a
    customer's role on it, or on a group over it. Of an MSP: those with a role on it."""
    held = Membership.objects.current().filter(role__permissions__contains=[permission])
    if tenant.kind == Tenant.Kind.MSP:
        return held.filter(tenant=tenant)
    house = Tenant.objects.and_above(tenant).exclude(kind=Tenant.Kind.MSP).order_by()
    return (
        held.filter(tenant__in=house)
        .exclude(role__tenant=None, role__slug__startswith="msp-")
        .exclude(role__tenant__kind=Tenant.Kind.MSP)
    )


def of_the_house(user: User, tenant: Tenant, permission: str) -> bool:
    """Whether this person is one of the tenant's own, and holds that."""
    return user.is_active and held_in_the_house(tenant, permission).filter(user=user).exists()
