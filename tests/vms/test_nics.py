"""NICs that are added, removed and changed: the rows, the host's words, and every end of a job."""

import threading

import pytest
from django.db import connection

from agent.protocol import (
    AttachNic,
    ChangeNic,
    DetachNic,
    JobError,
    JobFinished,
    NicReport,
    VmReport,
)
from hypervisors.models import Job, Network, Status
from hypervisors.services.addresses import AddressOutsideError, AddressTakenError
from hypervisors.services.jobs import (
    HostOfflineError,
    HostTooOldError,
    VmBusyError,
    job_end,
    job_finished,
    job_take_for_sending,
)
from hypervisors.services.networks import network_change
from tenants.actor import SYSTEM
from tenants.errors import InvalidInputError
from tenants.models import AuditEvent
from tenants.scope import bound
from tests.factories import (
    SSH_KEY,
    HypervisorFactory,
    ImageVersionFactory,
    NetworkFactory,
    VirtualMachineFactory,
)
from vms.models import Nic, VirtualMachine
from vms.services.creation import NicRequest, VmRequest, vm_create
from vms.services.nics import NicGoneError, nic_add, nic_change, nic_remove
from vms.services.observing import vm_observed
from vms.services.power import VmNotReadyError, vm_start

pytestmark = pytest.mark.django_db
ERROR = JobError(code="no_free_slot", message="No slot is left. Shut it down.")


@pytest.fixture
def host():
    return HypervisorFactory()


@pytest.fixture
def network(host):
    return NetworkFactory(
        hypervisor=host, name="lab", subnet6="fd00:77::/64", gateway6="fd00:77::1"
    )


@pytest.fixture
def vm(host, network):
    return VirtualMachineFactory(hypervisor=host, network=network, name="web-1")


def sent(job: Job):
    _, words = job_take_for_sending(job.id)
    return words


def finish(job: Job, **report) -> None:
    job_finished(hypervisor=job.hypervisor, report=JobFinished(job_id=str(job.id), **report))


def test_a_nic_has_its_addresses_from_the_moment_it_is_asked_for(vm, network):
    job = nic_add(actor=SYSTEM, vm=vm, network=network)
    nic = vm.nics.get(position=1)
    assert (nic.address, nic.address6) == ("10.77.0.2", "fd00:77::2")
    words = sent(job)
    assert isinstance(words, AttachNic)
    assert (words.nic.nic_id, words.nic.mac) == (str(nic.id), nic.mac)
    assert (words.nic.address, words.nic.address6) == ("10.77.0.2/24", "fd00:77::2/64")
    assert (words.nic.network.gateway6, words.nic.guard) == ("fd00:77::1", True)
    event = AuditEvent.objects.get(action="vm.nic-add")
    assert event.after["mac"] == nic.mac
    finish(job)
    assert vm.nics.count() == 2


def test_a_new_vm_has_the_addresses_that_were_asked_for(host, network):
    nics = [NicRequest(network=network, address="10.77.0.9", address6="fd00:77::9")]
    request = VmRequest(
        name="web-2",
        image=ImageVersionFactory().image,
        vcpus=1,
        memory_mib=1024,
        disks_gib=[10],
        username="ada",
        ssh_keys=[SSH_KEY],
        nics=nics,
    )
    vm, job = vm_create(actor=SYSTEM, hypervisor=host, request=request)
    [nic] = sent(job).nics
    assert (nic.address, nic.address6) == ("10.77.0.9/24", "fd00:77::9/64")
    assert vm.nics.get().address6 == "fd00:77::9"


def test_a_nic_that_the_host_cannot_add_is_gone_and_its_address_free(vm, network):
    job = nic_add(actor=SYSTEM, vm=vm, network=network, address="10.77.0.9")
    sent(job)
    finish(job, error=ERROR)
    assert vm.nics.count() == 1
    again = nic_add(actor=SYSTEM, vm=vm, network=network, address="10.77.0.9")
    assert again.arguments["address"] == "10.77.0.9"


def test_a_nic_of_which_nobody_knows_stays_until_the_host_speaks(vm, network):
    job = nic_add(actor=SYSTEM, vm=vm, network=network)
    sent(job)
    job.refresh_from_db()
    job_end(job, Status.LOST, code="lost", message="No word.")
    assert vm.nics.count() == 2
    finish(job, error=ERROR)
    assert vm.nics.count() == 1


