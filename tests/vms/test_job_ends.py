"""What the end of a job means for its VM, whatever the end and however often it is told."""

import pytest

from agent.protocol import (
    DeleteVm,
    JobError,
    JobFinished,
    RenameVm,
    ResizeVm,
    VmReport,
)
from hypervisors.models import Job, Status
from hypervisors.services.jobs import (
    VmBusyError,
    job_accepted,
    job_end,
    job_finished,
    job_take_for_sending,
)
from tenants.actor import SYSTEM
from tenants.errors import InvalidInputError, NameTakenError
from tests.factories import (
    GIB,
    SSH_KEY,
    HypervisorFactory,
    ImageVersionFactory,
    NetworkFactory,
    VirtualMachineFactory,
)
from vms.models import Disk, Nic, VirtualMachine
from vms.services.capacity import NotEnoughDiskError, NotEnoughMemoryError
from vms.services.changes import VmMustBeOffError, vm_delete, vm_rename, vm_resize
from vms.services.creation import VmRequest, vm_create
from vms.services.power import VmNotReadyError, vm_reboot, vm_shutdown, vm_start, vm_stop

pytestmark = pytest.mark.django_db
State = VirtualMachine.State
ERROR = JobError(code="not_enough_disk", message="The disk is full. Make room.")


@pytest.fixture
def host():
    host = HypervisorFactory()
    NetworkFactory(hypervisor=host)
    return host


@pytest.fixture
def creation(host):
    request = VmRequest(
        name="web-1",
        image=ImageVersionFactory().image,
        vcpus=1,
        memory_mib=1024,
        disks_gib=[10],
        username="ada",
        ssh_keys=[SSH_KEY],
        password="correct horse 42",
    )
    return vm_create(actor=SYSTEM, hypervisor=host, request=request)


@pytest.fixture
def vm(host):
    return VirtualMachineFactory(hypervisor=host, name="web-1")


@pytest.fixture
def off(vm):
    vm.observed_power = "off"
    vm.save()
    return vm


def sent(job: Job):
    """What the host is told, once the job is sent."""
    _, words = job_take_for_sending(job.id)
    return words


def finish(job: Job, *, sender=None, **report) -> None:
    job_finished(
        hypervisor=sender or job.hypervisor, report=JobFinished(job_id=str(job.id), **report)
    )


def lose(job: Job) -> None:
    job.refresh_from_db()
    job_end(job, Status.LOST, code="lost", message="No word.")


# ------------------------------------------------------------------ creation


def test_a_created_vm_is_ready_and_its_secrets_leave_the_database(creation):
    vm, job = creation
    assert vm.sealed_secrets
    sent(job)
    job_accepted(hypervisor=job.hypervisor, job_id=str(job.id))
    finish(job, vm=VmReport(vm_id=str(vm.id), power="running"))
    vm.refresh_from_db()
    assert (vm.state, vm.observed_power, vm.sealed_secrets) == (State.READY, "running", None)


@pytest.mark.parametrize("end", ["failed", "expired", "cancelled"])
def test_a_creation_that_failed_leaves_no_vm_but_a_job_that_says_why(creation, end):
    vm, job = creation
    if end == "failed":
        sent(job)
        finish(job, error=ERROR)
    elif end == "expired":
        job_end(job, Status.EXPIRED, code="expired", message="The host did not come back.")
    else:
        vm_delete(actor=SYSTEM, vm=vm)
    assert VirtualMachine.objects.count() == Disk.objects.count() == Nic.objects.count() == 0
    job.refresh_from_db()
    assert (job.status, job.subject_name) == (end, "web-1")
    assert job.error_message


def test_a_lost_creation_keeps_the_vm_and_the_agents_later_word_wins(creation):
    vm, job = creation
    sent(job)
    lose(job)
    vm.refresh_from_db()
    # Nothing is sent again after this, so what was sealed has no use here any more.
    assert (vm.state, vm.sealed_secrets) == (State.CREATING, None)
    finish(job, vm=VmReport(vm_id=str(vm.id), power="running"))
    vm.refresh_from_db()
    job.refresh_from_db()
    assert (vm.state, job.status) == (State.READY, Status.SUCCEEDED)


