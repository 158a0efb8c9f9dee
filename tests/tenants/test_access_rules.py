"""Exceptions: what is denied in spite of a membership, and what is given without one."""

from datetime import timedelta

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from hypervisors.models import Hypervisor, Job, JoinToken, Network
from tenants.models import AccessRule, AuditEvent, Membership, Site, Tenant
from tenants.scope import scope_of
from tenants.services.reach import reach_tenants
from tests.factories import (
    CustomerFactory,
    HypervisorFactory,
    ImageFactory,
    JobFactory,
    JoinTokenFactory,
    MembershipFactory,
    MspFactory,
    NetworkFactory,
    SiteFactory,
    UserFactory,
    VirtualMachineFactory,
    deny,
    grant,
)
from vms.models import Image, VirtualMachine

pytestmark = pytest.mark.django_db


class Place:
    """A site with a host, a network, two VMs and a job of each."""

    def __init__(self, tenant: Tenant) -> None:
        self.tenant = tenant
        self.site = SiteFactory(tenant=tenant)
        self.host = HypervisorFactory(site=self.site)
        self.network = NetworkFactory(hypervisor=self.host)
        self.token = JoinTokenFactory(site=self.site)
        self.vm, self.other = (
            VirtualMachineFactory(hypervisor=self.host, network=self.network) for _ in range(2)
        )
        self.job, self.other_job = (
            JobFactory(hypervisor=self.host, subject_id=vm.id) for vm in (self.vm, self.other)
        )


@pytest.fixture
def msp() -> Tenant:
    return MspFactory()


@pytest.fixture
def customer(msp) -> Tenant:
    return CustomerFactory(parent=msp)


@pytest.fixture
def first(customer) -> Place:
    return Place(customer)


@pytest.fixture
def second(customer) -> Place:
    """Another site of the same customer."""
    return Place(customer)


def seen(user, *models) -> set:
    """Rows of these kinds that the person may see, with both walls up."""
    words = {Job: "job.view", VirtualMachine: "vm.view", Site: "site.view", Tenant: "tenant.view"}
    words |= {Hypervisor: "hypervisor.view", Network: "network.view", Image: "image.view"}
    words |= {JoinToken: "hypervisor.view", AuditEvent: "audit.view"}
    with scope_of(user):
        return {row for model in models for row in model.objects.allowed(user, words[model])}


ALL = (Tenant, Site, Hypervisor, Network, VirtualMachine, Job, JoinToken)


def test_all_customers_except_one(msp, customer):
    others = {CustomerFactory(parent=msp), CustomerFactory(parent=msp)}
    user = MembershipFactory(tenant=msp, role="msp-technician").user
    deny(user, customer)
    assert seen(user, Tenant) == {msp, *others}
    assert set(reach_tenants(user)) == {row.id for row in (msp, *others)}


def test_a_denied_group_takes_its_customers_along(msp):
    group = CustomerFactory(parent=msp, kind="group")
    CustomerFactory(parent=group)
    user = MembershipFactory(tenant=msp, role="msp-owner").user
    deny(user, group)
    assert seen(user, Tenant) == {msp}


def test_a_denial_wins_whichever_membership_gives_the_same(msp, customer, first):
    user = MembershipFactory(tenant=msp, role="msp-owner").user
    deny(user, customer)
    MembershipFactory(user=user, tenant=customer, role="customer-administrator")
    grant(user, first.site)
    grant(user, first.vm)
    assert seen(user, *ALL) == {msp}
    assert reach_tenants(user) == [msp.id]


def test_a_denied_site_takes_all_that_is_there_along(customer, first, second):
    user = MembershipFactory(tenant=customer, role="msp-owner").user
    grant(user, first.vm)
    deny(user, first.site)
    there = {second.site, second.host, second.network, second.vm, second.other}
    there |= {second.job, second.other_job, second.token}
    assert seen(user, *ALL) == {customer, *there}


