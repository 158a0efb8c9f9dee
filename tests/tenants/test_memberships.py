"""Giving and taking access: never more than one holds, and never to oneself."""

from datetime import timedelta

import pytest
from django.utils import timezone

from tenants.actor import SYSTEM, Actor
from tenants.errors import InvalidInputError, NameTakenError
from tenants.models import AccessRule, AuditEvent, Membership, Role, Site, Tenant
from tenants.services.authority import OwnAccessError, SurplusPermissionsError
from tenants.services.memberships import (
    RoleElsewhereError,
    access_deny,
    access_grant,
    access_rule_end,
    membership_add,
    membership_change,
    membership_end,
)
from tenants.services.tenants import tenant_create, tenant_move
from tests.factories import (
    CustomerFactory,
    MembershipFactory,
    MspFactory,
    SiteFactory,
    UserFactory,
    deny,
    grant,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def msp():
    return MspFactory(name="Nordlicht")


@pytest.fixture
def customer(msp):
    return CustomerFactory(parent=msp, name="Bäcker")


@pytest.fixture
def admin(customer):
    user = MembershipFactory(tenant=customer, role="customer-administrator").user
    return Actor(user=user)


@pytest.fixture
def owner(msp):
    return Actor(user=MembershipFactory(tenant=msp, role="msp-owner").user)


def role(slug) -> Role:
    return Role.objects.get(tenant=None, slug=slug)


def test_a_membership_is_given_for_a_while(admin, customer):
    friday = timezone.now() + timedelta(days=3)
    person = MembershipFactory(tenant=customer, role="customer-viewer").user
    given = membership_add(
        actor=admin, user=person, tenant=customer, role=role("customer-operator"), expires_at=friday
    )
    assert given.expires_at == friday
    event = AuditEvent.objects.get(action="membership.create")
    assert event.after == {"role": "Customer operator", "expires_at": friday.isoformat()}
    with pytest.raises(NameTakenError, match="already"):
        membership_add(actor=admin, user=person, tenant=customer, role=role("customer-operator"))


def test_an_ended_membership_can_be_given_anew(admin, customer):
    past = timezone.now() - timedelta(days=1)
    ended = MembershipFactory(tenant=customer, role="customer-viewer", expires_at=past)
    membership_add(actor=admin, user=ended.user, tenant=customer, role=role("customer-viewer"))
    assert Membership.objects.get(user=ended.user).expires_at is None


def test_nobody_gives_more_than_they_hold(admin, customer):
    person = UserFactory()
    with pytest.raises(SurplusPermissionsError, match="“Add and change customers”"):
        membership_add(actor=admin, user=person, tenant=customer, role=role("msp-owner"))
    with pytest.raises(SurplusPermissionsError):
        access_grant(
            actor=admin, user=person, thing=SiteFactory(tenant=customer), role=role("msp-owner")
        )


def test_nobody_changes_what_gives_more_than_they_hold(admin, customer):
    theirs = MembershipFactory(tenant=customer, role="msp-owner")
    with pytest.raises(SurplusPermissionsError, match="more on Bäcker than you hold"):
        membership_end(actor=admin, membership=theirs)
    with pytest.raises(SurplusPermissionsError):
        membership_change(
            actor=admin, membership=theirs, role=role("customer-viewer"), expires_at=None
        )
    with pytest.raises(SurplusPermissionsError):
        access_deny(actor=admin, user=theirs.user, thing=customer)


def test_nobody_changes_their_own_access(admin, customer):
    mine = Membership.objects.get(user=admin.user)
    viewer = role("customer-viewer")
    for change in (
        lambda: membership_add(actor=admin, user=admin.user, tenant=customer, role=viewer),
        lambda: membership_change(actor=admin, membership=mine, role=viewer, expires_at=None),
        lambda: membership_end(actor=admin, membership=mine),
        lambda: access_deny(actor=admin, user=admin.user, thing=customer),
        lambda: access_grant(
            actor=admin, user=admin.user, thing=SiteFactory(tenant=customer), role=viewer
        ),
    ):
        with pytest.raises(OwnAccessError, match="own access"):
            change()


def test_a_role_of_another_tenant_is_not_given(msp, customer):
    other = Role.objects.create(
        tenant=CustomerFactory(parent=msp), slug="x", name="X", permissions=["vm.view"]
    )
    with pytest.raises(RoleElsewhereError):
        membership_add(actor=SYSTEM, user=UserFactory(), tenant=customer, role=other)


def test_an_end_in_the_past_is_refused(admin, customer):
    with pytest.raises(InvalidInputError, match="past"):
        membership_add(
            actor=admin, user=UserFactory(), tenant=customer, role=role("customer-viewer"),
            expires_at=timezone.now(),
        )  # fmt: skip


def test_denials_stay_when_the_membership_ends(owner, customer, msp):
    technician = MembershipFactory(tenant=msp, role="msp-technician")
    access_deny(actor=owner, user=technician.user, thing=customer)
    membership_end(actor=owner, membership=technician)
    MembershipFactory(user=technician.user, tenant=msp, role="msp-technician")
    assert customer not in Tenant.objects.allowed(technician.user, "tenant.view")
    rule = AccessRule.objects.get()
    access_rule_end(actor=owner, rule=rule)
    assert customer in Tenant.objects.allowed(technician.user, "tenant.view")
    actions = AuditEvent.objects.order_by("created_at").values_list("action", flat=True)
    assert list(actions) == ["access.deny", "membership.end", "access.deny.end"]


def test_whoever_is_denied_a_part_lets_nobody_else_in_there(owner, customer, msp):
    deny(owner.user, customer)
    friend = UserFactory()
    with pytest.raises(SurplusPermissionsError, match="kept from you"):
        membership_add(actor=owner, user=friend, tenant=msp, role=role("msp-technician"))
    deny(friend, customer)
    membership_add(actor=owner, user=friend, tenant=msp, role=role("msp-technician"))


def test_a_denial_is_lifted_only_by_who_holds_what_comes_back(admin, customer, msp):
    technician = MembershipFactory(tenant=msp, role="msp-technician").user
    rule = deny(technician, customer)
    with pytest.raises(SurplusPermissionsError, match="would have again"):
        access_rule_end(actor=admin, rule=rule)
    assert AccessRule.objects.exists()


def test_one_site_is_given_and_taken_back(admin, customer):
    site = SiteFactory(tenant=customer)
    person = UserFactory()
    rule = access_grant(actor=admin, user=person, thing=site, role=role("customer-viewer"))
    assert list(Site.objects.allowed(person, "site.view")) == [site]
    access_rule_end(actor=admin, rule=rule)
    assert not Site.objects.allowed(person, "site.view").exists()


# ------------------------------------------------------------------ groups of customers


def test_a_customer_moves_into_a_group_and_out_again(owner, msp, customer):
    group = tenant_create(actor=owner, name="North", parent=msp, kind="group")
    keeper = MembershipFactory(tenant=group, role="msp-technician").user
    assert tenant_move(actor=owner, tenant=customer, parent=group).parent == group
    assert customer in Tenant.objects.allowed(keeper, "vm.view")
    tenant_move(actor=owner, tenant=customer, parent=msp)
    assert customer not in Tenant.objects.allowed(keeper, "vm.view")
    assert AuditEvent.objects.filter(action="tenant.move").count() == 2


def test_moves_that_make_no_sense_are_refused(owner, msp, customer):
    group = tenant_create(actor=owner, name="North", parent=msp, kind="group")
    other = MspFactory()
    MembershipFactory(user=owner.user, tenant=other, role="msp-owner")
    with pytest.raises(InvalidInputError, match="another MSP"):
        tenant_move(actor=owner, tenant=customer, parent=other)
    with pytest.raises(InvalidInputError, match="Only a customer"):
        tenant_move(actor=owner, tenant=group, parent=other)
    with pytest.raises(InvalidInputError, match="one level deep"):
        tenant_move(actor=owner, tenant=customer, parent=CustomerFactory(parent=msp))
    with pytest.raises(InvalidInputError, match="right below its MSP"):
        tenant_create(actor=owner, name="Deeper", parent=group, kind="group")


def test_a_customer_does_not_leave_a_group_whose_roles_are_in_use_on_it(owner, msp):
    group = CustomerFactory(parent=msp, kind="group")
    inside = CustomerFactory(parent=group)
    keeper = Role.objects.create(tenant=group, slug="k", name="Keeper", permissions=["vm.view"])
    MembershipFactory(tenant=inside, role=keeper)
    with pytest.raises(InvalidInputError, match="Keeper"):
        tenant_move(actor=owner, tenant=inside, parent=msp)


def test_a_move_raises_nobody(msp, customer):
    """Who manages customers of the MSP and owns a group would own what they move there."""
    narrow = Role.objects.create(
        tenant=msp, slug="n", name="N", permissions=["tenant.view", "tenant.manage", "user.manage"]
    )
    group = CustomerFactory(parent=msp, kind="group")
    mover = MembershipFactory(tenant=msp, role=narrow).user
    MembershipFactory(user=mover, tenant=group, role="msp-owner")
    with pytest.raises(SurplusPermissionsError, match="more on Bäcker than now"):
        tenant_move(actor=Actor(user=mover), tenant=customer, parent=group)


def test_a_grant_counts_for_whoever_uses_it_alone(customer):
    site = SiteFactory(tenant=customer)
    holder = grant(UserFactory(), site, role="customer-administrator").user
    with pytest.raises(SurplusPermissionsError):
        membership_add(
            actor=Actor(user=holder), user=UserFactory(), tenant=customer,
            role=role("customer-viewer"),
        )  # fmt: skip
