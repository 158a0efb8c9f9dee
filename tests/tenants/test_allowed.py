"""Who sees which rows: `.allowed(user, permission)`."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import AnonymousUser
from django.utils import timezone

from tenants.models import Site, Tenant
from tenants.permissions import BUILT_IN_ROLES, PERMISSIONS, UnknownPermissionError
from tests.factories import (
    CustomerFactory,
    MembershipFactory,
    MspFactory,
    SiteFactory,
    UserFactory,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def tree():
    """An MSP with a group of customers, a customer in it, and a neighbour beside it."""
    msp = MspFactory()
    group = CustomerFactory(parent=msp)
    customer = CustomerFactory(parent=group)
    neighbour = CustomerFactory(parent=group)
    for tenant in (msp, group, customer, neighbour):
        SiteFactory(tenant=tenant)
    return msp, group, customer, neighbour


def seen(user) -> set[Tenant]:
    return {site.tenant for site in Site.objects.allowed(user, "site.view")}


def test_a_membership_reaches_down_the_tree_and_neither_up_nor_aside(tree):
    msp, group, customer, neighbour = tree
    at = lambda tenant: seen(MembershipFactory(tenant=tenant, role="msp-read-only").user)  # noqa: E731
    assert at(msp) == set(tree)
    assert at(group) == {group, customer, neighbour}
    assert at(customer) == {customer}


def test_no_membership_means_no_rows(tree):
    assert seen(UserFactory()) == set()
    assert seen(AnonymousUser()) == set()


def test_an_ended_membership_gives_nothing_any_more(tree):
    yesterday = timezone.now() - timedelta(days=1)
    user = MembershipFactory(tenant=tree[0], role="msp-owner", expires_at=yesterday).user
    assert seen(user) == set()


def test_who_has_left_sees_nothing(tree):
    user = MembershipFactory(tenant=tree[0], role="msp-owner").user
    user.is_active = False
    user.save()
    assert seen(user) == set()


def test_the_superuser_flag_opens_nothing(tree):
    user = UserFactory(is_superuser=True)
    assert seen(user) == set()


def test_only_roles_with_the_permission_count(tree):
    user = MembershipFactory(tenant=tree[2], role="customer-viewer").user
    assert Site.objects.allowed(user, "site.view").count() == 1
    assert Site.objects.allowed(user, "site.manage").count() == 0


def test_two_memberships_add_up_and_repeat_no_row(tree):
    _, _, customer, neighbour = tree
    user = UserFactory()
    MembershipFactory(user=user, tenant=customer, role="customer-viewer")
    MembershipFactory(user=user, tenant=customer, role="customer-operator")
    MembershipFactory(user=user, tenant=neighbour, role="customer-viewer")
    assert Site.objects.allowed(user, "site.view").count() == 2


def test_a_permission_that_does_not_exist_is_a_loud_error(tree):
    with pytest.raises(UnknownPermissionError):
        Site.objects.allowed(UserFactory(), "site.veiw")


def test_built_in_roles_hold_only_permissions_that_exist():
    for _, permissions in BUILT_IN_ROLES.values():
        assert permissions <= set(PERMISSIONS)


def test_no_role_of_a_customer_manages_hosts_or_tenants():
    for slug, (_, permissions) in BUILT_IN_ROLES.items():
        if slug.startswith("customer"):
            assert not permissions & {"tenant.manage", "hypervisor.manage", "site.manage"}
