"""An administrator ends all sessions of a person, who keeps their access."""

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import TOTP, generate_totp_secret
from allauth.usersessions.models import UserSession
from django.test import Client

from tenants.actor import SYSTEM, Actor
from tenants.models import AuditEvent, Membership
from tenants.services.people import api_token_create
from tenants.services.signing_out import NotYoursToSignOutError, person_sign_out
from tests.factories import CustomerFactory, MembershipFactory, MspFactory

pytestmark = pytest.mark.django_db


@pytest.fixture
def customer():
    return CustomerFactory(parent=MspFactory(name="Northwind"), name="Alder Ltd")


@pytest.fixture
def admin(customer):
    return MembershipFactory(tenant=customer, role="customer-administrator").user


@pytest.fixture
def person(customer):
    return MembershipFactory(tenant=customer, role="customer-operator").user


def signed_in(user):
    client = Client()
    client.force_login(user)
    # A session is listed from its first visit on.
    assert client.get("/").status_code == 200
    return client


def is_in(client):
    return client.get("/vms/").status_code == 200


def test_all_sessions_end_and_nothing_else_does(admin, person, customer):
    here, there, own = signed_in(person), signed_in(person), signed_in(admin)
    TOTP.activate(person, generate_totp_secret())
    _, secret = api_token_create(user=person, name="script")
    page = own.get(f"/people/{person.pk}/").content.decode()
    assert "End all sessions of" in page
    assert '<span class="num">2</span> sessions end at once' in page
    answer = own.post(f"/people/{person.pk}/sign-out/", follow=True)
    assert "2 sessions ended" in answer.content.decode()
    assert not is_in(here)
    assert not is_in(there)
    assert is_in(own)
    assert Membership.objects.current().filter(user=person, tenant=customer).exists()
    assert Authenticator.objects.filter(user=person).exists()
    with_token = {"authorization": f"Bearer {secret}"}
    assert Client().get("/api/v1/vms/", headers=with_token).status_code == 200
    assert is_in(signed_in(person))
    event = AuditEvent.objects.get(action="user.sign_out_everywhere")
    assert (event.tenant, event.actor, event.object_name) == (customer, admin, person.email)
    assert event.before == {"sessions": 2}


def test_by_the_api(admin, person, api_as):
    theirs = signed_in(person)
    answer = api_as(admin).post(f"/api/v1/people/{person.pk}/end-sessions/")
    assert answer.json() == {"sessions": 1}
    assert not is_in(theirs)


def test_somebody_of_another_tenant_is_not_there(admin, api_as):
    stranger = MembershipFactory(role="customer-operator").user
    theirs = signed_in(stranger)
    assert signed_in(admin).post(f"/people/{stranger.pk}/sign-out/").status_code == 404
    assert api_as(admin).post(f"/api/v1/people/{stranger.pk}/end-sessions/").status_code == 404
    assert is_in(theirs)


def test_whoever_does_not_manage_people_ends_nothing(person, customer, api_as):
    colleague = MembershipFactory(tenant=customer, role="customer-viewer").user
    theirs, own = signed_in(person), signed_in(colleague)
    assert own.post(f"/people/{person.pk}/sign-out/").status_code == 404
    assert api_as(colleague).post(f"/api/v1/people/{person.pk}/end-sessions/").status_code in (
        403,
        404,
    )
    page = own.get(f"/people/{person.pk}/")
    assert b"End all sessions" not in page.content
    assert is_in(theirs)


def test_a_customers_administrator_keeps_no_technician_from_others(admin, customer):
    technician = MembershipFactory(tenant=customer.parent, role="msp-technician").user
    MembershipFactory(tenant=customer, user=technician, role="customer-viewer")
    theirs, own = signed_in(technician), signed_in(admin)
    assert b"End all sessions" not in own.get(f"/people/{technician.pk}/").content
    answer = own.post(f"/people/{technician.pk}/sign-out/", follow=True)
    assert "manage people everywhere" in answer.content.decode()
    assert is_in(theirs)
    assert not AuditEvent.objects.filter(action="user.sign_out_everywhere").exists()
    owner = MembershipFactory(tenant=customer.parent, role="msp-owner").user
    signed_in(owner).post(f"/people/{technician.pk}/sign-out/")
    assert not is_in(theirs)


def test_ones_own_are_ended_elsewhere(admin):
    own = signed_in(admin)
    answer = own.post(f"/people/{admin.pk}/sign-out/", follow=True)
    assert "“Sign-in and sessions”" in answer.content.decode()
    assert is_in(own)


def test_a_token_for_less_than_its_owner_signs_nobody_out(admin, person, customer):
    theirs = signed_in(person)
    token, _ = api_token_create(user=admin, name="some", tenants=[customer])
    with pytest.raises(NotYoursToSignOutError):
        person_sign_out(actor=Actor(user=admin, token=token), person=person)
    whole, _ = api_token_create(user=admin, name="all")
    assert person_sign_out(actor=Actor(user=admin, token=whole), person=person) == 1
    assert not is_in(theirs)


def test_of_who_is_signed_in_nowhere_none_end(person):
    assert person_sign_out(actor=SYSTEM, person=person) == 0
    assert not UserSession.objects.exists()
