"""Whose policy binds whom: the strictest of all that do."""

from datetime import timedelta

import pytest

from tenants.models import MfaFor, Role, SignInMethod
from tenants.services.sign_in_rules import NO_RULES, sign_in_rules
from tests.factories import CustomerFactory, MembershipFactory, MspFactory, SignInPolicyFactory

pytestmark = pytest.mark.django_db


@pytest.fixture
def msp():
    return MspFactory(name="Northwind")


@pytest.fixture
def customer(msp):
    return CustomerFactory(parent=msp, name="Alder")


@pytest.fixture
def technician(msp):
    return MembershipFactory(tenant=msp, role="msp-technician").user


@pytest.fixture
def colleague(customer):
    return MembershipFactory(tenant=customer, role="customer-viewer").user


def test_without_a_policy_nothing_is_asked(technician, colleague):
    assert sign_in_rules(technician) == NO_RULES
    assert sign_in_rules(colleague) == NO_RULES


def test_an_msps_policy_binds_its_own_people_alone(msp, technician, colleague):
    SignInPolicyFactory(tenant=msp, mfa_for=MfaFor.EVERYBODY)
    assert sign_in_rules(technician).second_factor
    assert sign_in_rules(technician).asked_by == ("Northwind",)
    assert not sign_in_rules(colleague).second_factor


def test_an_msp_may_bind_its_customers_people_too(msp, colleague):
    SignInPolicyFactory(
        tenant=msp,
        mfa_for=MfaFor.EVERYBODY,
        for_customers=True,
        session_hours=8,
        methods=[SignInMethod.PROVIDER],
    )
    rules = sign_in_rules(colleague)
    assert rules.second_factor
    assert rules.session_length == timedelta(hours=8)
    # They have no account with the MSP's provider.
    assert SignInMethod.PASSWORD in rules.methods


def test_a_customers_policy_binds_the_technicians_who_reach_it(customer, technician, colleague):
    SignInPolicyFactory(tenant=customer, mfa_for=MfaFor.EVERYBODY, methods=["provider"])
    assert sign_in_rules(colleague).second_factor
    assert sign_in_rules(technician).second_factor
    assert sign_in_rules(colleague).methods == {"provider"}
    assert "password" in sign_in_rules(technician).methods


def test_a_customers_policy_binds_nobody_of_another_customer(msp, customer):
    other = MembershipFactory(tenant=CustomerFactory(parent=msp), role="customer-viewer").user
    SignInPolicyFactory(tenant=customer, mfa_for=MfaFor.EVERYBODY, for_customers=True)
    assert sign_in_rules(other) == NO_RULES


def test_the_strictest_of_all_policies_wins(msp, customer, technician):
    SignInPolicyFactory(tenant=msp, session_hours=12)
    SignInPolicyFactory(tenant=customer, session_hours=4)
    assert sign_in_rules(technician).session_length == timedelta(hours=4)


def test_a_second_factor_may_be_asked_of_some_roles(msp, technician):
    owner = MembershipFactory(tenant=msp, role="msp-owner").user
    role = Role.objects.get(slug="msp-owner")
    SignInPolicyFactory(tenant=msp, mfa_for=MfaFor.ROLES, mfa_roles=[role.id])
    assert sign_in_rules(owner).second_factor
    assert not sign_in_rules(technician).second_factor


def test_a_role_is_asked_for_wherever_it_reaches_the_tenant_from(msp, customer, technician):
    role = Role.objects.get(slug="msp-technician")
    SignInPolicyFactory(tenant=customer, mfa_for=MfaFor.ROLES, mfa_roles=[role.id])
    assert sign_in_rules(technician).second_factor
    reader = MembershipFactory(tenant=msp, role="msp-read-only").user
    assert not sign_in_rules(reader).second_factor


def test_where_no_policy_is_near_it_costs_one_query(technician, django_assert_num_queries):
    from tenants.scope import scope_of

    with scope_of(technician), django_assert_num_queries(1):
        sign_in_rules(technician)
