"""What people changed."""

from typing import Any, ClassVar, Self

from django.contrib.auth.models import AnonymousUser
from django.db import models

from tenants.models.api_token import ApiToken
from tenants.models.holdings import holdings_of
from tenants.models.owned import TenantOwnedModel, TenantQuerySet
from tenants.models.user import User


class AuditEventQuerySet(TenantQuerySet["AuditEvent"]):
    def allowed(self, user: User | AnonymousUser, permission: str) -> Self:
        """As everywhere; but whoever is denied a part of a tenant sees no events of that tenant,
        as they name the part."""
        rows = super().allowed(user, permission)
        parted = {part.tenant_id for part in holdings_of(user).denied_parts}
        return rows.exclude(tenant__in=parted) if parted else rows


class AuditEvent(TenantOwnedModel):
    """One change by a person or token. Written once, never changed."""

    actor = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    actor_name = models.CharField(max_length=254)
    token = models.ForeignKey(ApiToken, null=True, on_delete=models.SET_NULL, related_name="+")
    ip = models.GenericIPAddressField(null=True)
    action = models.CharField(max_length=63)
    object_kind = models.CharField(max_length=63)
    object_id = models.UUIDField(null=True, db_index=True)
    object_name = models.CharField(max_length=254)
    before: "models.JSONField[Any, Any]" = models.JSONField(default=dict)
    after: "models.JSONField[Any, Any]" = models.JSONField(default=dict)

    objects: ClassVar[AuditEventQuerySet] = AuditEventQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        ordering = ["-created_at", "-id"]

    def __str__(self) -> str:
        return f"{self.actor_name}: {self.action} {self.object_name}"
