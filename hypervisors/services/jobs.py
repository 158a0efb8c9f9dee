"""The life of a job. Every move goes through `job_move`, and so through the table."""

import re
import uuid
from datetime import timedelta
from typing import Any

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from agent.protocol import JobArguments, JobFinished
from hypervisors.models import ACTIVE, TRANSITIONS, Hypervisor, Job, JobEvent, Status
from hypervisors.services.job_kinds import JobObsoleteError, job_kind
from tenants.actor import Actor
from tenants.errors import RuleError
from tenants.services.audit import audit_record
from tenants.services.live import live_publish

_DIGITS = re.compile(r"\d+")
MAX_EVENTS = 500
"""Steps kept of one job. No honest job has so many, and an agent is not to fill the disk."""


class VmBusyError(RuleError):
    """Another job holds the VM."""

    code = "vm_busy"
    status = 409


class HostOfflineError(RuleError):
    """The host has no link to the portal."""

    code = "host_offline"
    status = 409


class IllegalMoveError(RuntimeError):
    """A move that is not in TRANSITIONS: a programming error."""


def host_group(hypervisor_id: uuid.UUID | str) -> str:
    """The channel-layer group of the consumers that hold this host's link."""
    return f"host.{hypervisor_id}"


def host_must_be_online(hypervisor: Hypervisor) -> None:
    """Raises HostOfflineError, with what to look at."""
    if hypervisor.online:
        return
    since = (
        f"since {hypervisor.last_seen_at:%d %b %H:%M} UTC"
        if hypervisor.last_seen_at
        else "and has never connected"
    )
    raise HostOfflineError(
        f"The host {hypervisor.name} is offline {since}. Check its power and its internet "
        "connection, then try again."
    )


class HostTooOldError(RuleError):
    """The host's agent does not know yet what is asked of it."""

    code = "host_too_old"
    status = 409


def host_must_speak(hypervisor: Hypervisor, protocol: int) -> None:
    """Raises HostTooOldError, with what to do, for a host whose agent is older than that."""
    if hypervisor.connected_at is not None and hypervisor.protocol < protocol:
        raise HostTooOldError(
            f"The agent of {hypervisor.name} is too old for this: it is version "
            f"{hypervisor.agent_version or 'unknown'}. Install it again on the host, with the "
            "command that “Add host” shows on the site's page; its VMs go on meanwhile."
        )


@transaction.atomic
def job_create(
    *,
    actor: Actor,
    hypervisor: Hypervisor,
    kind: str,
    subject_id: uuid.UUID | None = None,
    subject_name: str = "",
    arguments: dict[str, Any] | None = None,
) -> Job:
    """A queued job, pushed to the host on commit. Raises VmBusyError, HostOfflineError.

    Call it in the transaction of the change that it belongs to.
    """
    job_kind(kind)
    host_must_be_online(hypervisor)
    try:
        with transaction.atomic():
            job = Job.objects.create(
                tenant_id=hypervisor.tenant_id,
                hypervisor=hypervisor,
                kind=kind,
                subject_id=subject_id,
                subject_name=subject_name,
                arguments=arguments or {},
                requested_by=actor.user,
                requested_by_name=actor.name if actor.user else "",
                deadline=timezone.now() + timedelta(seconds=settings.BASALT_JOB_DEADLINE_S),
                step="Waiting for the host",
            )
    except IntegrityError as error:
        raise VmBusyError(
            f"Another job is working on “{subject_name}”. Wait until it has ended; "
            "you find it under Activity."
        ) from error
    JobEvent.objects.create(job=job, status=job.status, message=job.step)
    live_publish(tenant_id=job.tenant_id, kind="job", object_id=job.id)
    transaction.on_commit(lambda: job_push(job), robust=True)
    return job


def job_push(job: Job) -> None:
    """Tell the process that holds the host's link to send this job. Best effort: the
    sweep in hypervisors.tasks sends again what was not heard."""
    layer = get_channel_layer()
    if layer is not None:
        async_to_sync(layer.group_send)(
            host_group(job.hypervisor_id), {"type": "job.send", "job_id": str(job.id)}
        )


@transaction.atomic
def job_take_for_sending(job_id: uuid.UUID | str) -> tuple[Job, JobArguments] | None:
    """Mark a queued job as sent and put it into words. None when it is not queued any
    more, or has nothing left to act on (then it is cancelled)."""
    job = Job.objects.select_for_update().filter(pk=job_id, status=Status.QUEUED).first()
    if job is None:
        return None
    if job.deadline <= timezone.now():
        return None
    try:
        arguments = job_kind(job.kind).build(job)
    except JobObsoleteError as reason:
        job_end(job, Status.CANCELLED, code="obsolete", message=str(reason))
        return None
    job_move(job, Status.SENT, step="Sent to the host")
    return job, arguments


