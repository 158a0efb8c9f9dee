"""How busy VMs were; see hypervisors.models.usage."""

from typing import ClassVar

from django.db import models

from hypervisors.models.usage import UsageQuerySet, UsageSample
from vms.models.vm import VirtualMachine


class VmUsageQuerySet(UsageQuerySet["VmUsage"]):
    pass


class VmUsage(UsageSample):
    """How busy a VM was, as its host measured it."""

    SUBJECT = "vm_id"
    SITE = "vm__hypervisor__site_id"
    VM = "vm_id"

    vm = models.ForeignKey(
        VirtualMachine, on_delete=models.CASCADE, related_name="usage_samples", db_index=False
    )

    objects: ClassVar[VmUsageQuerySet] = VmUsageQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["vm", "span_s", "at"], name="vm_usage_once_per_span")
        ]
        indexes = [models.Index(fields=["span_s", "at"], name="vm_usage_by_age")]

    def __str__(self) -> str:
        return f"{self.vm_id} at {self.at:%F %R}"
