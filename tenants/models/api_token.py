"""Bearer tokens of the API. Only a hash is kept."""

import hashlib
import secrets
import uuid
from datetime import timedelta
from typing import ClassVar, Self

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.utils import timezone

from tenants.models.user import User

PREFIX = "bslt_"
LISTED = timedelta(days=30)
"""How long an expired token stays in lists."""
ENDS_SOON = timedelta(days=7)
"""So long before its end, people are told."""


def token_new() -> str:
    """A fresh secret: the prefix and 256 random bits."""
    return PREFIX + secrets.token_urlsafe(32)


def token_hash(secret: str) -> str:
    """SHA-256, in hex. Enough for a random secret: there is nothing to guess."""
    return hashlib.sha256(secret.encode()).hexdigest()


class ApiTokenQuerySet(models.QuerySet["ApiToken"]):
    def good(self) -> Self:
        """Those that open something: not revoked, not expired, nor what they were made with, and
        of an account that is open."""
        now = timezone.now()
        return self.filter(
            Q(expires_at=None) | Q(expires_at__gt=now),
            Q(made_with=None) | Q(made_with__expires_at=None) | Q(made_with__expires_at__gt=now),
            revoked_at=None,
            made_with__revoked_at=None,
            user__is_active=True,
        )

    def listed(self) -> Self:
        """Those that are shown: not revoked, and not expired for long."""
        since = timezone.now() - LISTED
        return self.filter(Q(expires_at=None) | Q(expires_at__gt=since), revoked_at=None)


class ApiToken(models.Model):
    """A token acts as its user, with what of the user's own permissions it is good for. What that
    is never changes; what the user holds does."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="api_tokens")
    name = models.CharField(max_length=100)
    prefix = models.CharField(max_length=12)
    hash = models.CharField(max_length=64, unique=True)
    permissions = ArrayField(models.CharField(max_length=63), null=True, blank=True)
    """None: all that the user holds."""
    tenants = ArrayField(models.UUIDField(), null=True, blank=True)
    """Ids of those it is good for, with all below them. None: wherever the user gets."""
    made_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    made_by_name = models.CharField(max_length=254, default="", blank=True)
    """Kept beside the person, who may leave before a service account does."""
    made_with = models.ForeignKey(
        "self", null=True, blank=True, on_delete=models.CASCADE, related_name="made"
    )
    """The token that asked for this one. It is good for no more than that, and no longer."""
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    expires_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)
    last_used_ip = models.GenericIPAddressField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    expiry_told_at = models.DateTimeField(null=True, blank=True)
    """When its person was told that it ends soon."""

    objects: ClassVar[ApiTokenQuerySet] = ApiTokenQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"

    @property
    def narrow(self) -> bool:
        """Whether it may be good for less than its user."""
        parts = (self, self.made_with) if self.made_with is not None else (self,)
        return any(one.permissions is not None or one.tenants is not None for one in parts)

    @property
    def bound(self) -> bool:
        """Whether it may be good for less, or not for as long, and so speaks for itself alone."""
        return self.narrow or self.made_with_id is not None

    @property
    def expired(self) -> bool:
        return self.expires_at is not None and self.expires_at <= timezone.now()

    @property
    def ends_soon(self) -> bool:
        """Whether it ends within a week, and has not ended yet."""
        return (
            self.expires_at is not None
            and not self.expired
            and self.expires_at <= timezone.now() + ENDS_SOON
        )
