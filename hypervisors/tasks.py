"""What must happen later, or again. Each task may run twice, or on two workers at once."""

from datetime import timedelta
from uuid import UUID

import structlog
from asgiref.sync import async_to_sync
from celery import shared_task
from channels.layers import get_channel_layer
from django.conf import settings
from django.db import models, transaction
from django.utils import timezone

from hypervisors.models import HostUsage, Hypervisor, Job, Status
from hypervisors.services.jobs import host_group, job_end
from hypervisors.services.usage import samples_thin_out
from tenants.scope import system_scope
from tenants.services.live import live_publish

log = structlog.get_logger("hypervisors.tasks")

GRACE = timedelta(minutes=10)
"""How long after its deadline a job that was sent may still be heard of."""
_PUSHED_AT_ONCE = timedelta(seconds=2)
_BATCH = 1000


@shared_task(scope=system_scope("jobs of all hosts are pushed"))  # type: ignore[untyped-decorator]
def push_waiting_jobs() -> int:
    """Tell links of jobs that wait though their host is connected: the push at commit was
    lost. Answers how many."""
    waiting = list(
        Job.objects.filter(
            status=Status.QUEUED,
            hypervisor__online=True,
            created_at__lt=timezone.now() - _PUSHED_AT_ONCE,
            deadline__gt=timezone.now(),
        )
        .order_by("created_at")
        .values_list("hypervisor_id", "pk")[:_BATCH]
    )
    if waiting:
        async_to_sync(_push)(waiting)
    return len(waiting)


async def _push(waiting: list[tuple[UUID, UUID]]) -> None:
    layer = get_channel_layer()
    if layer is not None:
        for hypervisor_id, job_id in waiting:
            await layer.group_send(
                host_group(hypervisor_id), {"type": "job.send", "job_id": str(job_id)}
            )


@shared_task(scope=system_scope("jobs of all hosts expire"))  # type: ignore[untyped-decorator]
def expire_jobs() -> int:
    """End jobs that nobody will end any more. Answers how many."""
    now = timezone.now()
    late = Job.objects.filter(status=Status.QUEUED, deadline__lte=now)
    silent = Job.objects.filter(status__in=[Status.SENT, Status.RUNNING], deadline__lte=now - GRACE)
    ended = 0
    for job_id in [*_ids(late), *_ids(silent)]:
        try:
            ended += _give_up(job_id)
        except Exception:
            # The next job shall not wait for this one's fault; the next run tries again.
            log.exception("job could not be ended", job_id=str(job_id))
    return ended


def _ids(jobs: models.QuerySet[Job]) -> list[UUID]:
    return list(jobs.order_by("deadline").values_list("pk", flat=True)[:_BATCH])


@transaction.atomic
def _give_up(job_id: UUID) -> bool:
    # Skipped where a link or another worker has the row: it is being decided on just now.
    job = (
        Job.objects.select_for_update(of=("self",), skip_locked=True)
        .select_related("hypervisor")
        .filter(pk=job_id)
        .first()
    )
    if job is None:
        return False
    host = job.hypervisor.name
    if job.status == Status.QUEUED:
        job_end(
            job,
            Status.EXPIRED,
            code="expired",
            message=f"{host} did not take the job in time: nothing was changed. Look at the "
            "host's connection, then ask again.",
        )
        return True
    if job.status in (Status.SENT, Status.RUNNING):
        job_end(
            job,
            Status.LOST,
            code="lost",
            message=f"{host} has not said how this ended. When it connects again, its word "
            "will be shown here.",
        )
        return True
    return False


@shared_task(scope=system_scope("hosts of all tenants may fall silent"))  # type: ignore[untyped-decorator]
@transaction.atomic
def mark_silent_hosts() -> int:
    """Show hosts as offline that have said nothing for the length of their lease: the process
    that held their link died, or the line was cut without a word. Answers how many."""
    since = timezone.now() - timedelta(seconds=settings.BASALT_HOST_LEASE_S)
    silent = list(
        Hypervisor.objects.select_for_update(of=("self",), skip_locked=True, no_key=True)
        .filter(online=True, last_seen_at__lt=since)
        .only("pk", "tenant_id")[:_BATCH]
    )
    Hypervisor.objects.filter(pk__in=[host.pk for host in silent]).update(online=False)
    for host in silent:
        live_publish(tenant_id=host.tenant_id, kind="hypervisor", object_id=host.pk)
    return len(silent)


@shared_task(scope=system_scope("samples of all hosts grow old"))  # type: ignore[untyped-decorator]
def thin_out_host_usage() -> int:
    """Keep the history of hosts small. Answers how many rows were deleted."""
    return samples_thin_out(HostUsage)
