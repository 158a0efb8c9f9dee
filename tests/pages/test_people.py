"""People and invitations on the pages."""

import re

import pytest
from django.core import mail
from django.core.cache import cache

from tenants.models import Invitation, Membership, User
from tests.factories import MembershipFactory, UserFactory

PASSWORD = "correct horse battery"


@pytest.fixture(autouse=True)
def _fresh_limits():
    cache.clear()


def invite(client, fleet, email="new@example.com", role="customer-operator", **more):
    from tenants.models import Role

    return client.post(
        "/invitations/new/",
        {
            "email": email,
            "tenant": fleet.customer.slug,
            "role": str(Role.objects.get(tenant=None, slug=role).pk),
            "days": "7",
            **more,
        },
    )


def link_in(message):
    return re.search(r"/invited/[^/\s]+/", message.body)[0]


def test_the_list_shows_who_is_here_and_who_left(as_customer, fleet):
    MembershipFactory(tenant=fleet.customer, role="customer-viewer", user__name="Vera")
    gone = MembershipFactory(tenant=fleet.customer, user__name="Gone")
    Membership.objects.filter(pk=gone.pk).update(expires_at="2026-01-01T00:00Z")
    text = as_customer.get("/people/").content.decode()
    assert "Vera" in text
    assert "Customer viewer of alder Ltd" in text
    assert "(ended)" in text
    left = as_customer.get("/people/?state=left").content.decode()
    assert "Gone" in left
    assert "Vera" not in left
    csv = b"".join(as_customer.get("/people/?format=csv")).decode()
    assert "Gone" in csv
    assert "left" in csv


def test_a_viewer_sees_only_memberships_within_their_own_reach(as_customer, fleet, others):
    both = MembershipFactory(tenant=fleet.customer, role="customer-viewer").user
    MembershipFactory(user=both, tenant=others.customer, role="customer-administrator")
    for address in ("/people/", f"/people/{both.pk}/", "/people/?format=csv"):
        answer = as_customer.get(address)
        text = b"".join(answer).decode()
        assert both.email in text
        assert others.customer.name not in text
    # Nor are they found by them.
    found = as_customer.get(f"/people/?customer={others.customer.slug}").content.decode()
    assert "there is no such choice" in found


def test_another_tenants_person_is_not_there(as_customer, others, technician):
    assert as_customer.get(f"/people/{others.owner.pk}/").status_code == 404
    # Nor is somebody of the MSP above.
    assert as_customer.get(f"/people/{technician.pk}/").status_code == 404


def test_a_viewer_without_the_permission_has_no_such_page_in_the_navigation(client, fleet):
    client.force_login(MembershipFactory(tenant=fleet.customer, role="customer-viewer").user)
    assert "/people/" not in client.get("/").content.decode()
    assert fleet.owner.email not in client.get("/people/").content.decode()


def test_from_invitation_to_first_page(as_customer, client, fleet):
    answer = invite(as_customer, fleet, until="2031-05-02")
    assert answer["Location"] == "/invitations/"
    told = as_customer.get("/invitations/").content.decode()
    assert "on its way to new@example.com" in told
    assert "Customer operator, until Friday 2 May 2031" in told
    client.logout()
    link = link_in(mail.outbox[0])
    page = client.get(link).content.decode()
    assert "invites you as" in page
    assert "until Friday 2 May 2031" in page
    answer = client.post(link, {"name": "Nina", "password": PASSWORD})
    assert answer["Location"] == "/"
    assert fleet.vm.name in client.get("/vms/").content.decode()
    user = User.objects.get(email="new@example.com")
    assert user.name == "Nina"
    assert "This link opens nothing" in client.get(link).content.decode()
    assert client.get(link).status_code == 410


@pytest.mark.parametrize("password", ["short", "password1234", "new@example.com", ""])
def test_a_weak_password_is_refused_beside_its_field(as_customer, client, fleet, password):
    invite(as_customer, fleet)
    client.logout()
    answer = client.post(link_in(mail.outbox[0]), {"name": "Nina", "password": password})
    assert answer.status_code == 422
    assert answer.context["form"].errors["password"]
    assert not User.objects.filter(email="new@example.com").exists()


