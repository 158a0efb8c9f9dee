"""Quotas on real transactions: however many ask at once, there is never more than is allowed."""

from typing import Any

import pytest

from tenants.actor import SYSTEM
from tenants.services.tenants import tenant_move
from tests.factories import (
    SSH_KEY,
    CustomerFactory,
    HypervisorFactory,
    ImageVersionFactory,
    MspFactory,
    NetworkFactory,
    SiteFactory,
    VirtualMachineFactory,
)
from tests.vms.test_races import both
from vms.models import Quota, VirtualMachine
from vms.services.changes import vm_delete, vm_resize
from vms.services.creation import VmRequest, vm_create
from vms.services.quota_settings import quota_set
from vms.services.quota_usage import quota_usages
from vms.services.quotas import QuotaExceededError

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def msp():
    return MspFactory()


@pytest.fixture
def customer(msp):
    return CustomerFactory(parent=msp)


def host_of(tenant: Any) -> Any:
    host = HypervisorFactory(site=SiteFactory(tenant=tenant))
    NetworkFactory(hypervisor=host, name="nat")
    return host


def creation(host: Any, name: str, **sizes: Any) -> Any:
    wanted = {"vcpus": 2, "memory_mib": 512, "disks_gib": [4], **sizes}
    request = VmRequest(
        name=name, image=ImageVersionFactory().image, username="ada", ssh_keys=[SSH_KEY], **wanted
    )
    return lambda: vm_create(actor=SYSTEM, hypervisor=host, request=request)


def off(host: Any) -> VirtualMachine:
    return VirtualMachineFactory(hypervisor=host, network=host.networks.get(), observed_power="off")


def refused(results: list[Any]) -> int:
    """How many were refused by a quota; whatever else went wrong, the test says."""
    errors = [one for one in results if isinstance(one, Exception)]
    assert [one for one in errors if not isinstance(one, QuotaExceededError)] == []
    return len(errors)


def over(quota: Quota) -> int:
    return quota_usages([quota])[quota.pk].vcpus - quota.vcpus


def test_of_two_creations_on_two_hosts_that_fill_a_quota_exactly_one_is_made(customer):
    hosts = [host_of(customer), host_of(customer)]
    quota_set(actor=SYSTEM, tenant=customer, limits={"vcpus": 3})
    for turn in range(8):
        made = both(*(creation(host, f"{turn}-{n}") for n, host in enumerate(hosts)))
        assert refused(made) == 1
        VirtualMachine.objects.all().delete()


def test_many_creations_at_once_never_exceed_the_quota_of_their_msp(msp):
    hosts = [host_of(CustomerFactory(parent=msp)) for _ in range(4)]
    quota = quota_set(actor=SYSTEM, tenant=msp, limits={"vcpus": 11})
    for host in hosts:
        quota_set(actor=SYSTEM, tenant=host.tenant, limits={"vms": 100})
        quota_set(actor=SYSTEM, tenant=host.tenant, site=host.site, limits={"vms": 100})
    made = both(*(creation(hosts[n % 4], f"web-{n}") for n in range(12)))
    assert refused(made) == 7
    assert over(quota) == -1


def test_a_resize_and_a_creation_at_once_never_exceed_a_quota(customer):
    first, second = host_of(customer), host_of(customer)
    vm = off(first)
    quota = quota_set(actor=SYSTEM, tenant=customer, limits={"vcpus": 4})
    results = both(
        lambda: vm_resize(actor=SYSTEM, vm=vm, vcpus=4),
        creation(second, "web-1"),
    )
    assert refused(results) == 1
    assert over(quota) <= 0


def test_a_quota_that_is_made_meanwhile_counts_what_is_under_way(customer):
    """Either the creation came first, and the quota counts it; or it is refused."""
    for turn in range(8):
        host = host_of(customer)
        quota, made = both(
            lambda: quota_set(actor=SYSTEM, tenant=customer, limits={"vcpus": 1}),
            creation(host, f"web-{turn}"),
        )
        there = quota_usages([quota])[quota.pk].vcpus
        assert there == (0 if isinstance(made, QuotaExceededError) else 2), made
        Quota.objects.all().delete()
        VirtualMachine.objects.all().delete()


def test_a_customer_that_moves_meanwhile_brings_what_is_under_way(msp, customer):
    group = CustomerFactory(parent=msp, kind="group")
    for turn in range(8):
        host = host_of(customer)
        quota = quota_set(actor=SYSTEM, tenant=group, limits={"vcpus": 1})
        results = both(
            lambda: tenant_move(actor=SYSTEM, tenant=customer, parent=group),
            creation(host, f"web-{turn}"),
        )
        assert refused(results) == 1
        assert over(quota) <= 0
        VirtualMachine.objects.all().delete()
        tenant_move(actor=SYSTEM, tenant=customer, parent=msp)
        customer.refresh_from_db()


def test_creating_resizing_deleting_moving_and_setting_at_once_never_wait_for_each_other(
    msp, customer
):
    group = CustomerFactory(parent=msp, kind="group")
    hosts = [host_of(customer), host_of(CustomerFactory(parent=msp))]
    quota = quota_set(actor=SYSTEM, tenant=msp, limits={"vcpus": 1000})
    for turn in range(5):
        grows, goes = off(hosts[0]), off(hosts[1])
        results = both(
            *(creation(host, f"web-{turn}-{n}") for n, host in enumerate(hosts)),
            lambda vm=grows: vm_resize(actor=SYSTEM, vm=vm, vcpus=3),
            lambda vm=goes: vm_delete(actor=SYSTEM, vm=vm),
            lambda to=(msp, group)[turn % 2]: tenant_move(actor=SYSTEM, tenant=customer, parent=to),
            lambda most=turn: quota_set(actor=SYSTEM, tenant=msp, limits={"vcpus": 1000 + most}),
            lambda site=hosts[0].site, most=turn: quota_set(
                actor=SYSTEM, tenant=customer, site=site, limits={"vms": 100 + most}
            ),
        )
        assert refused(results) == 0
    quota.refresh_from_db()
    assert over(quota) < 0
