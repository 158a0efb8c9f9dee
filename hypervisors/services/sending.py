"""Which jobs go down a host's link, first and again."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import structlog
from django.db import transaction

from agent.protocol import JobRequest
from hypervisors.models import Job, Status
from hypervisors.services.job_kinds import JobObsoleteError, job_kind
from hypervisors.services.jobs import job_end, job_take_for_sending
from hypervisors.services.links import Link, link_must_hold

log = structlog.get_logger("hypervisors.sending")

_MOST_AT_ONCE = 1000


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """Jobs of a host that its link should carry now."""

    again: Sequence[UUID]
    """Sent before, but not in the agent's journal: it may never have heard of them."""
    first: Sequence[UUID]


def jobs_waiting(*, link: Link, known: Sequence[str], sent_before: datetime | None) -> Waiting:
    """What to send after a snapshot. `known` are the jobs in the agent's journal. With
    `sent_before`, only jobs sent before that moment are sent again: a younger one may have
    crossed the snapshot on its way."""
    jobs = Job.objects.filter(hypervisor_id=link.hypervisor_id).order_by("created_at", "id")
    doubtful = jobs.filter(status__in=[Status.SENT, Status.RUNNING]).exclude(pk__in=known)
    if sent_before is not None:
        doubtful = doubtful.filter(sent_at__lt=sent_before)
    return Waiting(
        again=list(doubtful.values_list("pk", flat=True)[:_MOST_AT_ONCE]),
        first=list(jobs.filter(status=Status.QUEUED).values_list("pk", flat=True)[:_MOST_AT_ONCE]),
    )


@transaction.atomic
def job_request(*, link: Link, job_id: UUID | str) -> JobRequest | None:
    """Mark a queued job as sent and put it into words. None where there is nothing to send.

    Raises LinkLostError, so that a job is never marked as sent for a link that is gone.
    """
    link_must_hold(link)
    if not Job.objects.filter(pk=job_id, hypervisor_id=link.hypervisor_id).exists():
        return None
    taken = job_take_for_sending(job_id)
    if taken is None:
        return None
    job, arguments = taken
    return JobRequest(job_id=str(job.pk), deadline=job.deadline.timestamp(), arguments=arguments)


@transaction.atomic
def job_request_again(*, link: Link, job_id: UUID) -> JobRequest | None:
    """A job that was sent before, in the same words and under the same id. One that has
    nothing left to act on ends as failed. Raises LinkLostError."""
    link_must_hold(link)
    job = (
        Job.objects.select_for_update(of=("self",))
        .filter(pk=job_id, hypervisor_id=link.hypervisor_id)
        .filter(status__in=[Status.SENT, Status.RUNNING])
        .first()
    )
    if job is None:
        return None
    try:
        arguments = job_kind(job.kind).build(job)
    except JobObsoleteError as reason:
        job_end(job, Status.FAILED, code="obsolete", message=str(reason))
        return None
    log.info("job sent again", job_id=str(job.pk), kind=job.kind)
    return JobRequest(job_id=str(job.pk), deadline=job.deadline.timestamp(), arguments=arguments)
