"""What hosts report about their guests, and that one host never speaks for another."""

import pytest

from agent.protocol import DiskReport, JobFinished, NicReport, VmReport
from hypervisors.models import Job
from hypervisors.services.jobs import job_finished, job_take_for_sending
from hypervisors.services.observers import guest_observers
from tenants.actor import SYSTEM
from tests.factories import (
    GIB,
    SSH_KEY,
    HypervisorFactory,
    ImageVersionFactory,
    NetworkFactory,
    VirtualMachineFactory,
)
from vms.models import VirtualMachine
from vms.services.changes import vm_delete
from vms.services.creation import VmRequest, vm_create
from vms.services.power import VmNotReadyError, vm_start

pytestmark = pytest.mark.django_db
State = VirtualMachine.State


@pytest.fixture
def host():
    host = HypervisorFactory()
    NetworkFactory(hypervisor=host)
    return host


@pytest.fixture
def vm(host):
    return VirtualMachineFactory(hypervisor=host, name="web-1")


def done(job: Job) -> None:
    job_take_for_sending(job.id)
    job_finished(hypervisor=job.hypervisor, report=JobFinished(job_id=str(job.id)))


def observe(host, *reports: VmReport) -> None:
    for observer in guest_observers():
        observer.snapshot(host, list(reports))


def change(host, vm_id: str, report: VmReport | None) -> None:
    for observer in guest_observers():
        observer.changed(host, vm_id, report)


def test_a_snapshot_is_written_into_the_rows(host, vm):
    disk, nic = vm.disks.get(), vm.nics.get()
    vm.cloud_init = "running"
    vm.save()
    observe(
        host,
        VmReport(
            vm_id=str(vm.id),
            power="paused",
            cloud_init="done",
            disks=[DiskReport(disk_id=str(disk.id), capacity=10 * GIB, allocation=GIB)],
            nics=[
                NicReport(
                    nic_id=str(nic.id),
                    mac=nic.mac,
                    addresses=["10.77.0.100/24"],
                    metadata="sealed",
                )
            ],
        ),
    )
    vm.refresh_from_db()
    disk.refresh_from_db()
    nic.refresh_from_db()
    assert (vm.observed_power, vm.cloud_init) == ("paused", "done")
    assert vm.cloud_init_at
    assert (disk.observed_capacity, disk.observed_allocation) == (10 * GIB, GIB)
    assert (nic.observed_addresses, nic.metadata_state) == (["10.77.0.100/24"], "sealed")


def test_what_a_guest_once_said_is_not_undone_by_a_host_that_forgot(host, vm):
    observe(host, VmReport(vm_id=str(vm.id), power="running", cloud_init="unknown"))
    vm.refresh_from_db()
    assert vm.cloud_init == "done"


def test_a_vm_that_is_not_there_is_missing_until_it_is_seen_again(host, vm):
    observe(host)
    vm.refresh_from_db()
    assert (vm.state, vm.observed_power) == (State.MISSING, "unknown")
    with pytest.raises(VmNotReadyError, match="missing on"):
        vm_start(actor=SYSTEM, vm=vm)
    change(host, str(vm.id), VmReport(vm_id=str(vm.id), power="off"))
    vm.refresh_from_db()
    assert (vm.state, vm.observed_power) == (State.READY, "off")


def test_a_vm_that_is_being_made_or_removed_is_not_missing(host):
    request = VmRequest(
        name="web-2",
        image=ImageVersionFactory().image,
        vcpus=1,
        memory_mib=1024,
        disks_gib=[10],
        username="ada",
        ssh_keys=[SSH_KEY],
    )
    vm, job = vm_create(actor=SYSTEM, hypervisor=host, request=request)
    observe(host)
    vm.refresh_from_db()
    assert vm.state == State.CREATING
    done(job)
    vm_delete(actor=SYSTEM, vm=vm)
    change(host, str(vm.id), None)
    vm.refresh_from_db()
    assert vm.state == State.READY


def test_a_host_speaks_only_for_its_own_guests(vm):
    liar = HypervisorFactory(site=vm.hypervisor.site)
    observe(liar, VmReport(vm_id=str(vm.id), power="crashed"))
    change(liar, str(vm.id), VmReport(vm_id=str(vm.id), power="crashed"))
    change(liar, str(vm.id), None)
    vm.refresh_from_db()
    assert (vm.observed_power, vm.state) == ("running", State.READY)


def test_disks_and_nics_of_another_vm_in_a_report_are_ignored(host, vm):
    other = VirtualMachineFactory()
    disk, nic = other.disks.get(), other.nics.get()
    observe(
        host,
        VmReport(
            vm_id=str(vm.id),
            power="running",
            disks=[DiskReport(disk_id=str(disk.id), capacity=1, allocation=1)],
            nics=[NicReport(nic_id=str(nic.id), mac=nic.mac, addresses=["192.0.2.1/24"])],
        ),
    )
    disk.refresh_from_db()
    nic.refresh_from_db()
    assert (disk.observed_capacity, nic.observed_addresses) == (None, [])


def test_the_same_snapshot_again_costs_little(host, django_assert_max_num_queries):
    vms = [VirtualMachineFactory(hypervisor=host) for _ in range(20)]
    reports = [VmReport(vm_id=str(vm.id), power="running", cloud_init="done") for vm in vms]
    observe(host, *reports)
    with django_assert_max_num_queries(6):
        observe(host, *reports)