def test_a_lost_creation_that_failed_after_all_leaves_nothing(creation):
    vm, job = creation
    sent(job)
    lose(job)
    finish(job, error=ERROR)
    assert not VirtualMachine.objects.filter(pk=vm.pk).exists()


def test_a_lost_creation_can_be_deleted_and_its_late_success_changes_nothing(creation):
    vm, job = creation
    sent(job)
    lose(job)
    removal = vm_delete(actor=SYSTEM, vm=vm)
    assert isinstance(sent(removal), DeleteVm)
    finish(removal)
    finish(job, vm=VmReport(vm_id=str(vm.id), power="running"))
    assert not VirtualMachine.objects.filter(pk=vm.pk).exists()


def test_hearing_an_end_twice_is_harmless(creation):
    vm, job = creation
    sent(job)
    finish(job)
    finish(job, error=ERROR)
    vm.refresh_from_db()
    assert vm.state == State.READY


def test_another_host_cant_end_the_job(creation):
    vm, job = creation
    sent(job)
    finish(job, sender=HypervisorFactory(), error=ERROR)
    vm.refresh_from_db()
    job.refresh_from_db()
    assert (vm.state, job.status) == (State.CREATING, Status.SENT)


def test_while_it_is_created_nothing_else_can_be_done_to_it(creation):
    vm, job = creation
    with pytest.raises(VmBusyError, match="Another job is working on “web-1”"):
        vm_start(actor=SYSTEM, vm=vm)
    sent(job)
    lose(job)
    with pytest.raises(VmNotReadyError, match="still being created"):
        vm_start(actor=SYSTEM, vm=vm)
    assert Job.objects.filter(kind="vm.start").count() == 0


# ------------------------------------------------------------------ power


def test_power_wishes_are_kept_apart_from_what_is_seen(vm):
    for wish, desired in ((vm_shutdown, "off"), (vm_start, "running"), (vm_stop, "off")):
        job = wish(actor=SYSTEM, vm=vm)
        vm.refresh_from_db()
        assert (vm.desired_power, vm.observed_power) == (desired, "running")
        sent(job)
        finish(job, error=ERROR)
    job = vm_reboot(actor=SYSTEM, vm=vm, force=True)
    assert sent(job).force is True


def test_the_state_after_a_power_job_is_what_the_host_reports(vm):
    job = vm_stop(actor=SYSTEM, vm=vm)
    sent(job)
    finish(job, vm=VmReport(vm_id=str(vm.id), power="off"))
    vm.refresh_from_db()
    assert vm.observed_power == "off"


def test_a_report_about_another_vm_in_the_answer_is_ignored(vm):
    other = VirtualMachineFactory()
    job = vm_stop(actor=SYSTEM, vm=vm)
    sent(job)
    finish(job, vm=VmReport(vm_id=str(other.id), power="off"))
    other.refresh_from_db()
    vm.refresh_from_db()
    assert (vm.observed_power, other.observed_power) == ("running", "running")


# ------------------------------------------------------------------ changes


def test_a_resize_shows_once_the_host_has_done_it(off):
    boot = off.disks.get()
    wishes = [(boot.id, 20), (None, 5)]
    job = vm_resize(actor=SYSTEM, vm=off, vcpus=4, memory_mib=2048, disks=wishes)
    off.refresh_from_db()
    assert (off.vcpus, off.memory_mib, off.disks.count()) == (1, 1024, 1)
    words = sent(job)
    assert isinstance(words, ResizeVm)
    assert (words.vcpus, words.memory_mib, words.autostart) == (4, 2048, None)
    assert [disk.size for disk in words.disks] == [20 * GIB, 5 * GIB]
    assert words.disks[0].disk_id == str(boot.id)
    finish(job)
    off.refresh_from_db()
    assert (off.vcpus, off.memory_mib) == (4, 2048)
    assert [(disk.position, disk.size_gib) for disk in off.disks.all()] == [(0, 20), (1, 5)]
    assert str(off.disks.last().id) == words.disks[1].disk_id


