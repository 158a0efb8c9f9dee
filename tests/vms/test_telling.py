"""Telling guests something else, resetting passwords, and running first boots again."""

import msgspec
import pytest

from agent.protocol import JobError, JobFinished, TellVm, open_sealed, seal
from hypervisors.models import Job, Status
from hypervisors.services.jobs import VmBusyError, job_end, job_finished, job_take_for_sending
from tenants.actor import SYSTEM
from tenants.errors import InvalidInputError
from tenants.models import AuditEvent
from tests.factories import SSH_KEY, HypervisorFactory, NetworkFactory, VirtualMachineFactory
from vms.models import VirtualMachine
from vms.services.power import VmNotReadyError
from vms.services.sealed import SealedSecrets
from vms.services.telling import HostTooOldError, vm_first_boot, vm_tell

pytestmark = pytest.mark.django_db

PASSWORD = "another one 43"
OTHER_KEY = SSH_KEY.rsplit(" ", 1)[0] + " second"


@pytest.fixture
def host():
    host = HypervisorFactory()
    NetworkFactory(hypervisor=host)
    return host


@pytest.fixture
def vm(host):
    return VirtualMachineFactory(hypervisor=host, name="web-1")


def words(job: Job) -> TellVm:
    _, told = job_take_for_sending(job.id)
    return told


def finish(job: Job, **report) -> None:
    job_finished(hypervisor=job.hypervisor, report=JobFinished(job_id=str(job.id), **report))


def opened(host, vm, box: bytes) -> dict:
    plain = open_sealed(host.seal_private, box, purpose=f"vm:{vm.id}")
    return msgspec.msgpack.decode(plain)


# ------------------------------------------------------------------ telling


def test_what_is_told_is_of_the_same_instance_and_holds_no_secret(vm):
    job = vm_tell(actor=SYSTEM, vm=vm, ssh_keys=[OTHER_KEY], tags={"role": "web"})
    told = words(job)
    assert (told.guest.instance_id, told.guest.sealed_secrets) == (str(vm.id), None)
    assert (told.guest.ssh_keys, told.guest.tags) == ([OTHER_KEY], {"role": "web"})
    vm.refresh_from_db()
    assert vm.tags == {}  # until the host has done it
    finish(job)
    vm.refresh_from_db()
    assert (vm.ssh_keys, vm.tags) == ([OTHER_KEY], {"role": "web"})


def test_what_the_host_refuses_changes_nothing(vm):
    job = vm_tell(actor=SYSTEM, vm=vm, tags={"role": "web"})
    words(job)
    finish(job, error=JobError(code="internal", message="No."))
    vm.refresh_from_db()
    assert vm.tags == {}


def test_user_data_is_checked_with_its_variables(vm):
    with pytest.raises(InvalidInputError, match="nonsense"):
        vm_tell(actor=SYSTEM, vm=vm, user_data="#!/bin/sh\necho {{ nonsense }}\n")
    job = vm_tell(actor=SYSTEM, vm=vm, user_data="#!/bin/sh\necho {{ hostname }}\n")
    assert words(job).guest.user_data == "#!/bin/sh\necho {{ hostname }}\n"


@pytest.mark.parametrize(
    ("wishes", "sentence"),
    [
        ({}, "Nothing would change"),
        ({"tags": {}}, "Nothing would change"),
        ({"ssh_keys": []}, "Leave at least one key"),
        ({"ssh_keys": ["not a key"]}, "is not an SSH public key"),
        ({"tags": {"": "x"}}, "tag"),
        ({"tags": {"a\nb": "x"}}, "tag"),
        ({"tags": {"a": "x" * 1025}}, "tag"),
        ({"tags": {str(number): "" for number in range(65)}}, "at most 50 tags"),
        ({"user_data": "nonsense"}, "cloud-init does not know"),
    ],
)
def test_what_makes_no_sense_is_refused_with_a_sentence_and_no_job(vm, wishes, sentence):
    with pytest.raises(InvalidInputError, match=sentence):
        vm_tell(actor=SYSTEM, vm=vm, **wishes)


def test_one_thing_at_a_time(vm):
    vm_tell(actor=SYSTEM, vm=vm, tags={"a": "b"})
    with pytest.raises(VmBusyError):
        vm_first_boot(actor=SYSTEM, vm=vm, password=PASSWORD)


def test_a_vm_that_is_missing_is_told_nothing(vm):
    vm.state = VirtualMachine.State.MISSING
    vm.save()
    with pytest.raises(VmNotReadyError):
        vm_tell(actor=SYSTEM, vm=vm, tags={"a": "b"})


