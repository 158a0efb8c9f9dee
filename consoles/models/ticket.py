"""Tickets: the right to open one console, once, in the next seconds."""

from typing import ClassVar

from django.db import models

from tenants.models import TenantOwnedModel, TenantQuerySet, User
from vms.models import VirtualMachine


class ConsoleTicketQuerySet(TenantQuerySet["ConsoleTicket"]):
    pass


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

    objects: ClassVar[ConsoleTicketQuerySet] = ConsoleTicketQuerySet.as_manager()  # type: ignore[assignment]

    def __str__(self) -> str:
        return f"{self.kind} of {self.vm} for {self.user}"
