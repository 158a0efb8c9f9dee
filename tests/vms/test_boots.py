"""What hosts say of first boots and NICs' metadata, and that what they say is bounded."""

import time
from datetime import UTC, datetime

import msgspec
import pytest

from agent.protocol import Boot, BootStage, NicReport, VmReport
from hypervisors.services.observers import guest_observers
from tests.factories import HypervisorFactory, VirtualMachineFactory

pytestmark = pytest.mark.django_db


@pytest.fixture
def vm():
    return VirtualMachineFactory(name="web-1", cloud_init="running")


def hear_boot(host, vm_id, boot: Boot) -> None:
    for observer in guest_observers():
        observer.boot(host, str(vm_id), boot)


def hear_nic(vm, **told) -> None:
    nic = vm.nics.get()
    report = NicReport(nic_id=str(nic.id), mac=nic.mac, **told)
    for observer in guest_observers():
        observer.changed(
            vm.hypervisor, str(vm.id), VmReport(vm_id=str(vm.id), power="running", nics=[report])
        )


def boot_of(vm, verdict: str, **more) -> Boot:
    return Boot(instance_id=str(vm.id), verdict=verdict, **more)


@pytest.mark.parametrize(
    ("verdict", "cloud_init"),
    [
        ("waiting", "running"),
        ("running", "running"),
        ("done", "done"),
        ("degraded", "done"),
        ("failed", "failed"),
    ],
)
def test_the_verdict_and_the_short_state_agree(vm, verdict, cloud_init):
    stage = BootStage(name="final", status="ok", seconds=3.5)
    boot = boot_of(vm, verdict, stages=[stage], log=["one"])
    hear_boot(vm.hypervisor, vm.id, boot)
    vm.refresh_from_db()
    assert msgspec.convert(vm.boot, Boot) == boot
    assert vm.cloud_init == cloud_init
    assert vm.boot_at is not None


def test_a_failure_after_the_guests_own_word_counts(vm):
    hear_boot(vm.hypervisor, vm.id, boot_of(vm, "done"))
    hear_boot(vm.hypervisor, vm.id, boot_of(vm, "failed", reason="bad_yaml"))
    vm.refresh_from_db()
    assert vm.cloud_init == "failed"


def test_one_host_never_speaks_for_anothers_guest(vm):
    hear_boot(HypervisorFactory(), vm.id, boot_of(vm, "failed"))
    vm.refresh_from_db()
    assert (vm.boot, vm.cloud_init) == ({}, "running")


def test_the_times_of_a_nic_are_kept(vm):
    at = time.time()
    hear_nic(vm, metadata="sealed", asked_at=at, served_at=at + 1, sealed_at=at + 2)
    nic = vm.nics.get()
    assert nic.asked_at == datetime.fromtimestamp(at, tz=UTC)
    assert nic.asked_at < nic.served_at < nic.sealed_at


@pytest.mark.parametrize("at", [0.0, 1e300, 4_102_444_800.0, float("inf"), float("nan")])
def test_what_is_no_moment_is_none(vm, at):
    hear_nic(vm, metadata="served", asked_at=at)
    nic = vm.nics.get()
    assert (nic.metadata_state, nic.asked_at) == ("served", None)


def test_a_new_first_boot_takes_the_times_back(vm):
    hear_nic(vm, metadata="sealed", asked_at=1e9, sealed_at=2e9)
    hear_nic(vm)
    nic = vm.nics.get()
    assert (nic.metadata_state, nic.asked_at, nic.sealed_at) == ("not_asked", None, None)
