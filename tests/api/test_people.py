"""People and invitations over the API."""

import pytest
from django.core import mail
from django.core.cache import cache

from tenants.models import Invitation, Membership, Role
from tests.factories import CustomerFactory, MembershipFactory, MspFactory

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _fresh_limits():
    cache.clear()


@pytest.fixture
def customer():
    return CustomerFactory(parent=MspFactory(), name="Alder Ltd")


@pytest.fixture
def admin(customer):
    return MembershipFactory(tenant=customer, role="customer-administrator").user


def test_people_are_listed_with_the_memberships_that_one_may_see(api_as, admin, customer):
    person = MembershipFactory(tenant=customer, role="customer-viewer").user
    MembershipFactory(user=person)
    MembershipFactory()
    answer = api_as(admin).get("/api/v1/people/").json()
    found = {row["email"]: row for row in answer["results"]}
    assert set(found) == {admin.email, person.email}
    row = found[person.email]
    assert row["state"] == "active"
    assert [one["tenant"]["name"] for one in row["memberships"]] == ["Alder Ltd"]
    assert row["memberships"][0]["role"]["slug"] == "customer-viewer"


def test_another_tenants_person_is_a_404(api_as, admin):
    other = MembershipFactory().user
    client = api_as(admin)
    assert client.get(f"/api/v1/people/{other.pk}/").status_code == 404
    assert client.post(f"/api/v1/people/{other.pk}/leave/").status_code == 404


def test_leaving_answers_what_is_left(api_as, admin, customer):
    person = MembershipFactory(tenant=customer, role="customer-viewer").user
    answer = api_as(admin).post(f"/api/v1/people/{person.pk}/leave/")
    assert answer.status_code == 200
    assert answer.json()["state"] == "left"
    assert answer.json()["memberships"][0]["ended"] is True
    again = api_as(admin).post(f"/api/v1/people/{person.pk}/leave/")
    assert (again.status_code, again.json()["error"]["code"]) == (409, "nothing_to_end")


def test_inviting_sends_a_message_and_answers_no_link(api_as, admin, customer):
    answer = api_as(admin).post(
        "/api/v1/invitations/",
        {"tenant": "Alder Ltd", "email": "new@example.com", "role": "customer-operator"},
    )
    assert answer.status_code == 201
    assert (answer.json()["state"], answer.json()["mailed"]) == ("open", True)
    assert answer.json()["link"] is None
    assert len(mail.outbox) == 1


def test_without_a_mail_server_the_link_is_answered(api_as, admin, customer, settings):
    settings.EMAIL_BACKEND = "django.core.mail.backends.console.EmailBackend"
    role = Role.objects.get(tenant=None, slug="customer-viewer")
    answer = api_as(admin).post(
        "/api/v1/invitations/",
        {"tenant": str(customer.pk), "email": "new@example.com", "role": str(role.pk)},
    )
    assert "/invited/" in answer.json()["link"]
    [row] = api_as(admin).get("/api/v1/invitations/").json()["results"]
    assert "link" not in row
    client = api_as(admin)
    assert "/invited/" in client.post(f"/api/v1/invitations/{row['id']}/renew/").json()["link"]
    assert client.delete(f"/api/v1/invitations/{row['id']}/").status_code == 204
    assert client.get(f"/api/v1/invitations/{row['id']}/").json()["state"] == "revoked"


@pytest.mark.parametrize("role", ["msp-owner", "no-such", "a\x00b", "x" * 63])
def test_a_role_that_is_none_or_beyond_ones_own_is_refused_alike(api_as, admin, customer, role):
    answer = api_as(admin).post(
        "/api/v1/invitations/",
        {"tenant": str(customer.pk), "email": "new@example.com", "role": role},
    )
    assert answer.status_code == 400
    assert "role" in answer.json()["error"]["fields"]
    assert not Invitation.objects.exists()


def test_nobody_invites_to_another_tenant(api_as, admin):
    other = MembershipFactory().tenant
    answer = api_as(admin).post(
        "/api/v1/invitations/",
        {"tenant": str(other.pk), "email": "new@example.com", "role": "customer-viewer"},
    )
    assert answer.status_code == 400
    assert not Invitation.objects.exists()
    assert Membership.objects.count() == 2
