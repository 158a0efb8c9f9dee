"""A customer's consent: that a technician's console to a VM needs its approval."""

from datetime import timedelta
from typing import ClassVar, Self

from django.db import models
from django.utils import timezone

from tenants.models import Tenant, TenantOwnedModel, TenantQuerySet, User
from vms.models import VirtualMachine


class ConsentRuleQuerySet(TenantQuerySet["ConsentRule"]):
    def about(self, vm: VirtualMachine) -> Self:
        """Rules that hold for this VM: its own, and those of its tenant and of tenants above."""
        above = Tenant.objects.and_above(vm.tenant)
        return self.filter(models.Q(vm=vm) | models.Q(vm=None, tenant__in=above))


class ConsentRule(TenantOwnedModel):
    """Whoever reaches a VM from above the customer asks before opening its console. Without a
    `vm`, it holds for all VMs of the tenant and of those below it."""

    SITE = "vm__hypervisor__site_id"
    VM = "vm_id"

    vm = models.ForeignKey(
        VirtualMachine, null=True, blank=True, on_delete=models.CASCADE, related_name="+"
    )

    objects: ClassVar[ConsentRuleQuerySet] = ConsentRuleQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "vm"], name="consent_rule_once", nulls_distinct=False
            )
        ]

    def __str__(self) -> str:
        return f"Consent for {self.vm or self.tenant}"


class ConsentRequestQuerySet(TenantQuerySet["ConsentRequest"]):
    def waiting(self) -> Self:
        """Those that nobody has decided on, in time."""
        now = timezone.now()
        return self.filter(decided_at=None, created_at__gt=now - ConsentRequest.WAITS)

    def good(self) -> Self:
        """Approvals that hold now."""
        return self.filter(approved_until__gt=timezone.now())


class ConsentRequest(TenantOwnedModel):
    """Somebody asked to open a VM's console, and said why."""

    SITE = "vm__hypervisor__site_id"
    VM = "vm_id"
    WAITS = timedelta(hours=24)
    """How long it can be decided on."""

    class State(models.TextChoices):
        WAITING = "waiting", "Waiting"
        APPROVED = "approved", "Approved"
        REFUSED = "refused", "Refused"
        OVER = "over", "Over"

    vm = models.ForeignKey(VirtualMachine, on_delete=models.CASCADE, related_name="+")
    requester = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    requester_name = models.CharField(max_length=254)
    """As the customer reads it, who may not see people of the MSP."""
    reason = models.CharField(max_length=500)
    decided_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    decided_at = models.DateTimeField(null=True, blank=True)
    approved_until = models.DateTimeField(null=True, blank=True)
    """None where it was refused, or is waiting."""

    objects: ClassVar[ConsentRequestQuerySet] = ConsentRequestQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        ordering = ["-created_at", "-id"]

    def __str__(self) -> str:
        return f"{self.requester_name}: {self.vm}"

    @property
    def state(self) -> State:
        """Where it stands now."""
        now = timezone.now()
        if self.approved_until is not None:
            return self.State.APPROVED if self.approved_until > now else self.State.OVER
        if self.decided_at is not None:
            return self.State.REFUSED
        return self.State.WAITING if self.created_at > now - self.WAITS else self.State.OVER