def test_the_page_looks_the_same_with_an_account_and_without(as_customer, client, fleet):
    UserFactory(email="known@example.com")
    for email in ("known@example.com", "none@example.com"):
        invite(as_customer, fleet, email)
    client.logout()
    known, none = (
        re.sub(r'(invited/[^/"]+|known|none|value="[^"]+")', "", client.get(link).content.decode())
        for link in map(link_in, mail.outbox)
    )
    assert re.sub(r"%2F\S+", "", known) == re.sub(r"%2F\S+", "", none)


def test_who_has_an_account_signs_in_and_accepts(as_customer, client, fleet):
    person = UserFactory(email="known@example.com", password=PASSWORD)
    invite(as_customer, fleet, person.email)
    client.logout()
    link = link_in(mail.outbox[0])
    answer = client.post(link, {"name": "Mallory", "password": "another long password"})
    assert answer.status_code == 422
    assert "has an account already" in answer.content.decode()
    client.force_login(person)
    assert "invited-accept" in client.get(link).content.decode()
    assert client.post(link)["Location"] == "/"
    assert Membership.objects.filter(user=person, tenant=fleet.customer).exists()
    person.refresh_from_db()
    assert person.check_password(PASSWORD)


def test_somebody_else_who_is_signed_in_is_told_to_sign_out(as_customer, client, fleet):
    invite(as_customer, fleet)
    link = link_in(mail.outbox[0])
    assert "invited-other" in client.get(link).content.decode()
    answer = client.post(link)
    assert answer.status_code == 403
    assert "Sign out" in answer.content.decode()


def test_a_link_that_never_was_is_told_kindly(client, db):
    answer = client.get("/invited/no-such-secret/")
    assert answer.status_code == 410
    assert "ask whoever invited you" in answer.content.decode()


def test_without_a_mail_server_the_link_is_shown_once(as_customer, fleet, settings):
    settings.EMAIL_BACKEND = "django.core.mail.backends.console.EmailBackend"
    text = invite(as_customer, fleet).content.decode()
    assert "has no mail server" in text
    link = re.search(r"/invited/[^/<\s]+/", text)[0]
    assert link not in as_customer.get("/invitations/").content.decode()
    assert "Not mailed" in as_customer.get("/invitations/").content.decode()


def test_sent_again_the_old_link_is_dead_and_taken_back_the_new_one_too(as_customer, fleet):
    invite(as_customer, fleet)
    invitation = Invitation.objects.get()
    as_customer.post(f"/invitations/{invitation.pk}/renew/")
    old, new = map(link_in, mail.outbox)
    assert as_customer.get(old).status_code == 410
    assert as_customer.get(new).status_code == 200
    as_customer.post(f"/invitations/{invitation.pk}/revoke/")
    assert as_customer.get(new).status_code == 410


def test_invitations_of_others_are_not_there(as_customer, fleet, others, client):
    invite(as_customer, fleet)
    invitation = Invitation.objects.get()
    client.force_login(others.owner)
    assert "new@example.com" not in client.get("/invitations/").content.decode()
    for verb in ("renew", "revoke"):
        assert client.post(f"/invitations/{invitation.pk}/{verb}/").status_code == 404
    assert invite(client, fleet).status_code == 422


def test_a_role_beyond_ones_own_is_neither_offered_nor_given(as_customer, fleet):
    form = as_customer.get("/invitations/new/").content.decode()
    assert "MSP owner" not in form
    assert invite(as_customer, fleet, role="msp-owner").status_code == 422
    assert not Invitation.objects.exists()


def test_the_list_of_people_asks_no_more_for_more_people(
    as_technician, fleet, django_assert_max_num_queries
):
    for _ in range(12):
        MembershipFactory(tenant=fleet.customer, role="customer-viewer")
    as_technician.get("/people/")
    with django_assert_max_num_queries(20):
        as_technician.get("/people/")
