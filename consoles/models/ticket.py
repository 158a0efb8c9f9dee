"""Tickets: the right to open one console, once, in the next seconds."""

from datetime import timedelta
from typing import ClassVar, Self

from django.db import models
from django.utils import timezone

from tenants.models import ApiToken, TenantOwnedModel, TenantQuerySet, User
from vms.models import VirtualMachine

SEEN_EVERY = timedelta(seconds=60)
"""How often an open console is looked at, and says that it is still there."""
_FORGOTTEN = 3 * SEEN_EVERY


class ConsoleTicketQuerySet(TenantQuerySet["ConsoleTicket"]):
    def open(self) -> Self:
        """Tickets whose consoles are open now. One whose process died is so for a little more."""
        return self.filter(closed_at=None, seen_at__gt=timezone.now() - _FORGOTTEN)


class ConsoleTicket(TenantOwnedModel):
    """Bound to one user, VM and kind of console. Only a hash is kept."""

    SITE = "vm__hypervisor__site_id"
    VM = "vm_id"

    class Kind(models.TextChoices):
        VNC = "vnc", "Screen"
        SERIAL = "serial", "Serial"

    vm = models.ForeignKey(VirtualMachine, on_delete=models.CASCADE, related_name="+")
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    kind = models.CharField(max_length=8, choices=Kind)
    hash = models.CharField(max_length=64, unique=True)
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True, blank=True)
    token = models.ForeignKey(
        ApiToken, null=True, blank=True, on_delete=models.CASCADE, related_name="+"
    )
    """The token of the API that it was made with: the console ends with it."""
    seen_at = models.DateTimeField(null=True, blank=True)
    """When its console was last known to be open."""
    closed_at = models.DateTimeField(null=True, blank=True)

    objects: ClassVar[ConsoleTicketQuerySet] = ConsoleTicketQuerySet.as_manager()  # type: ignore[assignment]

    def __str__(self) -> str:
        return f"{self.kind} of {self.vm} for {self.user}"