def test_a_nic_is_there_until_the_host_has_taken_it_out(vm):
    nic = vm.nics.get()
    job = nic_remove(actor=SYSTEM, nic=nic)
    words = sent(job)
    assert isinstance(words, DetachNic)
    assert words.nic_id == str(nic.id)
    assert vm.nics.count() == 1
    finish(job)
    assert vm.nics.count() == 0
    assert AuditEvent.objects.get(action="vm.nic-remove").before["mac"] == nic.mac


def test_a_nic_that_the_guest_keeps_stays(vm):
    job = nic_remove(actor=SYSTEM, nic=vm.nics.get())
    sent(job)
    finish(job, error=JobError(code="guest_kept_nic", message="It did not let go."))
    assert vm.nics.count() == 1


def test_a_changed_address_is_its_own_at_once_and_the_old_one_where_it_fails(vm):
    nic = vm.nics.get()
    before = nic.address
    job = nic_change(actor=SYSTEM, nic=nic, address="10.77.0.200", guard=False)
    nic.refresh_from_db()
    assert (nic.address, nic.guard) == ("10.77.0.200", False)
    words = sent(job)
    assert isinstance(words, ChangeNic)
    assert (words.nic.address, words.nic.guard) == ("10.77.0.200/24", False)
    finish(job, error=ERROR)
    nic.refresh_from_db()
    assert (nic.address, nic.guard) == (before, True)


def test_an_old_address_that_somebody_has_meanwhile_is_not_taken_back(vm, host, network):
    nic = vm.nics.get()
    before = nic.address
    job = nic_change(actor=SYSTEM, nic=nic, address="10.77.0.200")
    sent(job)
    other = VirtualMachineFactory(hypervisor=host, network=network)
    Nic.objects.filter(vm=other).update(address=before)
    finish(job, error=ERROR)
    nic.refresh_from_db()
    assert nic.address == "10.77.0.200"


def test_what_cannot_be_is_said_and_nothing_is_left_half_made(vm, host, network):
    nic = vm.nics.get()
    taken = VirtualMachineFactory(hypervisor=host, network=network).nics.get().address
    elsewhere = NetworkFactory()
    bridged = NetworkFactory(hypervisor=host, bridged=True, name="lan")
    for refusal, wish in (
        (AddressTakenError, {"network": network, "address": taken}),
        (AddressTakenError, {"network": network, "address": "10.77.0.1"}),
        (AddressTakenError, {"network": network, "address6": "fd00:77::1"}),
        (AddressOutsideError, {"network": network, "address": "10.78.0.9"}),
        (AddressOutsideError, {"network": network, "address6": "fd00:77::"}),
        (AddressOutsideError, {"network": network, "address6": "10.77.0.9"}),
        (InvalidInputError, {"network": bridged, "address": "10.77.0.9"}),
        (InvalidInputError, {"network": elsewhere}),
    ):
        with pytest.raises(refusal):
            nic_add(actor=SYSTEM, vm=vm, **wish)
    with pytest.raises(InvalidInputError, match="Nothing would change"):
        nic_change(actor=SYSTEM, nic=nic, address=nic.address)
    assert list(vm.nics.all()) == [nic]
    assert not Job.objects.exists()
    assert not AuditEvent.objects.filter(action__startswith="vm.nic").exists()


def test_a_vm_has_eight_nics_at_most(vm, host):
    bridged = NetworkFactory(hypervisor=host, bridged=True, name="lan")
    for number in range(7):
        mac = f"52:54:00:77:00:{number:02x}"
        Nic.objects.create(vm=vm, position=number + 1, network=bridged, mac=mac)
    with pytest.raises(InvalidInputError, match="Remove one first"):
        nic_add(actor=SYSTEM, vm=vm, network=bridged)


def test_hosts_that_do_not_know_these_jobs_are_named_with_what_to_do(vm, host, network):
    host.protocol = 2
    host.save()
    vm = VirtualMachine.objects.get(pk=vm.pk)
    nic = vm.nics.get()
    for ask in (
        lambda: nic_add(actor=SYSTEM, vm=vm, network=network),
        lambda: nic_remove(actor=SYSTEM, nic=nic),
        lambda: nic_change(actor=SYSTEM, nic=nic, guard=False),
        lambda: network_change(actor=SYSTEM, network=network, changes={"dns": ["9.9.9.9"]}),
    ):
        with pytest.raises(HostTooOldError, match="Install it again"):
            ask()
    network.refresh_from_db()
    assert network.dns == []
    assert not Job.objects.exists()