def test_a_denied_vm_is_gone_and_nothing_else(customer, first):
    user = MembershipFactory(tenant=customer, role="msp-owner").user
    deny(user, first.vm)
    assert seen(user, VirtualMachine, Job) == {first.other, first.other_job}
    assert seen(user, Hypervisor, Site) == {first.host, first.site}


def test_jobs_about_no_vm_stay_in_sight_of_who_is_denied_one(customer, first):
    user = MembershipFactory(tenant=customer, role="msp-owner").user
    deny(user, first.vm)
    plain = JobFactory(hypervisor=first.host, subject_id=None)
    assert plain in seen(user, Job)


def test_only_this_site(first, second):
    user = grant(UserFactory(), first.site, role="customer-operator").user
    there = {first.site, first.host, first.network, first.vm, first.other}
    there |= {first.job, first.other_job, first.token}
    assert seen(user, *ALL) == there


def test_only_this_vm(first, second):
    user = grant(UserFactory(), first.vm, role="msp-owner").user
    assert seen(user, *ALL) == {first.vm, first.job}


def test_who_has_a_site_may_use_its_customers_images_and_who_has_a_vm_need_not(msp, first):
    image = ImageFactory(tenant=msp)
    assert image in seen(grant(UserFactory(), first.site).user, Image)
    assert seen(grant(UserFactory(), first.vm).user, Image) == set()


def test_what_has_ended_neither_gives_nor_takes(customer, first):
    yesterday = timezone.now() - timedelta(days=1)
    assert seen(grant(UserFactory(), first.site, expires_at=yesterday).user, *ALL) == set()
    user = MembershipFactory(tenant=customer, role="msp-owner").user
    deny(user, customer, expires_at=yesterday)
    assert customer in seen(user, Tenant)


def test_a_grant_holds_only_what_its_role_does(first):
    user = grant(UserFactory(), first.vm, role="customer-viewer").user
    assert VirtualMachine.objects.allowed(user, "vm.view").count() == 1
    assert VirtualMachine.objects.allowed(user, "vm.power").count() == 0
    assert Membership.objects.permissions_on(user, first.vm) >= {"vm.view"}
    assert "vm.power" not in Membership.objects.permissions_on(user, first.vm)
    assert Membership.objects.permissions_on(user, first.other) == frozenset()
    assert Membership.objects.permissions_on(user, first.tenant) == frozenset()


def test_who_is_denied_a_part_does_not_read_of_it_in_the_audit_log(customer, first):
    AuditEvent.objects.create(tenant=customer, actor_name="x", action="y", object_name=first.vm)
    user = MembershipFactory(tenant=customer, role="msp-owner").user
    assert len(seen(user, AuditEvent)) == 1
    deny(user, first.vm)
    assert seen(user, AuditEvent) == set()


def test_who_has_left_has_no_grants_either(first):
    user = grant(UserFactory(), first.site).user
    user.is_active = False
    user.save()
    assert seen(user, *ALL) == set()


@pytest.mark.parametrize(
    "shape",
    [{"effect": "allow"}, {"effect": "allow", "site": 1, "vm": 1}, {"effect": "deny", "role": 1}],
)
def test_the_database_refuses_a_rule_that_says_nothing_clear(shape, first):
    role = grant(UserFactory(), first.vm).role
    words = {"site": first.site, "vm": first.vm, "role": role}
    fields = {name: words[name] if value == 1 else value for name, value in shape.items()}
    if fields["effect"] == "allow":
        fields["role"] = role
    with pytest.raises(IntegrityError), transaction.atomic():
        AccessRule.objects.create(user=UserFactory(), tenant=first.tenant, **fields)


def test_a_rule_goes_with_what_it_is_about(first):
    grant(UserFactory(), first.vm)
    VirtualMachine.objects.filter(id=first.vm.id).delete()
    assert not AccessRule.objects.exists()
