"""Quotas: what is refused and in which words, what counts, and what gives back."""

from typing import Any

import pytest

from agent.protocol import JobError, JobFinished
from hypervisors.models import Job, Status
from hypervisors.services.jobs import job_end, job_finished, job_take_for_sending
from tenants.actor import SYSTEM, Actor
from tenants.scope import scope_of
from tenants.services.tenants import tenant_move
from tests.factories import (
    SSH_KEY,
    CustomerFactory,
    HypervisorFactory,
    ImageVersionFactory,
    MembershipFactory,
    MspFactory,
    NetworkFactory,
    SiteFactory,
    VirtualMachineFactory,
    deny,
)
from vms.models import Image, Quota, VirtualMachine
from vms.services.changes import vm_delete, vm_resize
from vms.services.creation import VmRequest, vm_create
from vms.services.forgetting import host_forget
from vms.services.quota_settings import quota_set
from vms.services.quota_usage import Amounts, amount_words, quota_usages
from vms.services.quotas import QuotaExceededError

pytestmark = pytest.mark.django_db


@pytest.fixture
def msp():
    return MspFactory(name="Northwind")


@pytest.fixture
def customer(msp):
    return CustomerFactory(parent=msp, name="Alder Ltd")


@pytest.fixture
def host(customer):
    return host_of(customer)


def host_of(tenant: Any) -> Any:
    host = HypervisorFactory(site=SiteFactory(tenant=tenant))
    NetworkFactory(hypervisor=host, name="nat")
    return host


def create(host: Any, name: str = "web-1", *, actor: Actor = SYSTEM, **sizes: Any) -> Any:
    wanted = {"vcpus": 2, "memory_mib": 2048, "disks_gib": [10], **sizes}
    image = Image.objects.first() or ImageVersionFactory().image
    request = VmRequest(name=name, image=image, username="ada", ssh_keys=[SSH_KEY], **wanted)
    return vm_create(actor=actor, hypervisor=host, request=request)


def used(quota: Quota) -> Amounts:
    return quota_usages([quota])[quota.pk]


def an_off_vm(host: Any, **fields: Any) -> VirtualMachine:
    return VirtualMachineFactory(
        hypervisor=host, network=host.networks.get(), observed_power="off", **fields
    )


# ------------------------------------------------------------------ creating


