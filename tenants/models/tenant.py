"""The tenant tree, and the base of every model that belongs to a tenant."""

import uuid
from collections.abc import Collection
from typing import TYPE_CHECKING, Any, Self

from django.contrib.auth.models import AnonymousUser
from django.db import models
from django.db.models import Q
from django.db.models.functions import Lower
from django.utils import timezone

from tenants.permissions import check_known

if TYPE_CHECKING:
    from tenants.models.user import User

MAX_DEPTH = 3
"""MSP, group of customers, customer: the tree is never deeper."""


def at_or_below(
    tenants: "models.QuerySet[Any, Any] | Collection[uuid.UUID]", prefix: str = ""
) -> Q:
    """Rows whose tenant is one of these or below one: tenants, or with `prefix` ("tenant__") what
    leads to theirs. `tenants` are ids."""
    own = "tenant_id" if prefix else "id"
    return (
        Q(**{f"{own}__in": tenants})
        | Q(**{f"{prefix}parent_id__in": tenants})
        | Q(**{f"{prefix}parent__parent_id__in": tenants})
    )


class TenantTreeQuerySet(models.QuerySet["Tenant"]):
    def allowed(self, user: "User | AnonymousUser", permission: str) -> Self:
        """Tenants on which `user` holds `permission`, by a membership there or above, and that
        are not denied them, there or above."""
        from tenants.models.holdings import holdings_of

        check_known(permission)
        held = holdings_of(user)
        tenants = held.tenants(permission)
        if not tenants:
            return self.none()
        rows = self.filter(at_or_below(tenants))
        denied = held.denied_tenants
        return rows.exclude(at_or_below(denied)) if denied else rows

    def touched(self, user: "User | AnonymousUser", permission: str) -> Self:
        """Tenants on which, or on a site of which, `user` holds `permission`."""
        from tenants.models.holdings import holdings_of

        whole = self.allowed(user, permission)
        parts = holdings_of(user).parts(permission)
        sites = {part.tenant_id for part in parts if part.site_id}
        if not sites:
            return whole
        return self.filter(Q(id__in=whole.order_by().values("id")) | Q(id__in=sites))

    def and_above(self, tenant: "Tenant") -> Self:
        """`tenant` and the tenants over it."""
        return self.filter(id__in=tenant.line())


class Tenant(models.Model):
    """An MSP, a customer of one, or a group of its customers."""

    class Kind(models.TextChoices):
        MSP = "msp", "MSP"
        GROUP = "group", "Group of customers"
        CUSTOMER = "customer", "Customer"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    kind = models.CharField(max_length=16, choices=Kind)
    name = models.CharField(max_length=100)
    slug = models.SlugField(max_length=63, unique=True)
    parent = models.ForeignKey(
        "self", null=True, blank=True, on_delete=models.PROTECT, related_name="children"
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    custom_fields: "models.JSONField[dict[str, str], dict[str, str]]" = models.JSONField(
        default=dict, blank=True
    )
    """What the MSP notes of it, by names: scripts of its VMs may use them."""
    vendor_data = models.TextField(blank=True)
    """Of an MSP: cloud-config or a script for the VMs of all its customers."""

    objects = TenantTreeQuerySet.as_manager()

    class Meta:
        ordering = ["name", "id"]
        constraints = [
            models.CheckConstraint(
                name="tenant_msp_has_no_parent",
                condition=Q(kind="msp", parent=None)
                | Q(kind__in=["group", "customer"], parent__isnull=False),
            ),
            models.UniqueConstraint("parent", Lower("name"), name="tenant_name_once_per_parent"),
        ]

    def __str__(self) -> str:
        return self.name

    def line(self) -> list[uuid.UUID]:
        """Its id and those of the tenants over it, upwards."""
        above = self.parent.line() if self.parent is not None else []
        return [self.id, *above]