def job_move(job: Job, status: Status, *, step: str = "", progress: int | None = None) -> None:
    """One legal move, with its event. The caller holds the row's lock.

    Raises IllegalMoveError.
    """
    if status not in TRANSITIONS[Status(job.status)]:
        raise IllegalMoveError(f"job {job.pk}: {job.status} to {status}")
    now = timezone.now()
    job.status = status
    if status == Status.SENT:
        job.sent_at = now
    elif status == Status.RUNNING:
        job.accepted_at = now
    elif status not in ACTIVE:
        job.finished_at = now
    if step:
        job.step = step
    if progress is not None:
        job.progress = progress
    job.save()
    JobEvent.objects.create(
        job=job, status=status, progress=job.progress, message=job.error_message[:2000] or step
    )
    live_publish(tenant_id=job.tenant_id, kind="job", object_id=job.id)


def job_end(
    job: Job,
    status: Status,
    *,
    code: str = "",
    message: str = "",
    report: JobFinished | None = None,
) -> None:
    """End a locked job, and let its kind draw the consequences in the same transaction."""
    job.error_code, job.error_message = code, message
    job_move(
        job,
        status,
        step="Done" if status == Status.SUCCEEDED else status.label,
        progress=100 if status == Status.SUCCEEDED else None,
    )
    job_kind(job.kind).on_end(job, report)


@transaction.atomic
def job_accepted(*, hypervisor: Hypervisor, job_id: str) -> None:
    """The agent has the job in its journal. Late and repeated words change nothing."""
    job = _locked(hypervisor, job_id)
    if job is not None and job.status == Status.SENT:
        job_move(job, Status.RUNNING, step="Accepted by the host")


@transaction.atomic
def job_progress(*, hypervisor: Hypervisor, job_id: str, percent: int, step: str) -> None:
    """Progress never goes backwards, but for a job that was begun again."""
    job = _locked(hypervisor, job_id)
    if job is None or job.status not in (Status.SENT, Status.RUNNING):
        return
    if job.status == Status.SENT:
        job_move(job, Status.RUNNING)
    # "Downloading the image 43 %" is the step that "… 42 %" was.
    new_step = _DIGITS.sub("", step) != _DIGITS.sub("", job.step)
    job.progress, job.step = min(percent, 99), step[:255]
    job.save(update_fields=["progress", "step"])
    if new_step and job.events.count() < MAX_EVENTS:
        JobEvent.objects.create(job=job, status=job.status, progress=job.progress, message=job.step)
    live_publish(tenant_id=job.tenant_id, kind="job", object_id=job.id)


@transaction.atomic
def job_finished(*, hypervisor: Hypervisor, report: JobFinished) -> None:
    """The agent's last word. Hearing it twice is harmless."""
    job = _locked(hypervisor, report.job_id)
    if job is None:
        return
    status = Status.FAILED if report.error else Status.SUCCEEDED
    if status not in TRANSITIONS[Status(job.status)]:
        return
    job_end(
        job,
        status,
        code=report.error.code if report.error else "",
        message=report.error.message if report.error else "",
        report=report,
    )


@transaction.atomic
def job_cancel(*, job: Job, actor: Actor | None = None) -> Job:
    """Take back a job that was not sent yet; an event of its own, where it is `actor`'s own wish
    and not a part of another change. Raises JobUnderWayError."""
    locked = Job.objects.select_for_update().get(pk=job.pk)
    if locked.status != Status.QUEUED:
        raise JobUnderWayError("The host is working on this already: it can't be taken back.")
    job_end(locked, Status.CANCELLED, code="cancelled", message="Taken back before it began.")
    if actor is not None:
        audit_record(
            actor=actor,
            tenant=locked.tenant,
            action="job.cancel",
            object_kind="job",
            object_id=locked.id,
            object_name=f"{locked.kind} {locked.subject_name}",
            site_id=locked.hypervisor.site_id,
        )
    return locked


class JobUnderWayError(RuleError):
    code = "job_under_way"
    status = 409


def _locked(hypervisor: Hypervisor, job_id: str) -> Job | None:
    # Only this host's jobs: one site can never speak for another.
    return Job.objects.select_for_update().filter(pk=job_id, hypervisor=hypervisor).first()