@pytest.mark.parametrize(
    ("limits", "field", "words"),
    [
        ({"vms": 0}, None, "allows 0 VMs: 0 in use, 1 more asked for, 0 left"),
        ({"vcpus": 1}, "vcpus", "allows 1 vCPUs: 0 in use, 2 more asked for, 1 left"),
        ({"memory_mib": 1536}, "memory_mib", "allows 1.5 GiB of memory: 0 GiB in use, 2 GiB more"),
        ({"disk_gib": 9}, "disks", "allows 9 GiB of disk: 0 GiB in use, 10 GiB more asked for"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_numbers_and_leaves_nothing(
    host, customer, limits, field, words
):
    quota_set(actor=SYSTEM, tenant=customer, limits=limits)
    with pytest.raises(QuotaExceededError) as refused:
        create(host)
    assert refused.value.message.startswith("The quota of Alder Ltd ")
    assert words in refused.value.message
    assert refused.value.message.endswith("or ask Northwind to raise the quota.")
    assert (refused.value.code, refused.value.status, refused.value.field) == (
        "quota_exceeded", 409, field,
    )  # fmt: skip
    assert not VirtualMachine.objects.exists()
    assert not Job.objects.exists()


def test_what_just_fits_is_made_and_the_next_is_not(host, customer):
    quota = quota_set(
        actor=SYSTEM,
        tenant=customer,
        limits={"vms": 1, "vcpus": 2, "memory_mib": 2048, "disk_gib": 10, "snapshots": 3},
    )
    create(host)
    assert used(quota) == Amounts(vms=1, vcpus=2, memory_mib=2048, disk_gib=10, snapshots=0)
    with pytest.raises(QuotaExceededError):
        create(host, "web-2", vcpus=1, memory_mib=256, disks_gib=[2])


def test_all_disks_of_a_vm_count(host, customer):
    quota_set(actor=SYSTEM, tenant=customer, limits={"disk_gib": 29})
    with pytest.raises(QuotaExceededError, match="30 GiB more asked for"):
        create(host, disks_gib=[10, 20])


def test_a_quota_of_the_msp_bounds_its_customers_together(msp, host):
    other = host_of(CustomerFactory(parent=CustomerFactory(parent=msp, kind="group")))
    quota_set(actor=SYSTEM, tenant=msp, limits={"vcpus": 3})
    create(host)
    with pytest.raises(QuotaExceededError, match="2 in use, 2 more asked for, 1 left"):
        create(other)
    create(other, vcpus=1)


def test_a_quota_of_a_group_bounds_the_customers_in_it_alone(msp, host):
    group = CustomerFactory(parent=msp, kind="group", name="Bakers")
    inside = host_of(CustomerFactory(parent=group))
    quota_set(actor=SYSTEM, tenant=group, limits={"vms": 0})
    create(host)
    with pytest.raises(QuotaExceededError, match="The quota of Bakers"):
        create(inside)


def test_a_quota_of_a_site_bounds_that_site_alone(customer, host):
    other = host_of(customer)
    quota_set(actor=SYSTEM, tenant=customer, site=host.site, limits={"vms": 0})
    with pytest.raises(QuotaExceededError, match=f"The quota of {host.site.name} allows"):
        create(host)
    create(other)


def test_the_quota_of_another_customer_or_msp_is_nobody_elses(msp, host):
    quota_set(actor=SYSTEM, tenant=CustomerFactory(parent=msp), limits={"vms": 0})
    quota_set(actor=SYSTEM, tenant=MspFactory(), limits={"vms": 0})
    create(host)


# ------------------------------------------------------------------ giving back


def end(job: Job, error: JobError | None = None) -> None:
    job_take_for_sending(job.id)
    job_finished(hypervisor=job.hypervisor, report=JobFinished(job_id=str(job.id), error=error))


def test_a_creation_that_fails_gives_everything_back(host, customer):
    quota = quota_set(actor=SYSTEM, tenant=customer, limits={"vms": 1})
    _, job = create(host)
    assert used(quota).vms == 1
    end(job, JobError(code="image_unreachable", message="No way there."))
    assert used(quota) == Amounts()
    create(host)


def test_a_creation_taken_back_before_it_began_gives_everything_back(host, customer):
    quota = quota_set(actor=SYSTEM, tenant=customer, limits={"vms": 1})
    vm, _ = create(host)
    vm_delete(actor=SYSTEM, vm=vm)
    assert used(quota) == Amounts()


def test_a_vm_counts_until_its_host_has_deleted_it(host, customer):
    quota = quota_set(actor=SYSTEM, tenant=customer, limits={"vms": 1})
    job = vm_delete(actor=SYSTEM, vm=an_off_vm(host))
    assert used(quota).vms == 1
    end(job)
    assert used(quota) == Amounts()


def test_a_host_that_is_forgotten_gives_back_what_its_vms_had(host, customer):
    quota = quota_set(actor=SYSTEM, tenant=customer, limits={"vms": 1})
    an_off_vm(host)
    host.online = False
    host.save()
    host_forget(actor=SYSTEM, hypervisor=host)
    assert used(quota) == Amounts()


# ------------------------------------------------------------------ resizing


def test_a_resize_counts_from_when_it_is_asked_for(host, customer):
    quota = quota_set(actor=SYSTEM, tenant=customer, limits={"vcpus": 8, "disk_gib": 40})
    vm = an_off_vm(host)
    [disk] = vm.disks.all()
    vm_resize(actor=SYSTEM, vm=vm, vcpus=6, memory_mib=4096, disks=[(disk.id, 15), (None, 5)])
    assert used(quota) == Amounts(vms=1, vcpus=6, memory_mib=4096, disk_gib=20)
    with pytest.raises(QuotaExceededError):
        create(host, vcpus=3)


def test_a_resize_that_fails_gives_back_and_one_that_succeeds_counts_once(host, customer):
    quota = quota_set(actor=SYSTEM, tenant=customer, limits={"vcpus": 8})
    vm = an_off_vm(host)
    end(vm_resize(actor=SYSTEM, vm=vm, vcpus=6), JobError(code="internal", message="Broke."))
    assert used(quota).vcpus == 1
    end(vm_resize(actor=SYSTEM, vm=vm, vcpus=6))
    assert used(quota).vcpus == 6


def test_a_resize_of_which_nobody_knows_counts_until_its_vm_is_asked_something_else(host, customer):
    quota = quota_set(actor=SYSTEM, tenant=customer, limits={"vcpus": 8})
    vm = an_off_vm(host)
    job = vm_resize(actor=SYSTEM, vm=vm, vcpus=6)
    job_take_for_sending(job.id)
    job_end(Job.objects.get(pk=job.pk), Status.LOST)
    assert used(quota).vcpus == 6
    later = vm_resize(actor=SYSTEM, vm=vm, autostart=not vm.autostart)
    assert used(quota).vcpus == 1
    end(later)
    assert used(quota).vcpus == 1


def test_growing_beyond_a_quota_is_refused_and_what_does_not_grow_is_not_asked_about(
    host, customer
):
    vm = an_off_vm(host, vcpus=4, memory_mib=4096)
    quota_set(
        actor=SYSTEM,
        tenant=customer,
        limits={"vms": 0, "vcpus": 1, "memory_mib": 6144, "disk_gib": 1},
    )
    for growth in ({"vcpus": 5}, {"memory_mib": 8192}, {"disks": [(None, 1)]}):
        with pytest.raises(QuotaExceededError):
            vm_resize(actor=SYSTEM, vm=vm, **growth)
    # Of processors there are too many already: fewer are fine, though still too many.
    end(vm_resize(actor=SYSTEM, vm=vm, vcpus=3, memory_mib=6144))
    end(vm_resize(actor=SYSTEM, vm=vm, autostart=not vm.autostart))


# ------------------------------------------------------------------ moving a customer


def test_a_customer_moves_into_a_group_only_where_what_it_has_fits(msp, customer, host):
    group = CustomerFactory(parent=msp, kind="group", name="Bakers")
    an_off_vm(host, vcpus=4)
    quota = quota_set(actor=SYSTEM, tenant=group, limits={"vcpus": 3})
    quota_set(actor=SYSTEM, tenant=msp, limits={"vms": 0})
    with pytest.raises(QuotaExceededError, match="The quota of Bakers allows 3 vCPUs"):
        tenant_move(actor=SYSTEM, tenant=customer, parent=group)
    customer.refresh_from_db()
    assert customer.parent == msp
    quota_set(actor=SYSTEM, tenant=group, limits={"vcpus": 4})
    tenant_move(actor=SYSTEM, tenant=customer, parent=group)
    assert used(quota).vcpus == 4
    tenant_move(actor=SYSTEM, tenant=customer, parent=msp)
    assert used(quota).vcpus == 0


# ------------------------------------------------------------------ who is told what


def as_person(user: Any) -> Any:
    """In their own scope, as a request is."""
    return scope_of(user)


def test_who_hits_a_limit_above_learns_neither_numbers_nor_whose_it_is(msp, customer, host):
    an_off_vm(host_of(CustomerFactory(parent=msp, name="Birch Ltd")), vcpus=13)
    quota_set(actor=SYSTEM, tenant=msp, limits={"vcpus": 14})
    admin = MembershipFactory(tenant=customer, role="customer-administrator").user
    with as_person(admin), pytest.raises(QuotaExceededError) as refused:
        create(host, actor=Actor(user=admin))
    assert refused.value.message == (
        "Alder Ltd can't have more vCPUs now: a limit that Northwind has set is reached. Ask for "
        "less, or ask Northwind for more."
    )
    technician = MembershipFactory(tenant=msp, role="msp-technician").user
    with as_person(technician), pytest.raises(QuotaExceededError, match="13 in use, 2 more"):
        create(host, actor=Actor(user=technician))


def test_a_customer_is_told_the_numbers_of_its_own_quota(customer, host):
    an_off_vm(host)
    quota_set(actor=SYSTEM, tenant=customer, limits={"vcpus": 1})
    admin = MembershipFactory(tenant=customer, role="customer-administrator").user
    with as_person(admin), pytest.raises(QuotaExceededError, match="allows 1 vCPUs"):
        create(host, actor=Actor(user=admin))


def test_a_quota_that_counts_what_is_kept_from_a_person_is_kept_from_them_too(msp, customer, host):
    whole = quota_set(actor=SYSTEM, tenant=msp, limits={"vcpus": 1})
    own = quota_set(actor=SYSTEM, tenant=customer, limits={"vcpus": 1})
    of_site = quota_set(actor=SYSTEM, tenant=customer, site=host.site, limits={"vcpus": 1})
    vm = an_off_vm(host)

    def seen(*kept: Any) -> set[Quota]:
        user = MembershipFactory(tenant=msp, role="msp-owner").user
        for thing in kept:
            deny(user, thing)
        with as_person(user):
            return set(Quota.objects.allowed(user, "tenant.view"))

    assert seen() == {whole, own, of_site}
    assert seen(CustomerFactory(parent=msp)) == {own, of_site}
    assert seen(host.site) == set()
    assert seen(vm) == set()
    assert seen(SiteFactory(tenant=customer)) == {of_site}


# ------------------------------------------------------------------ counting


def test_counting_takes_as_many_queries_for_many_quotas_as_for_one(
    msp, customer, host, django_assert_num_queries
):
    an_off_vm(host)
    vm_resize(actor=SYSTEM, vm=an_off_vm(host), vcpus=2)
    quotas = [quota_set(actor=SYSTEM, tenant=msp, limits={"vms": 1})]
    with django_assert_num_queries(4):
        quota_usages(quotas)
    for _ in range(5):
        more = host_of(CustomerFactory(parent=msp))
        an_off_vm(more)
        for site in (None, more.site):
            quotas.append(quota_set(actor=SYSTEM, tenant=more.tenant, site=site, limits={"vms": 1}))
    with django_assert_num_queries(4):
        found = quota_usages(quotas)
    assert found[quotas[0].pk].vms == 7
    assert [found[quota.pk].vms for quota in quotas[1:]] == [1] * 10


@pytest.mark.parametrize(
    ("name", "amount", "words"),
    [
        ("memory_mib", 512, "512 MiB"),
        ("memory_mib", 1536, "1.5 GiB"),
        ("memory_mib", 1_048_576, "1,024 GiB"),
        ("memory_mib", 20 * 1024**2, "20.0 TiB"),
        ("disk_gib", 500, "500 GiB"),
        ("disk_gib", 20_480, "20.0 TiB"),
        ("vms", 1200, "1,200"),
    ],
)
def test_amounts_are_said_as_people_say_them(name, amount, words):
    assert amount_words(name, amount) == words
