"""Who holds which role on which tenant."""

import uuid
from typing import Self

from django.contrib.auth.models import AnonymousUser
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.utils import timezone

from tenants.models.tenant import Tenant
from tenants.models.user import User


class Role(models.Model):
    """A named set of permissions. Built-in roles belong to no tenant and stay as they are."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    tenant = models.ForeignKey(Tenant, null=True, blank=True, on_delete=models.CASCADE)
    slug = models.SlugField(max_length=63)
    name = models.CharField(max_length=100)
    permissions = ArrayField(models.CharField(max_length=63))

    class Meta:
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "slug"], name="role_slug_once", nulls_distinct=False
            )
        ]

    def __str__(self) -> str:
        return self.name


class MembershipQuerySet(models.QuerySet["Membership"]):
    def allowed(self, user: User | AnonymousUser, permission: str) -> Self:
        """Memberships of tenants on which `user` holds `permission`, ended ones too."""
        tenants = Tenant.objects.allowed(user, permission).order_by().values("id")
        return self.filter(tenant__in=tenants)

    def current(self) -> Self:
        """Memberships that have not ended."""
        return self.filter(Q(expires_at=None) | Q(expires_at__gt=timezone.now()))

    def permissions_of(self, user: User, tenant: Tenant | None = None) -> frozenset[str]:
        """What `user` may do on `tenant`, or anywhere at all. Pages use it to leave out
        buttons that would be refused; the refusal itself is `.allowed`."""
        if not user.is_active:
            return frozenset()
        held = self.current().filter(user=user)
        if tenant is not None:
            held = held.filter(tenant__in=Tenant.objects.and_above(tenant))
        return frozenset().union(*held.values_list("role__permissions", flat=True))


class Membership(models.Model):
    """A role on a tenant, and so on all tenants below it."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="memberships")
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    role = models.ForeignKey(Role, on_delete=models.PROTECT, related_name="memberships")
    expires_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = MembershipQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["tenant", "user", "role"], name="membership_once")
        ]

    def __str__(self) -> str:
        return f"{self.user}: {self.role} of {self.tenant}"

    @property
    def ended(self) -> bool:
        """Whether it gives nothing any more."""
        return self.expires_at is not None and self.expires_at <= timezone.now()
