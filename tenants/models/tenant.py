"""The tenant tree, and the base of every model that belongs to a tenant."""

import uuid
from typing import TYPE_CHECKING, Self

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


class TenantTreeQuerySet(models.QuerySet["Tenant"]):
    def allowed(self, user: "User | AnonymousUser", permission: str) -> Self:
        """Tenants on which `user` holds `permission`, by a membership there or above."""
        check_known(permission)
        if not user.is_authenticated or not user.is_active:
            return self.none()
        from tenants.models.membership import Membership

        held = Membership.objects.current().filter(
            user=user, role__permissions__contains=[permission]
        )
        tenants = held.values("tenant_id")
        return self.filter(
            Q(id__in=tenants) | Q(parent_id__in=tenants) | Q(parent__parent_id__in=tenants)
        )

    def and_above(self, tenant: "Tenant") -> Self:
        """`tenant` and the tenants over it."""
        ids = [tenant.id]
        while tenant.parent is not None:
            tenant = tenant.parent
            ids.append(tenant.id)
        return self.filter(id__in=ids)


class Tenant(models.Model):
    """An MSP, or a customer of one."""

    class Kind(models.TextChoices):
        MSP = "msp", "MSP"
        CUSTOMER = "customer", "Customer"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    kind = models.CharField(max_length=16, choices=Kind)
    name = models.CharField(max_length=100)
    slug = models.SlugField(max_length=63, unique=True)
    parent = models.ForeignKey(
        "self", null=True, blank=True, on_delete=models.PROTECT, related_name="children"
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = TenantTreeQuerySet.as_manager()

    class Meta:
        ordering = ["name", "id"]
        constraints = [
            models.CheckConstraint(
                name="tenant_msp_has_no_parent",
                condition=Q(kind="msp", parent=None) | Q(kind="customer", parent__isnull=False),
            ),
            models.UniqueConstraint("parent", Lower("name"), name="tenant_name_once_per_parent"),
        ]

    def __str__(self) -> str:
        return self.name
