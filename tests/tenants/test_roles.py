"""Composing roles, and giving them: never more than one holds."""

import pytest

from tenants.actor import Actor
from tenants.errors import InvalidInputError, NameTakenError
from tenants.models import AuditEvent, Role
from tenants.permissions import BUILT_IN_ROLES, PERMISSIONS, SUBJECTS, by_subject
from tenants.services.authority import OwnAccessError, SurplusPermissionsError
from tenants.services.roles import (
    BuiltInRoleError,
    RoleInUseError,
    role_change,
    role_create,
    role_delete,
)
from tests.factories import CustomerFactory, MembershipFactory, MspFactory, UserFactory

pytestmark = pytest.mark.django_db


@pytest.fixture
def msp():
    return MspFactory(name="Nordlicht")


@pytest.fixture
def customer(msp):
    return CustomerFactory(parent=msp, name="Bäcker")


@pytest.fixture
def admin(customer):
    """Who manages roles and people of a customer, and no hosts."""
    user = MembershipFactory(tenant=customer, role="customer-administrator").user
    return Actor(user=user)


def custom(tenant, *permissions, name="Helper") -> Role:
    return Role.objects.create(
        tenant=tenant, slug=name.lower(), name=name, permissions=list(permissions)
    )


def test_a_role_is_composed_of_what_its_maker_holds(admin, customer):
    role = role_create(
        actor=admin, tenant=customer, name="Night shift", permissions=["vm.power", "vm.view"]
    )
    assert role.permissions == ["vm.view", "vm.power"]
    event = AuditEvent.objects.get(action="role.create")
    assert event.after == {"name": "Night shift", "permissions": ["vm.view", "vm.power"]}


def test_the_surplus_is_named_in_words(admin, customer):
    with pytest.raises(SurplusPermissionsError, match="“Add and change sites”") as refusal:
        role_create(
            actor=admin, tenant=customer, name="Too much", permissions=["vm.view", "site.manage"]
        )
    assert "See VMs" not in refusal.value.message
    assert not Role.objects.filter(tenant=customer).exists()


def test_nobody_composes_roles_of_a_tenant_where_they_hold_nothing(admin, msp):
    with pytest.raises(SurplusPermissionsError):
        role_create(actor=admin, tenant=msp, name="Above", permissions=["vm.view"])


def test_a_change_adds_nothing_that_the_editor_lacks(admin, customer):
    role = custom(customer, "vm.view", "site.manage")
    with pytest.raises(SurplusPermissionsError):
        role_change(actor=admin, role=role, permissions=["vm.view", "hypervisor.manage"])
    # What it had before may stay: nothing grows by it.
    role_change(actor=admin, role=role, permissions=["vm.view", "site.manage", "vm.power"])
    role_change(actor=admin, role=role, permissions=["vm.view"])
    with pytest.raises(SurplusPermissionsError):
        role_change(actor=admin, role=role, permissions=["vm.view", "site.manage"])


def test_nobody_adds_to_a_role_they_have(admin, customer):
    role = custom(customer, "vm.view")
    MembershipFactory(user=admin.user, tenant=customer, role=role)
    with pytest.raises(OwnAccessError, match="yourself"):
        role_change(actor=admin, role=role, permissions=["vm.view", "vm.power"])
    assert role_change(actor=admin, role=role, name="Renamed").name == "Renamed"


def test_built_in_roles_stay_as_they_are(admin):
    role = Role.objects.get(tenant=None, slug="customer-viewer")
    for change in (
        lambda: role_change(actor=admin, role=role, permissions=["vm.view"]),
        lambda: role_delete(actor=admin, role=role),
    ):
        with pytest.raises(BuiltInRoleError, match="stays as it is"):
            change()


def test_a_role_in_use_is_kept_and_its_holders_are_named(admin, customer):
    role = custom(customer, "vm.view")
    MembershipFactory(tenant=customer, role=role, user=UserFactory(name="Ada"))
    MembershipFactory(tenant=customer, role=role, user=UserFactory(name="Grace"))
    with pytest.raises(RoleInUseError, match="in use by Ada, Grace"):
        role_delete(actor=admin, role=role)
    role.memberships.all().delete()
    role_delete(actor=admin, role=role)
    assert not Role.objects.filter(pk=role.pk).exists()


def test_names_are_taken_once_and_not_those_of_built_in_roles(admin, customer):
    custom(customer, "vm.view", name="Helper")
    for name in ("helper", "Customer viewer"):
        with pytest.raises(NameTakenError):
            role_create(actor=admin, tenant=customer, name=name, permissions=["vm.view"])


@pytest.mark.parametrize(
    ("name", "permissions"), [("!", ["vm.view"]), ("x", []), ("x", ["vm.fly"])]
)
def test_what_is_no_role_is_refused(admin, customer, name, permissions):
    with pytest.raises(InvalidInputError):
        role_create(actor=admin, tenant=customer, name=name, permissions=permissions)


def test_each_permission_has_its_words_under_a_subject():
    listed = [name for _, some in by_subject() for name, _ in some]
    assert sorted(listed) == sorted(PERMISSIONS)
    assert {name.partition(".")[0] for name in PERMISSIONS} <= set(SUBJECTS)


def test_the_owner_holds_all_there_is():
    assert BUILT_IN_ROLES["msp-owner"][1] == set(PERMISSIONS)
