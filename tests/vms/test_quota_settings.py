"""Quotas: who sets them, to what, and what is told of it."""

from typing import Any

import pytest

from tenants.actor import SYSTEM, Actor
from tenants.errors import InvalidInputError
from tenants.models import AuditEvent
from tenants.scope import scope_of
from tenants.services.tenant_removal import tenant_remove
from tenants.services.tenants import site_remove
from tests.factories import CustomerFactory, MembershipFactory, MspFactory, SiteFactory
from vms.models import Quota
from vms.services.quota_settings import QuotaFromAboveError, quota_remove, quota_set

pytestmark = pytest.mark.django_db


@pytest.fixture
def msp():
    return MspFactory(name="Northwind")


@pytest.fixture
def customer(msp):
    return CustomerFactory(parent=msp, name="Alder Ltd")


def test_each_change_of_a_quota_is_one_event_with_before_and_after(msp, customer):
    owner = Actor(user=MembershipFactory(tenant=msp, role="msp-owner").user)
    quota_set(actor=owner, tenant=customer, limits={"vms": 5, "vcpus": 10})
    quota = quota_set(actor=owner, tenant=customer, limits={"vms": 7, "disk_gib": 100})
    quota_set(actor=owner, tenant=customer, limits={"vms": 7, "disk_gib": 100})
    quota_remove(actor=owner, quota=quota)
    events = AuditEvent.objects.filter(object_kind="quota").order_by("created_at")
    assert [(event.action, event.before, event.after) for event in events] == [
        ("quota.set", {"vms": None, "vcpus": None}, {"vms": 5, "vcpus": 10}),
        (
            "quota.set",
            {"vms": 5, "vcpus": 10, "disk_gib": None},
            {"vms": 7, "vcpus": None, "disk_gib": 100},
        ),
        ("quota.remove", {"vms": 7, "disk_gib": 100}, {}),
    ]
    assert {event.object_name for event in events} == {"Alder Ltd"}
    assert not Quota.objects.exists()


@pytest.mark.parametrize("limits", [{}, {"vms": None}, {"vms": -1}, {"disk_gib": 2**31}])
def test_a_quota_that_limits_nothing_or_nonsense_is_refused(customer, limits):
    with pytest.raises(InvalidInputError):
        quota_set(actor=SYSTEM, tenant=customer, limits=limits)
    assert not Quota.objects.exists()


def test_nobody_sets_their_own_quota_but_an_msp(msp, customer):
    group = CustomerFactory(parent=msp, kind="group")
    inside = CustomerFactory(parent=group)
    site = SiteFactory(tenant=inside)

    def may(user: Any, tenant: Any, site: Any = None) -> bool:
        with scope_of(user):
            try:
                quota_set(actor=Actor(user=user), tenant=tenant, site=site, limits={"vms": 1})
            except QuotaFromAboveError:
                return False
            return True

    owner = MembershipFactory(tenant=msp, role="msp-owner").user
    assert [may(owner, one) for one in (msp, group, inside, customer)] == [True] * 4
    of_group = MembershipFactory(tenant=group, role="msp-owner").user
    assert [may(of_group, one) for one in (group, inside)] == [False, True]
    assert may(of_group, inside, site)
    of_customer = MembershipFactory(tenant=inside, role="msp-owner").user
    assert [may(of_customer, inside), may(of_customer, inside, site)] == [False, False]
    for role in ("msp-technician", "msp-read-only", "msp-billing"):
        assert not may(MembershipFactory(tenant=msp, role=role).user, customer)
    with pytest.raises(QuotaFromAboveError, match="set by who manages quotas on all of"):
        quota_remove(
            actor=Actor(user=of_customer), quota=Quota.objects.get(tenant=inside, site=None)
        )


def test_a_quota_goes_with_its_site_and_its_customer(msp):
    customer = CustomerFactory(parent=msp)
    site = SiteFactory(tenant=customer)
    quota_set(actor=SYSTEM, tenant=customer, limits={"vms": 1})
    quota_set(actor=SYSTEM, tenant=customer, site=site, limits={"vms": 1})
    site_remove(actor=SYSTEM, site=site)
    assert Quota.objects.get().site is None
    tenant_remove(actor=SYSTEM, tenant=customer)
    assert not Quota.objects.exists()