def test_a_vm_that_is_held_missing_or_away_is_not_changed(vm, host, network):
    vm_start(actor=SYSTEM, vm=vm)
    with pytest.raises(VmBusyError):
        nic_remove(actor=SYSTEM, nic=vm.nics.get())
    Job.objects.all().delete()
    VirtualMachine.objects.update(state="missing")
    with pytest.raises(VmNotReadyError):
        nic_add(actor=SYSTEM, vm=vm, network=network)
    VirtualMachine.objects.update(state="ready")
    host.online = False
    host.save()
    with pytest.raises(HostOfflineError):
        nic_add(actor=SYSTEM, vm=VirtualMachine.objects.get(pk=vm.pk), network=network)


def test_a_nic_that_somebody_removed_meanwhile_is_no_error_of_ours(vm):
    nic = vm.nics.get()
    finish(_sent(nic_remove(actor=SYSTEM, nic=nic)))
    with pytest.raises(NicGoneError):
        nic_change(actor=SYSTEM, nic=nic, guard=False)
    assert not Job.objects.active().exists()


def test_the_host_says_who_gives_the_lease(vm):
    nic = vm.nics.get()
    for said in ("silent", "site", "given"):
        seen = NicReport(nic_id=str(nic.id), mac=nic.mac, lan_dhcp=said)
        vm_observed(vm, VmReport(vm_id=str(vm.id), power="running", nics=[seen]))
        nic.refresh_from_db()
        assert nic.lan_dhcp == said


# ------------------------------------------------------------------ networks that change


def test_a_changed_network_is_told_to_each_vm_on_it_by_one_job(host, network, vm):
    other = VirtualMachineFactory(hypervisor=host, network=network, name="web-2")
    Nic.objects.create(vm=other, position=1, network=network, mac="52:54:00:77:00:01")
    NetworkFactory(hypervisor=host, name="apart", subnet="10.78.0.0/24", gateway="10.78.0.1")
    changes = {"dns": ["9.9.9.9"], "search": ["example.com"], "mtu": 1400}
    network_change(actor=SYSTEM, network=network, changes=changes)
    jobs = Job.objects.order_by("subject_name")
    assert [(job.kind, job.subject_name) for job in jobs] == [
        ("vm.nic-change", "web-1"),
        ("vm.nic-change", "web-2"),
    ]
    words = sent(jobs[0])
    assert (words.nic.network.dns, words.nic.network.mtu) == (["9.9.9.9"], 1400)
    assert words.nic.network.search == ["example.com"]
    event = AuditEvent.objects.get(action="network.change")
    assert event.before == {"dns": [], "search": [], "mtu": 1500}
    finish(jobs[0], error=ERROR)
    network.refresh_from_db()
    assert network.dns == ["9.9.9.9"]


def test_a_network_changes_for_all_of_its_vms_or_for_none(host, network, vm):
    vm_start(actor=SYSTEM, vm=VirtualMachineFactory(hypervisor=host, network=network))
    with pytest.raises(VmBusyError):
        network_change(actor=SYSTEM, network=network, changes={"dns": ["9.9.9.9"]})
    network.refresh_from_db()
    assert network.dns == []
    assert Job.objects.count() == 1


def test_a_gateway_does_not_move_to_a_guests_address(network, vm):
    with pytest.raises(AddressTakenError):
        network_change(actor=SYSTEM, network=network, changes={"gateway": vm.nics.get().address})


def test_a_network_without_vms_changes_while_its_host_is_away(host):
    network = NetworkFactory(hypervisor=host)
    host.online = False
    host.save()
    network_change(actor=SYSTEM, network=network, changes={"mtu": 1400})
    assert Network.objects.get(pk=network.pk).mtu == 1400


@pytest.mark.django_db(transaction=True)
def test_two_who_want_the_same_address_at_once_do_not_both_get_it():
    host = HypervisorFactory()
    network = NetworkFactory(hypervisor=host, subnet6="fd00:77::/64", gateway6="fd00:77::1")
    vms = [VirtualMachineFactory(hypervisor=host, network=network) for _ in range(4)]
    outcomes = []

    def add(vm):
        try:
            nic_add(actor=SYSTEM, vm=vm, network=network, address6="fd00:77::9")
            outcomes.append("added")
        except AddressTakenError:
            outcomes.append("taken")
        connection.close()

    threads = [threading.Thread(target=bound(add), args=[vm]) for vm in vms]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["added", "taken", "taken", "taken"]


def _sent(job: Job) -> Job:
    sent(job)
    return job
