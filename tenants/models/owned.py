"""The base of every model that belongs to a tenant."""

import uuid
from typing import Self, TypeVar

from django.contrib.auth.models import AnonymousUser
from django.db import models
from django.utils import timezone

from tenants.models.tenant import Tenant
from tenants.models.user import User

M = TypeVar("M", bound=models.Model)


class TenantQuerySet(models.QuerySet[M]):
    """Reads of tenant-owned rows. Every way in from outside starts with `allowed`."""

    def allowed(self, user: User | AnonymousUser, permission: str) -> Self:
        """Rows on which `user` holds `permission`. No membership means no rows.

        Raises UnknownPermissionError for a permission that does not exist.
        """
        tenants = Tenant.objects.allowed(user, permission).order_by().values("id")
        return self.filter(tenant__in=tenants)


class TenantOwnedModel(models.Model):
    """A row that belongs to one tenant, which never changes."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(default=timezone.now, editable=False, db_index=True)

    class Meta:
        abstract = True
