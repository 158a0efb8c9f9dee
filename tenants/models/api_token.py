"""Bearer tokens of the API. Only a hash is kept."""

import hashlib
import secrets
import uuid

from django.db import models
from django.utils import timezone

from tenants.models.user import User

PREFIX = "bslt_"


def token_new() -> str:
    """A fresh secret: the prefix and 256 random bits."""
    return PREFIX + secrets.token_urlsafe(32)


def token_hash(secret: str) -> str:
    """SHA-256, in hex. Enough for a random secret: there is nothing to guess."""
    return hashlib.sha256(secret.encode()).hexdigest()


class ApiToken(models.Model):
    """A token acts as its user, with no more than the user's own permissions."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="api_tokens")
    name = models.CharField(max_length=100)
    prefix = models.CharField(max_length=12)
    hash = models.CharField(max_length=64, unique=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    expires_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"
