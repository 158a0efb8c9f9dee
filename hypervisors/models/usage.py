"""How busy things were: samples of a minute for a day, means of 15 minutes for 30 days."""

from typing import Any, ClassVar, Self, TypeVar

from django.db import models

from hypervisors.models.hypervisor import Hypervisor
from tenants.models import Tenant, TenantQuerySet

MINUTE, QUARTER = 60, 900
"""Lengths of a sample, in seconds."""

FIGURES = (
    "cpu_percent",
    "memory_used_mib",
    "disk_used",
    "disk_read",
    "disk_write",
    "net_in",
    "net_out",
)

M = TypeVar("M", bound="UsageSample")


class UsageQuerySet(TenantQuerySet[M]):
    def of(self, subject_ids: "models.QuerySet[Any] | list[Any]") -> Self:
        """Samples of these hosts, or of these VMs."""
        return self.filter(**{f"{self.model.SUBJECT}__in": subject_ids})


class UsageSample(models.Model):
    """The means of one span of one thing. Rates in bytes per second; what nobody knows is None.

    No TenantOwnedModel: with millions of rows, a UUID and an index for each would cost more
    than all the figures.
    """

    SUBJECT: ClassVar[str]
    """The column that says whose sample it is."""

    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="+", db_index=False)
    at = models.DateTimeField()
    """When the span began: a whole minute, or a whole quarter of an hour."""
    span_s = models.PositiveSmallIntegerField()
    count = models.PositiveSmallIntegerField(default=1)
    """How many words of the agent went into it."""
    cpu_percent = models.FloatField()
    memory_used_mib = models.FloatField(null=True)
    disk_used = models.FloatField(null=True)
    disk_read = models.FloatField(null=True)
    disk_write = models.FloatField(null=True)
    net_in = models.FloatField(null=True)
    net_out = models.FloatField(null=True)

    class Meta:
        abstract = True


class HostUsageQuerySet(UsageQuerySet["HostUsage"]):
    pass


class HostUsage(UsageSample):
    """How busy a host was."""

    SUBJECT = "hypervisor_id"
    SITE = "hypervisor__site_id"

    hypervisor = models.ForeignKey(
        Hypervisor, on_delete=models.CASCADE, related_name="usage_samples", db_index=False
    )

    objects: ClassVar[HostUsageQuerySet] = HostUsageQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["hypervisor", "span_s", "at"], name="host_usage_once_per_span"
            )
        ]
        indexes = [models.Index(fields=["span_s", "at"], name="host_usage_by_age")]

    def __str__(self) -> str:
        return f"{self.hypervisor_id} at {self.at:%F %R}"
