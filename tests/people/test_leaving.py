"""Leaving: one action ends what the actor may end, and closes the account where nothing is left."""

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from tenants.actor import Actor
from tenants.models import AccessRule, ApiToken, AuditEvent, Invitation, Membership, User
from tenants.scope import scope_of
from tenants.services.invitations import invitation_create
from tenants.services.leaving import NothingToEndError, leaving_preview, person_leave
from tenants.services.owners import LastOwnerError
from tenants.services.people import api_token_create
from tenants.services.rechecks import recheck_ended
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
    return MspFactory(name="Northwind")


@pytest.fixture
def customer(msp):
    return CustomerFactory(parent=msp, name="Alder Ltd")


@pytest.fixture
def admin(customer):
    return MembershipFactory(tenant=customer, role="customer-administrator").user


@pytest.fixture
def person(customer):
    return MembershipFactory(tenant=customer, role="customer-operator").user


def leave(actor, person):
    with scope_of(actor):
        return person_leave(actor=Actor(user=actor), person=person)


def signed_in(user):
    client = Client()
    client.force_login(user)
    # A session is listed from its first visit on.
    assert client.get("/").status_code == 200
    return client


def test_sessions_and_tokens_end_with_the_last_membership(admin, person, customer):
    browser = signed_in(person)
    _, secret = api_token_create(user=person, name="script")
    with scope_of(admin):
        before = leaving_preview(actor=Actor(user=admin), person=person)
    assert (len(before.memberships), before.sessions, before.tokens) == (1, 1, 1)
    leave(admin, person)
    assert "/account/login/" in browser.get("/vms/")["Location"]
    answer = Client().get("/api/v1/vms/", headers={"authorization": f"Bearer {secret}"})
    assert answer.status_code == 401
    assert ApiToken.objects.get().revoked_at is not None
    person.refresh_from_db()
    assert not person.is_active
    event = AuditEvent.objects.filter(action="membership.end").get()
    assert (event.tenant, event.before) == (customer, {"roles": ["Customer operator"]})


def test_who_has_a_role_elsewhere_keeps_their_account_sessions_and_tokens(admin, person, customer):
    elsewhere = MembershipFactory(user=person).tenant
    browser = signed_in(person)
    api_token_create(user=person, name="script")
    [ended] = leave(admin, person).memberships
    assert ended.tenant == customer
    assert browser.get("/vms/").status_code == 200
    assert ApiToken.objects.get().revoked_at is None
    assert Membership.objects.current().get(user=person).tenant == elsewhere
    # And nothing of it is told to whoever ended this.
    assert not AuditEvent.objects.filter(tenant=elsewhere, action="membership.end").exists()


def test_the_preview_says_the_same_with_a_role_elsewhere_and_without(admin, person):
    def words():
        client = signed_in(admin)
        text = client.get(f"/people/{person.pk}/leave/").content.decode()
        return text.split('data-testid="leaving"')[1].split("</ul>")[0]

    alone = words()
    MembershipFactory(user=person)
    assert words() == alone


def test_memberships_beyond_the_actors_reach_stay(admin, msp):
    technician = MembershipFactory(tenant=msp, role="msp-technician").user
    with pytest.raises(NothingToEndError, match="above yours"):
        leave(admin, technician)
    assert Membership.objects.current().filter(user=technician).exists()


def test_from_above_all_memberships_below_end(msp, customer, person):
    owner = MembershipFactory(tenant=msp, role="msp-owner").user
    MembershipFactory(user=person, tenant=CustomerFactory(parent=msp))
    assert len(leave(owner, person).memberships) == 2
    assert not User.objects.get(pk=person.pk).is_active


def test_the_last_owner_of_an_msp_stays(msp):
    owner = MembershipFactory(tenant=msp, role="msp-owner").user
    with pytest.raises(LastOwnerError, match="Make somebody else"):
        leave(owner, owner)
    brief = MembershipFactory(tenant=msp, role="msp-owner")
    Membership.objects.filter(pk=brief.pk).update(expires_at=timezone.now() + timedelta(days=1))
    closed = MembershipFactory(tenant=msp, role="msp-owner", user__is_active=False)
    with pytest.raises(LastOwnerError):
        leave(owner, owner)
    assert Membership.objects.current().filter(user=owner).exists()
    User.objects.filter(pk=closed.user_id).update(is_active=True)
    leave(owner, owner)


def test_single_sites_and_vms_end_too_and_denials_stay(admin, customer):
    site = SiteFactory(tenant=customer)
    vendor = UserFactory()
    grant(vendor, site)
    deny(vendor, customer.parent)
    denied = AccessRule.objects.get(effect="deny")
    [ended] = leave(admin, vendor).grants
    assert ended.site == site
    assert not AccessRule.objects.grants(vendor).exists()
    assert list(AccessRule.objects.of(vendor)) == [denied]
    assert not User.objects.get(pk=vendor.pk).is_active


def test_nobody_ends_what_gives_more_than_they_hold(admin, customer):
    technician = MembershipFactory(tenant=customer, role="msp-owner").user
    with pytest.raises(NothingToEndError, match="more than you"):
        leave(admin, technician)


def test_invitations_to_who_leaves_are_taken_back(admin, person, customer):
    from tenants.models import Role

    with scope_of(admin):
        invitation_create(
            actor=Actor(user=admin),
            tenant=customer,
            role=Role.objects.get(tenant=None, slug="customer-viewer"),
            email=person.email,
        )
    leave(admin, person)
    assert Invitation.objects.get().state == "revoked"


def test_the_page_says_what_ends_and_ends_it(admin, person, customer):
    client = signed_in(admin)
    page = client.get(f"/people/{person.pk}/").content.decode()
    assert f"/people/{person.pk}/leave/" in page
    preview = client.get(f"/people/{person.pk}/leave/").content.decode()
    assert "Customer operator</span> of Alder Ltd" in preview
    answer = client.post(f"/people/{person.pk}/leave/", follow=True)
    text = answer.content.decode()
    assert "1 role ended" in text
    assert "Left" in text
    again = client.post(f"/people/{person.pk}/leave/", follow=True).content.decode()
    assert "no membership that you may end" in again


def test_who_may_see_people_may_not_end_them(customer, person):
    reader = MembershipFactory(tenant=customer, role="msp-read-only").user
    client = signed_in(reader)
    assert "/leave/" not in client.get(f"/people/{person.pk}/").content.decode()
    assert client.get(f"/people/{person.pk}/leave/").status_code == 404
    assert client.post(f"/people/{person.pk}/leave/").status_code == 404


def test_what_ends_by_itself_is_noticed(person):
    Membership.objects.filter(user=person).update(expires_at=timezone.now())
    assert recheck_ended() == 1
    Membership.objects.update(expires_at=timezone.now() - timedelta(hours=1))
    assert recheck_ended() == 0