def test_a_failed_resize_changes_nothing(off):
    job = vm_resize(actor=SYSTEM, vm=off, memory_mib=2048, disks=[(None, 5)])
    sent(job)
    finish(job, error=ERROR)
    off.refresh_from_db()
    assert (off.memory_mib, off.disks.count()) == (1024, 1)


def test_a_running_vm_is_not_resized_but_its_autostart_is_changed(vm):
    with pytest.raises(VmMustBeOffError, match="Shut it down first"):
        vm_resize(actor=SYSTEM, vm=vm, memory_mib=2048)
    assert not Job.objects.exists()
    job = vm_resize(actor=SYSTEM, vm=vm, autostart=False)
    assert sent(job).autostart is False
    finish(job)
    vm.refresh_from_db()
    assert vm.autostart is False


@pytest.mark.parametrize(
    ("wish", "error", "words"),
    [
        ({}, InvalidInputError, "Nothing would change"),
        ({"vcpus": 1, "memory_mib": 1024}, InvalidInputError, "Nothing would change"),
        ({"vcpus": 99}, InvalidInputError, "between 1 and 16"),
        ({"memory_mib": 100}, InvalidInputError, "at least 256"),
        ({"memory_mib": 32_500}, NotEnoughMemoryError, "MiB of memory left"),
        ({"disks": [(None, 500)]}, NotEnoughDiskError, "GiB of disk left"),
        ({"disks": [(None, 0)]}, InvalidInputError, "between 1 and"),
        ({"disks": [(None, 1)] * 30}, InvalidInputError, "between 1 and 24 disks"),
    ],
)
def test_a_resize_that_can_not_be_is_refused(off, wish, error, words):
    with pytest.raises(error, match=words):
        vm_resize(actor=SYSTEM, vm=off, **wish)
    assert not Job.objects.exists()


def test_a_disk_never_shrinks(off):
    with pytest.raises(InvalidInputError, match="can only grow"):
        vm_resize(actor=SYSTEM, vm=off, disks=[(off.disks.get().id, 5)])


def test_memory_of_a_resize_under_way_is_promised(host, off):
    vm_resize(actor=SYSTEM, vm=off, memory_mib=30_000)
    other = VirtualMachineFactory(hypervisor=host, observed_power="off")
    with pytest.raises(NotEnoughMemoryError):
        vm_resize(actor=SYSTEM, vm=other, memory_mib=4096)


def test_a_rename_holds_at_once_and_is_taken_back_when_the_host_refuses(vm):
    job = vm_rename(actor=SYSTEM, vm=vm, name="Web-2")
    vm.refresh_from_db()
    assert (vm.name, vm.hostname) == ("Web-2", "web-2")
    words = sent(job)
    assert isinstance(words, RenameVm)
    assert (words.name, words.hostname) == ("Web-2", "web-2")
    finish(job, error=ERROR)
    vm.refresh_from_db()
    assert (vm.name, vm.hostname) == ("web-1", "web-1")


def test_a_rename_to_a_name_in_use_is_refused(host, vm):
    VirtualMachineFactory(hypervisor=host, name="web-2")
    with pytest.raises(NameTakenError, match="has a VM named “WEB-2” already"):
        vm_rename(actor=SYSTEM, vm=vm, name="WEB-2")
    assert not Job.objects.exists()


def test_a_name_can_change_its_case(vm):
    vm_rename(actor=SYSTEM, vm=vm, name="WEB-1")
    vm.refresh_from_db()
    assert vm.name == "WEB-1"


def test_a_rename_is_not_taken_back_onto_a_name_that_is_in_use_by_now(host, vm):
    job = vm_rename(actor=SYSTEM, vm=vm, name="web-2")
    VirtualMachineFactory(hypervisor=host, name="web-1")
    sent(job)
    finish(job, error=ERROR)
    vm.refresh_from_db()
    assert vm.name == "web-2"


def test_a_failed_delete_keeps_the_vm(vm):
    job = vm_delete(actor=SYSTEM, vm=vm, keep_disks=True)
    assert sent(job).keep_disks is True
    finish(job, error=ERROR)
    assert VirtualMachine.objects.filter(pk=vm.pk).exists()
