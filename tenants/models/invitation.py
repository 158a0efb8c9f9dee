"""Invitations by e-mail: a role on a tenant, for whoever opens the link in time."""

from typing import ClassVar, Self

from django.db import models
from django.db.models import Q
from django.db.models.functions import Lower
from django.utils import timezone

from tenants.models.membership import Role
from tenants.models.owned import TenantOwnedModel, TenantQuerySet
from tenants.models.user import User


class InvitationQuerySet(TenantQuerySet["Invitation"]):
    def open(self) -> Self:
        """Those whose link still opens."""
        return self.filter(accepted_at=None, revoked_at=None, expires_at__gt=timezone.now())

    def to(self, email: str) -> Self:
        """Those sent to this address, however it is written."""
        return self.filter(email__iexact=email.strip())


class Invitation(TenantOwnedModel):
    """What somebody gets who opens the link. Only a hash of its secret is kept. Nobody's rights
    change before it is accepted."""

    class State(models.TextChoices):
        OPEN = "open", "Open"
        ACCEPTED = "accepted", "Accepted"
        EXPIRED = "expired", "Expired"
        REVOKED = "revoked", "Taken back"

    email = models.EmailField()
    role = models.ForeignKey(Role, on_delete=models.CASCADE, related_name="+")
    membership_expires_at = models.DateTimeField(null=True, blank=True)
    """When the membership that it gives ends. None: it does not."""
    invited_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    hash = models.CharField(max_length=64, unique=True)
    sent_at = models.DateTimeField(default=timezone.now)
    mailed = models.BooleanField(default=False)
    """A mail server took the message that was sent last."""
    expires_at = models.DateTimeField()
    accepted_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    objects: ClassVar[InvitationQuerySet] = InvitationQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        ordering = ["-created_at", "-id"]
        constraints = [
            models.UniqueConstraint(
                "tenant",
                "role",
                Lower("email"),
                condition=Q(accepted_at=None, revoked_at=None),
                name="invitation_once",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.email}: {self.role} of {self.tenant}"

    @property
    def state(self) -> State:
        """Where it stands now."""
        if self.accepted_at is not None:
            return self.State.ACCEPTED
        if self.revoked_at is not None:
            return self.State.REVOKED
        return self.State.EXPIRED if self.expires_at <= timezone.now() else self.State.OPEN
