"""Deleting a customer, and who reads what was done for it afterwards."""

import pytest
from django.db import connection

from tenants.actor import SYSTEM
from tenants.errors import InvalidInputError
from tenants.models import AuditEvent, DeletedTenant, Tenant
from tenants.scope import scope_of
from tenants.services.tenant_removal import TenantNotEmptyError, tenant_remove
from tenants.services.tenants import site_create, site_remove, tenant_create
from tests.factories import ImageFactory, MembershipFactory, MspFactory

pytestmark = pytest.mark.django_db


@pytest.fixture
def msp():
    return MspFactory()


def readable_to(person):
    """Through both walls."""
    with scope_of(person):
        events = AuditEvent.objects.allowed(person, "audit.view")
        return sorted(events.values_list("action", flat=True))


def test_the_events_of_a_deleted_customer_stay_readable_to_its_msp_and_to_nobody_else(msp):
    technician = MembershipFactory(tenant=msp, role="msp-technician").user
    stranger = MembershipFactory(tenant=MspFactory(), role="msp-owner").user
    customer = tenant_create(actor=SYSTEM, name="Leaving", parent=msp)
    administrator = MembershipFactory(tenant=customer, role="customer-administrator").user
    sibling = tenant_create(actor=SYSTEM, name="Staying", parent=msp)
    neighbour = MembershipFactory(tenant=sibling, role="customer-administrator").user
    before = ["tenant.create", "tenant.create", "tenant.remove"]
    with scope_of(technician):
        tenant_remove(actor=SYSTEM, tenant=customer)
    assert readable_to(technician) == before
    assert readable_to(stranger) == readable_to(administrator) == []
    assert readable_to(neighbour) == ["tenant.create"]
    # Nor with the first wall gone.
    with scope_of(stranger):
        assert not AuditEvent.objects.exists()
    assert DeletedTenant.objects.get().name == "Leaving"


def test_a_group_that_is_deleted_hands_on_what_was_readable_through_it(msp):
    technician = MembershipFactory(tenant=msp, role="msp-technician").user
    group = tenant_create(actor=SYSTEM, name="Group", parent=msp, kind=Tenant.Kind.GROUP)
    customer = tenant_create(actor=SYSTEM, name="Customer", parent=group)
    tenant_remove(actor=SYSTEM, tenant=customer)
    tenant_remove(actor=SYSTEM, tenant=group)
    assert readable_to(technician) == ["tenant.create"] * 2 + ["tenant.remove"] * 2
    assert set(AuditEvent.objects.values_list("chain_id", flat=True)) == {msp.id}


def test_a_customer_with_something_in_it_is_left_alone_and_that_is_no_event(msp):
    customer = tenant_create(actor=SYSTEM, name="Full", parent=msp)
    site = site_create(actor=SYSTEM, tenant=customer, name="Main")
    with pytest.raises(TenantNotEmptyError, match="Full has sites still"):
        tenant_remove(actor=SYSTEM, tenant=customer)
    assert not AuditEvent.objects.filter(action="tenant.remove").exists()
    assert not DeletedTenant.objects.exists()
    site_remove(actor=SYSTEM, site=site)
    ImageFactory(tenant=customer)
    tenant_remove(actor=SYSTEM, tenant=customer)
    connection.check_constraints()
    assert not Tenant.objects.filter(pk=customer.pk).exists()


def test_an_msp_is_not_deleted(msp):
    with pytest.raises(InvalidInputError, match="An MSP can't be deleted"):
        tenant_remove(actor=SYSTEM, tenant=msp)
