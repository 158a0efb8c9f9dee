"""Two at once, on real transactions: one wins, the other is told, and none waits for ever."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connections, transaction

from agent.protocol import JobFinished, VmReport
from hypervisors.models import Job, Status
from hypervisors.services.jobs import VmBusyError, job_cancel, job_finished, job_take_for_sending
from tenants.actor import SYSTEM
from tenants.errors import NameTakenError, RuleError
from tenants.scope import bound
from tests.factories import (
    SSH_KEY,
    HypervisorFactory,
    ImageVersionFactory,
    NetworkFactory,
    VirtualMachineFactory,
)
from vms.models import Nic, VirtualMachine
from vms.services.capacity import NotEnoughMemoryError
from vms.services.changes import vm_delete
from vms.services.creation import VmRequest, vm_create
from vms.services.observing import host_guests_observed
from vms.services.power import VmNotReadyError, vm_start, vm_stop

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def host():
    host = HypervisorFactory()
    NetworkFactory(hypervisor=host, name="nat")
    return host


def wish(name: str = "web-1", memory_mib: int = 2048) -> VmRequest:
    return VmRequest(
        name=name,
        image=ImageVersionFactory().image,
        vcpus=1,
        memory_mib=memory_mib,
        disks_gib=[10],
        username="ada",
        ssh_keys=[SSH_KEY],
    )


def both(*calls: Callable[[], Any]) -> list[Any]:
    """Results, or errors, of calls made at the same time on connections of their own."""
    start, results = threading.Barrier(len(calls)), [None] * len(calls)

    def run(index: int, call: Callable[[], Any]) -> None:
        start.wait()
        try:
            results[index] = call()
        except Exception as error:  # noqa: BLE001  whatever it is, the test looks at it
            results[index] = error
        finally:
            connections.close_all()

    threads = [threading.Thread(target=bound(run), args=item) for item in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_of_two_creations_with_one_name_on_two_hosts_one_wins(host):
    other = HypervisorFactory(site=host.site)
    NetworkFactory(hypervisor=other)
    first, second = wish(), wish()
    results = both(
        lambda: vm_create(actor=SYSTEM, hypervisor=host, request=first),
        lambda: vm_create(actor=SYSTEM, hypervisor=other, request=second),
    )
    assert sum(isinstance(result, NameTakenError) for result in results) == 1
    assert VirtualMachine.objects.count() == Job.objects.count() == 1


def test_of_two_creations_that_fill_the_host_one_wins(host):
    first, second = wish(memory_mib=20_000), wish(memory_mib=20_000, name="web-2")
    results = both(
        lambda: vm_create(actor=SYSTEM, hypervisor=host, request=first),
        lambda: vm_create(actor=SYSTEM, hypervisor=host, request=second),
    )
    assert sum(isinstance(result, NotEnoughMemoryError) for result in results) == 1
    assert VirtualMachine.objects.count() == 1


def test_many_creations_at_once_get_different_addresses(host):
    wishes = [wish(name=f"web-{number}", memory_mib=512) for number in range(6)]
    results = both(
        *(
            lambda request=request: vm_create(actor=SYSTEM, hypervisor=host, request=request)
            for request in wishes
        )
    )
    assert not [result for result in results if isinstance(result, RuleError)]
    addresses = list(Nic.objects.values_list("address", flat=True))
    assert len(set(addresses)) == 6


def test_a_wish_and_the_end_of_the_job_before_it_never_wait_for_each_other(host):
    vm = VirtualMachineFactory(hypervisor=host)
    for _ in range(15):
        job = vm_stop(actor=SYSTEM, vm=vm)
        job_take_for_sending(job.id)
        report = VmReport(vm_id=str(vm.id), power="off")
        results = both(
            lambda job=job, report=report: job_finished(
                hypervisor=host, report=JobFinished(job_id=str(job.id), vm=report)
            ),
            lambda: vm_start(actor=SYSTEM, vm=vm),
            lambda report=report: transaction.atomic(host_guests_observed)(host, [report]),
        )
        assert results[0] is None
        assert results[2] is None
        assert isinstance(results[1], Job | VmBusyError), results[1]
        job.refresh_from_db()
        assert job.status == Status.SUCCEEDED
        for left in Job.objects.active():
            job_cancel(job=left)


def test_taking_a_creation_back_while_it_is_sent_ends_one_way(host):
    for number in range(10):
        vm, job = vm_create(actor=SYSTEM, hypervisor=host, request=wish(f"web-{number}", 512))
        sent, removal = both(
            lambda job=job: job_take_for_sending(job.id),
            lambda vm=vm: vm_delete(actor=SYSTEM, vm=vm),
        )
        job.refresh_from_db()
        there = VirtualMachine.objects.filter(pk=vm.pk).exists()
        assert not isinstance(sent, Exception), sent
        if job.status == Status.CANCELLED:
            assert (sent, removal.pk, there) == (None, job.pk, False)
        else:
            assert (job.status, there) == (Status.SENT, True)
            assert isinstance(removal, VmBusyError), removal


def test_a_vm_that_goes_while_it_is_asked_for_is_said_to_be_gone(host):
    vm = VirtualMachineFactory(hypervisor=host)
    gone = VirtualMachine.objects.select_related("hypervisor").get(pk=vm.pk)
    vm.delete()
    with pytest.raises(VmNotReadyError, match="has just been deleted"):
        vm_start(actor=SYSTEM, vm=gone)
    assert not Job.objects.exists()
