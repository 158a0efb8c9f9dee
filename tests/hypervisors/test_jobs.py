"""The life of a job: every move of the table, and no other."""

import itertools
import threading
import uuid
from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.utils import timezone

from agent.protocol import JobError, JobFinished
from hypervisors.models import ENDED, TRANSITIONS, Hypervisor, Job, Status
from hypervisors.services.jobs import (
    IllegalMoveError,
    JobUnderWayError,
    VmBusyError,
    job_accepted,
    job_cancel,
    job_create,
    job_finished,
    job_move,
    job_progress,
    job_take_for_sending,
)
from hypervisors.services.links import Link
from hypervisors.services.sending import jobs_waiting
from hypervisors.tasks import GRACE, expire_jobs, mark_silent_hosts, push_waiting_jobs
from tenants.actor import SYSTEM
from tenants.scope import bound
from tests.factories import HypervisorFactory, JobFactory, VirtualMachineFactory

LEGAL = {
    ("queued", "sent"),
    ("queued", "cancelled"),
    ("queued", "expired"),
    ("sent", "running"),
    ("sent", "succeeded"),
    ("sent", "failed"),
    ("sent", "lost"),
    ("running", "succeeded"),
    ("running", "failed"),
    ("running", "lost"),
    ("lost", "succeeded"),
    ("lost", "failed"),
}
EVERY_PAIR = list(itertools.product(Status, Status))


def locked(job):
    return Job.objects.select_for_update().get(pk=job.pk)


def test_the_table_knows_every_state_and_ends_are_ends_but_for_lost():
    assert set(TRANSITIONS) == set(Status)
    assert {status for status in ENDED if TRANSITIONS[status]} == {Status.LOST}


@pytest.mark.parametrize(("before", "after"), EVERY_PAIR)
def test_a_move_is_made_or_refused_as_written_here(db, before, after):
    job = JobFactory(status=before)
    if (before, after) in LEGAL:
        job_move(locked(job), after)
        job.refresh_from_db()
        assert job.status == after
        assert job.events.get().status == after
        assert (job.finished_at is not None) == (after in ENDED)
    else:
        with pytest.raises(IllegalMoveError):
            job_move(locked(job), after)
        job.refresh_from_db()
        assert job.status == before


@pytest.mark.parametrize("status", Status)
@pytest.mark.parametrize("error", [None, JobError(code="internal", message="It broke.")])
def test_an_agents_end_is_taken_where_the_table_allows_and_ignored_elsewhere(db, status, error):
    job = JobFactory(status=status)
    report = JobFinished(job_id=str(job.pk), error=error)
    job_finished(hypervisor=job.hypervisor, report=report)
    job.refresh_from_db()
    word = Status.FAILED if error else Status.SUCCEEDED
    assert job.status == (word if (status, word) in LEGAL else status)


@pytest.mark.parametrize("status", Status)
def test_acceptance_and_progress_only_move_what_was_sent(db, status):
    job = JobFactory(status=status)
    job_accepted(hypervisor=job.hypervisor, job_id=str(job.pk))
    job_progress(hypervisor=job.hypervisor, job_id=str(job.pk), percent=50, step="x")
    job.refresh_from_db()
    alive = status in (Status.SENT, Status.RUNNING)
    assert job.status == (Status.RUNNING if alive else status)
    assert job.progress == (50 if alive else 0)


def test_only_one_job_at_a_time_holds_a_vm(db):
    vm = VirtualMachineFactory()
    options = {"actor": SYSTEM, "hypervisor": vm.hypervisor, "subject_id": vm.id}
    first = job_create(kind="vm.start", **options)
    with pytest.raises(VmBusyError):
        job_create(kind="vm.stop", **options)
    job_cancel(job=first)
    job_create(kind="vm.stop", **options)


def test_a_job_under_way_cannot_be_taken_back(db):
    with pytest.raises(JobUnderWayError):
        job_cancel(job=JobFactory(status=Status.SENT))


def test_a_job_whose_vm_is_gone_is_cancelled_instead_of_sent(db):
    job = JobFactory()
    assert job_take_for_sending(job.pk) is None
    job.refresh_from_db()
    assert (job.status, job.error_code) == (Status.CANCELLED, "obsolete")