@pytest.mark.parametrize("act", [vm_tell, vm_first_boot])
def test_a_host_that_speaks_an_older_protocol_is_not_asked(vm, act):
    vm.hypervisor.protocol = 2
    vm.hypervisor.save()
    with pytest.raises(HostTooOldError, match="too old"):
        act(actor=SYSTEM, vm=vm)
    assert not Job.objects.exists()


# ------------------------------------------------------------------ first boots again


def test_a_new_password_is_sealed_to_the_host_for_a_new_instance(host, vm):
    job = vm_first_boot(actor=SYSTEM, vm=vm, password=PASSWORD, reset=True)
    assert job.kind == "vm.reset_password"
    assert PASSWORD not in str(job.arguments)
    vm.refresh_from_db()
    assert PASSWORD.encode() not in bytes(vm.sealed_secrets)
    guest = words(job).guest
    assert guest.instance_id not in ("", str(vm.id))
    assert opened(host, vm, guest.sealed_secrets) == {"password": PASSWORD, "user_data": None}
    finish(job)
    vm.refresh_from_db()
    assert (vm.instance_id, vm.sealed_secrets) == (guest.instance_id, None)
    assert vm.has_password


@pytest.mark.parametrize("end", ["failed", "lost", "expired", "cancelled"])
def test_sealed_secrets_leave_the_database_whatever_the_end(vm, end):
    job = vm_first_boot(actor=SYSTEM, vm=vm, password=PASSWORD)
    if end in ("failed", "lost"):
        words(job)
        job.refresh_from_db()
    if end == "failed":
        finish(job, error=JobError(code="internal", message="No."))
    else:
        job_end(job, Status(end), code=end, message="No word.")
    vm.refresh_from_db()
    assert (vm.sealed_secrets, vm.instance_id, vm.has_password) == (None, "", False)


def test_the_same_words_are_sent_again(vm):
    job = vm_first_boot(actor=SYSTEM, vm=vm, password=PASSWORD)
    first = words(job)
    Job.objects.update(status=Status.QUEUED)
    assert words(job) == first


def test_changes_after_it_are_of_the_new_instance(vm):
    finished = vm_first_boot(actor=SYSTEM, vm=vm, password=PASSWORD)
    instance = words(finished).guest.instance_id
    finish(finished)
    vm.refresh_from_db()
    told = words(vm_tell(actor=SYSTEM, vm=vm, tags={"a": "b"}))
    assert (told.guest.instance_id, told.guest.sealed_secrets) == (instance, None)


def test_secrets_sealed_by_the_sender_are_passed_on_as_they_are(host, vm):
    box = seal(
        bytes(host.seal_public),
        msgspec.msgpack.encode({"password": PASSWORD}),
        purpose=f"vm:{vm.id}",
    )
    sealed = SealedSecrets(vm_id=vm.id, box=box, has_password=True, has_user_data=False)
    assert words(vm_first_boot(actor=SYSTEM, vm=vm, sealed=sealed)).guest.sealed_secrets == box


@pytest.mark.parametrize(
    ("wishes", "sentence"),
    [
        ({"reset": True}, "Give the new password"),
        ({"password": "short"}, "at least 8"),
        ({"user_data": "nonsense", "password": PASSWORD}, "cloud-init does not know"),
    ],
)
def test_a_first_boot_that_makes_no_sense_is_refused(vm, wishes, sentence):
    with pytest.raises(InvalidInputError, match=sentence):
        vm_first_boot(actor=SYSTEM, vm=vm, **wishes)
    vm.refresh_from_db()
    assert vm.sealed_secrets is None


def test_a_vm_without_keys_needs_a_password(vm):
    vm.ssh_keys = []
    vm.save()
    with pytest.raises(InvalidInputError, match="nobody could get in"):
        vm_first_boot(actor=SYSTEM, vm=vm)


def test_what_was_sealed_for_another_vm_or_given_twice_is_refused(host, vm):
    other = VirtualMachineFactory(hypervisor=host, name="web-2")
    sealed = SealedSecrets(vm_id=other.id, box=b"x" * 48, has_password=True, has_user_data=False)
    with pytest.raises(InvalidInputError, match="another VM"):
        vm_first_boot(actor=SYSTEM, vm=vm, sealed=sealed)
    own = SealedSecrets(vm_id=vm.id, box=b"x" * 48, has_password=True, has_user_data=False)
    with pytest.raises(InvalidInputError, match="not both"):
        vm_first_boot(actor=SYSTEM, vm=vm, sealed=own, password=PASSWORD)


def test_who_did_it_stands_in_the_audit_log_and_what_it_was_does_not(vm):
    vm_first_boot(actor=SYSTEM, vm=vm, password=PASSWORD, reset=True)
    event = AuditEvent.objects.get(action="vm.reset_password")
    assert event.object_id == vm.id
    assert PASSWORD not in str(event.before) + str(event.after)
