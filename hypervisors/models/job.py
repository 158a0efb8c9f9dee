"""Jobs: what we asked of a host, and what became of it. Every legal move in one table."""

from types import MappingProxyType
from typing import Any, ClassVar, Self

from django.db import models
from django.db.models import Q
from django.utils import timezone

from hypervisors.models.hypervisor import Hypervisor
from tenants.models import TenantOwnedModel, TenantQuerySet, User


class Status(models.TextChoices):
    QUEUED = "queued", "Waiting for the host"
    SENT = "sent", "Sent to the host"
    RUNNING = "running", "Running"
    SUCCEEDED = "succeeded", "Done"
    FAILED = "failed", "Failed"
    CANCELLED = "cancelled", "Cancelled"
    EXPIRED = "expired", "Expired"
    LOST = "lost", "No word from the host"


ACTIVE = frozenset({Status.QUEUED, Status.SENT, Status.RUNNING})
ENDED = frozenset(Status) - ACTIVE

TRANSITIONS = MappingProxyType(
    {
        Status.QUEUED: frozenset({Status.SENT, Status.CANCELLED, Status.EXPIRED}),
        # The answer can overtake the acceptance when a finished job is reported again.
        Status.SENT: frozenset({Status.RUNNING, Status.SUCCEEDED, Status.FAILED, Status.LOST}),
        Status.RUNNING: frozenset({Status.SUCCEEDED, Status.FAILED, Status.LOST}),
        # The site's link came back after we gave up: the agent's word wins.
        Status.LOST: frozenset({Status.SUCCEEDED, Status.FAILED}),
        Status.SUCCEEDED: frozenset(),
        Status.FAILED: frozenset(),
        Status.CANCELLED: frozenset(),
        Status.EXPIRED: frozenset(),
    }
)


class JobQuerySet(TenantQuerySet["Job"]):
    def active(self) -> Self:
        return self.filter(status__in=ACTIVE)

    def for_subject(self, subject_id: Any) -> Self:
        return self.filter(subject_id=subject_id)


class Job(TenantOwnedModel):
    """One wish of a user, for one host. The row tells the truth about it.

    `subject_id` is the VM it is about: only one job at a time holds a VM.
    """

    SITE = "hypervisor__site_id"
    VM = "subject_id"

    hypervisor = models.ForeignKey(Hypervisor, on_delete=models.CASCADE, related_name="jobs")
    kind = models.CharField(max_length=63)
    """Dotted: `vm.start`. Registered in hypervisors.services.job_kinds."""
    subject_id = models.UUIDField(null=True, blank=True, db_index=True)
    subject_name = models.CharField(max_length=100, blank=True)
    arguments: "models.JSONField[dict[str, Any], dict[str, Any]]" = models.JSONField(default=dict)
    """Visible to people; never holds a secret."""
    status = models.CharField(max_length=16, choices=Status, default=Status.QUEUED)
    progress = models.PositiveSmallIntegerField(default=0)
    """0 to 100."""
    step = models.CharField(max_length=255, blank=True)
    error_code = models.CharField(max_length=64, blank=True)
    error_message = models.TextField(blank=True)
    requested_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    requested_by_name = models.CharField(max_length=254, blank=True)
    """Kept beside the person: who looks at the job may not be one who may see their account."""
    deadline = models.DateTimeField()
    sent_at = models.DateTimeField(null=True, blank=True)
    accepted_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    objects: ClassVar[JobQuerySet] = JobQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        ordering = ["-created_at", "-id"]
        indexes = [
            models.Index(fields=["hypervisor", "status"], name="job_by_host_and_status"),
            models.Index(fields=["tenant", "-created_at"], name="job_by_tenant_newest"),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["subject_id"],
                condition=Q(status__in=["queued", "sent", "running"], subject_id__isnull=False),
                name="job_one_active_per_subject",
            ),
            models.CheckConstraint(name="job_progress_percent", condition=Q(progress__lte=100)),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.subject_name}"

    @property
    def asked_by(self) -> str:
        """Who asked for it, for people. Load `requested_by` along with the job."""
        return str(self.requested_by or self.requested_by_name or "Basalt")

    @property
    def active(self) -> bool:
        return self.status in ACTIVE


class JobEvent(models.Model):
    """One step of a job, in order."""

    id = models.BigAutoField(primary_key=True)
    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="events")
    at = models.DateTimeField(default=timezone.now)
    status = models.CharField(max_length=16, choices=Status)
    progress = models.PositiveSmallIntegerField(default=0)
    message = models.CharField(max_length=2000, blank=True)

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return f"{self.status}: {self.message}"