@pytest.mark.django_db(transaction=True)
def test_a_job_is_taken_for_sending_once_however_many_try():
    vm = VirtualMachineFactory()
    job = JobFactory(hypervisor=vm.hypervisor, subject_id=vm.id)
    taken = []

    def take():
        if job_take_for_sending(job.pk) is not None:
            taken.append(1)
        connection.close()

    threads = [threading.Thread(target=bound(take)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == 1
    assert job.events.filter(status=Status.SENT).count() == 1


def test_an_agent_cannot_fill_the_disk_with_steps(db, monkeypatch):
    monkeypatch.setattr("hypervisors.services.jobs.MAX_EVENTS", 5)
    job = JobFactory(status=Status.RUNNING)
    for number in range(20):
        job_progress(
            hypervisor=job.hypervisor, job_id=str(job.pk), percent=1, step="x" * (number + 1)
        )
    assert job.events.count() == 5
    job.refresh_from_db()
    assert job.step == "x" * 20


# ------------------------------------------------------------------ what is sent again


def test_later_snapshots_bring_again_only_what_cannot_have_crossed_them(db):
    host = HypervisorFactory()
    link = Link(hypervisor_id=host.pk, tenant_id=host.tenant_id, channel="")
    now = timezone.now()
    old, known, crossing = (
        JobFactory(hypervisor=host, status=Status.SENT, sent_at=now - timedelta(seconds=age))
        for age in (60, 60, 1)
    )
    waiting = JobFactory(hypervisor=host)
    JobFactory(status=Status.SENT, sent_at=now - timedelta(seconds=60))
    first = jobs_waiting(link=link, known=[str(known.pk)], sent_before=None)
    later = jobs_waiting(link=link, known=[str(known.pk)], sent_before=now - timedelta(seconds=30))
    assert list(first.again) == [old.pk, crossing.pk]
    assert list(later.again) == [old.pk]
    assert list(first.first) == list(later.first) == [waiting.pk]


# ------------------------------------------------------------------ what the clock does


def test_a_job_that_was_never_sent_expires_at_its_deadline(db):
    late = JobFactory(deadline=timezone.now() - timedelta(seconds=1))
    early = JobFactory()
    assert expire_jobs() == 1
    late.refresh_from_db()
    early.refresh_from_db()
    assert (late.status, early.status) == (Status.EXPIRED, Status.QUEUED)
    assert "nothing was changed" in late.error_message


@pytest.mark.parametrize("status", [Status.SENT, Status.RUNNING])
def test_a_job_the_host_never_ended_is_lost_after_a_grace(db, status):
    now = timezone.now()
    silent = JobFactory(status=status, deadline=now - GRACE - timedelta(seconds=1))
    late = JobFactory(status=status, deadline=now - timedelta(minutes=1))
    assert expire_jobs() == 1
    silent.refresh_from_db()
    late.refresh_from_db()
    assert (silent.status, late.status) == (Status.LOST, status)


def test_a_creation_that_expires_leaves_no_vm_and_one_that_is_lost_keeps_it(db):
    gone, kept = VirtualMachineFactory(state="creating"), VirtualMachineFactory(state="creating")
    past = timezone.now() - GRACE - timedelta(minutes=1)
    for vm, status in ((gone, Status.QUEUED), (kept, Status.SENT)):
        JobFactory(
            kind="vm.create",
            hypervisor=vm.hypervisor,
            subject_id=vm.id,
            status=status,
            deadline=past,
        )
    assert expire_jobs() == 2
    assert not type(gone).objects.filter(pk=gone.pk).exists()
    assert type(kept).objects.filter(pk=kept.pk).exists()


@pytest.mark.django_db(transaction=True)
def test_expiry_passes_over_a_job_that_is_being_decided_on():
    job = JobFactory(deadline=timezone.now() - timedelta(seconds=1))
    ended = []

    def expire():
        ended.append(expire_jobs())
        connection.close()

    with transaction.atomic():
        locked(job)
        thread = threading.Thread(target=bound(expire))
        thread.start()
        thread.join(timeout=10)
        assert ended == [0]
    assert expire_jobs() == 1


def test_one_job_that_cannot_be_ended_does_not_hold_up_the_others(db, monkeypatch):
    broken = JobFactory(kind="no.such.kind", deadline=timezone.now() - timedelta(minutes=5))
    late = JobFactory(deadline=timezone.now() - timedelta(seconds=1))
    assert expire_jobs() == 1
    broken.refresh_from_db()
    late.refresh_from_db()
    assert (broken.status, late.status) == (Status.QUEUED, Status.EXPIRED)


def test_jobs_that_wait_for_a_connected_host_are_pushed_again(db):
    old = timezone.now() - timedelta(seconds=10)
    JobFactory(created_at=old)
    JobFactory(created_at=old, hypervisor=HypervisorFactory(online=False))
    JobFactory(created_at=old, status=Status.SENT)
    JobFactory()
    assert push_waiting_jobs() == 1


def test_a_host_that_is_silent_for_its_lease_is_shown_as_offline(db, settings):
    now = timezone.now()
    lease = timedelta(seconds=settings.BASALT_HOST_LEASE_S)
    silent = HypervisorFactory(last_seen_at=now - lease - timedelta(seconds=1))
    heard = HypervisorFactory(last_seen_at=now - lease + timedelta(seconds=5))
    assert mark_silent_hosts() == 1
    assert list(Hypervisor.objects.online()) == [heard]
    assert mark_silent_hosts() == 0
    silent.refresh_from_db()
    assert not silent.online


def test_words_of_another_host_are_not_heard(db):
    job, other = JobFactory(status=Status.RUNNING), HypervisorFactory()
    job_finished(hypervisor=other, report=JobFinished(job_id=str(job.pk)))
    job_progress(hypervisor=other, job_id=str(uuid.uuid4()), percent=5, step="x")
    job.refresh_from_db()
    assert job.status == Status.RUNNING
