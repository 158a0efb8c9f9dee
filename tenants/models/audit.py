"""What people did: events, their chain, and what vouches for it. See docs/decisions/0012."""

import uuid
from typing import Any, ClassVar, Self

from django.contrib.auth.models import AnonymousUser
from django.db import models
from django.db.models import ExpressionWrapper, Q
from django.utils import timezone

from tenants.models.access_rule import AccessRule
from tenants.models.api_token import ApiToken
from tenants.models.membership import Membership
from tenants.models.owned import TenantOwnedModel, TenantQuerySet
from tenants.models.tenant import Tenant
from tenants.models.user import User

PORTAL_CHAIN = uuid.UUID(int=0)
"""The chain of events that belong to no MSP."""


# Keys that bind nothing. What is asked of them has indexes of its own.
_LOOSE: dict[str, Any] = {"db_constraint": False, "db_index": False}


class DeletedTenant(models.Model):
    """What is left of a customer that was deleted, so that its events find their readers."""

    id = models.UUIDField(primary_key=True, editable=False)
    name = models.CharField(max_length=100)
    reach_tenant = models.ForeignKey(Tenant, null=True, on_delete=models.SET_NULL, related_name="+")
    """Whoever may read the audit log of this one may read the deleted one's."""
    chain_id = models.UUIDField(default=PORTAL_CHAIN)
    deleted_at = models.DateTimeField(default=timezone.now, editable=False)

    def __str__(self) -> str:
        return self.name


class AuditEventQuerySet(TenantQuerySet["AuditEvent"]):
    def allowed(self, user: User | AnonymousUser, permission: str) -> Self:
        """Events of tenants on which `user` holds `permission`, and of deleted ones below."""
        tenants = Tenant.objects.allowed(user, permission).order_by().values("id")
        gone = DeletedTenant.objects.filter(reach_tenant__in=tenants).values("id")
        rows = self.filter(Q(tenant__in=tenants) | Q(tenant__in=gone))
        if not isinstance(user, User):
            return rows
        # Whoever is denied a part of a tenant sees no events of that tenant, as they name it.
        return rows.exclude(tenant__in=AccessRule.objects.parts_denied(user).values("tenant_id"))

    def with_whence(self, user: User | AnonymousUser) -> Self:
        """Each with `whence`: whether `user` may see its address, browser and credential. One's
        own, colleagues', and all where one reads the whole MSP's log: a customer learns who
        touched its things, not from where its MSP's technicians work."""
        tenants = Tenant.objects.allowed(user, "audit.view").order_by().values("id")
        colleagues = Membership.objects.filter(tenant__in=tenants).values("user_id")
        known = Q(chain_id__in=tenants) | Q(actor__in=colleagues) | Q(actor__isnull=True)
        if user.pk:
            known |= Q(actor_id=user.pk)
        return self.annotate(whence=ExpressionWrapper(known, output_field=models.BooleanField()))


class AuditEvent(TenantOwnedModel):
    """One change by a person, a token or the portal. Written once, never changed.

    It points at rows that may be deleted long before it is: the keys bind nothing.
    """

    class ActorKind(models.TextChoices):
        PERSON = "person", "Person"
        TOKEN = "token", "Token"
        SERVICE = "service", "Service account"
        SYSTEM = "system", "Basalt"

    chain_id = models.UUIDField(default=PORTAL_CHAIN, editable=False)
    """The MSP at the root. The database decides, whatever is said here."""
    tenant = models.ForeignKey(  # type: ignore[assignment]
        Tenant, null=True, on_delete=models.DO_NOTHING, related_name="+", **_LOOSE
    )
    """Whose thing it was; None where it belongs to nobody but the portal."""
    tenant_name = models.CharField(max_length=100, default="")
    site_id = models.UUIDField(null=True)
    actor = models.ForeignKey(
        User, null=True, on_delete=models.DO_NOTHING, related_name="+", **_LOOSE
    )
    actor_kind = models.CharField(max_length=16, choices=ActorKind, default=ActorKind.SYSTEM)
    actor_name = models.CharField(max_length=254)
    token = models.ForeignKey(
        ApiToken, null=True, on_delete=models.DO_NOTHING, related_name="+", **_LOOSE
    )
    credential = models.CharField(max_length=64, default="")
    """What was shown at the door, so that it can be told from others: never enough to get in."""
    ip = models.GenericIPAddressField(null=True)
    user_agent = models.CharField(max_length=120, default="")
    action = models.CharField(max_length=63)
    object_kind = models.CharField(max_length=63)
    object_id = models.UUIDField(null=True)
    object_name = models.CharField(max_length=254)
    before: "models.JSONField[Any, Any]" = models.JSONField(default=dict)
    after: "models.JSONField[Any, Any]" = models.JSONField(default=dict)

    objects: ClassVar[AuditEventQuerySet] = AuditEventQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        ordering = ["-created_at", "-id"]
        indexes = [
            models.Index(fields=["tenant", "-created_at", "-id"], name="audit_of_tenant"),
            models.Index(fields=["object_id", "-created_at"], name="audit_of_object"),
            models.Index(fields=["actor", "-created_at"], name="audit_of_actor"),
        ]

    def __str__(self) -> str:
        return f"{self.actor_name}: {self.action} {self.object_name}"


class AuditLink(models.Model):
    """An event's place in its chain. Written by the database alone, when a change commits."""

    event = models.OneToOneField(
        AuditEvent,
        primary_key=True,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        related_name="link",
    )
    chain_id = models.UUIDField()
    seq = models.BigIntegerField()
    """1, 2, 3 … without a gap."""
    hash = models.BinaryField(max_length=32)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["chain_id", "seq"], name="audit_link_once"),
        ]

    def __str__(self) -> str:
        return f"{self.chain_id} {self.seq}"


class AuditCheckpoint(models.Model):
    """A signed word about a chain: after event `seq` its hash was this."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    chain_id = models.UUIDField()
    name = models.CharField(max_length=100)
    seq = models.BigIntegerField()
    hash = models.BinaryField(max_length=32)
    anchor = models.BooleanField(default=False)
    """Events up to this one were archived and removed: the chain begins after it."""
    made_at = models.DateTimeField(default=timezone.now, editable=False)
    key = models.CharField(max_length=64)
    signature = models.CharField(max_length=128)

    class Meta:
        ordering = ["chain_id", "seq", "made_at"]
        indexes = [models.Index(fields=["chain_id", "-seq"], name="audit_checkpoint_of")]

    def __str__(self) -> str:
        return f"{self.name} {self.seq}"


class AuditVerification(models.Model):
    """What came of checking a chain, the last time."""

    chain_id = models.UUIDField(primary_key=True)
    name = models.CharField(max_length=100)
    events = models.BigIntegerField()
    """How many were read."""
    seq = models.BigIntegerField()
    """The last event that is vouched for."""
    problem = models.TextField(default="")
    """What is wrong, in a sentence; empty when nothing is."""
    checked_at = models.DateTimeField(default=timezone.now, editable=False)

    def __str__(self) -> str:
        return f"{self.name} {self.seq}"
