"""Making tenants, sites, people and tokens."""

from datetime import timedelta

import pytest
from django.utils import timezone

from tenants.actor import SYSTEM, Actor
from tenants.errors import InvalidInputError, NameTakenError
from tenants.models import ApiToken, AuditEvent, Tenant
from tenants.services.people import api_token_create, api_token_revoke, user_create
from tenants.services.tenants import site_create, tenant_create
from tests.factories import CustomerFactory, HypervisorFactory, MembershipFactory, MspFactory

pytestmark = pytest.mark.django_db


def test_addresses_are_made_from_names_and_never_meet():
    msp = MspFactory()
    other = MspFactory()
    slugs = [
        tenant_create(actor=SYSTEM, name="Bäckerei Süß", parent=parent).slug
        for parent in (msp, other)
    ]
    assert slugs == ["backerei-su", "backerei-su-2"]


@pytest.mark.parametrize("name", ["", "  ", "!!!", "new", "New"])
def test_a_name_without_an_address_is_refused(name):
    with pytest.raises(InvalidInputError, match="letter or digit"):
        tenant_create(actor=SYSTEM, name=name, parent=MspFactory())


def test_the_tree_is_never_deeper_than_three():
    msp = MspFactory()
    group = tenant_create(actor=SYSTEM, name="Group", parent=msp, kind="group")
    customer = tenant_create(actor=SYSTEM, name="Customer", parent=group)
    with pytest.raises(InvalidInputError, match="one level deep"):
        tenant_create(actor=SYSTEM, name="Deeper", parent=customer)
    assert Tenant.objects.count() == 3


def test_a_site_name_is_taken_once_per_tenant_whatever_its_case():
    one, two = CustomerFactory(), CustomerFactory()
    site_create(actor=SYSTEM, tenant=one, name="Main")
    site_create(actor=SYSTEM, tenant=two, name="Main")
    with pytest.raises(NameTakenError, match="has a site named “MAIN” already"):
        site_create(actor=SYSTEM, tenant=one, name="MAIN")


def test_every_change_is_one_audit_event_with_who_and_from_where():
    person = MembershipFactory(role="msp-owner").user
    actor = Actor(user=person, ip="192.0.2.1")
    site = site_create(actor=actor, tenant=CustomerFactory(), name="Main")
    event = AuditEvent.objects.get(object_id=site.id)
    assert (event.actor, event.actor_name, event.ip) == (person, person.email, "192.0.2.1")


def test_a_person_signs_in_by_an_email_that_is_taken_once():
    tenant = CustomerFactory()
    MembershipFactory()  # makes the built-in roles
    wish = {"actor": SYSTEM, "tenant": tenant, "role": "customer-viewer", "password": None}
    user = user_create(email=" Ada@Example.com ", **wish)
    assert user.email == "ada@example.com"
    with pytest.raises(NameTakenError):
        user_create(email="ADA@example.COM", **wish)


def test_of_a_token_only_a_hash_is_kept():
    _, secret = api_token_create(user=MembershipFactory().user, name="ci")
    row = ApiToken.objects.values().get()
    assert secret not in str(row)
    assert secret.startswith(row["prefix"])


def test_a_token_opens_until_it_is_revoked_or_expires_or_its_person_leaves(api):
    user = MembershipFactory(tenant=HypervisorFactory().tenant).user
    token, secret = api_token_create(user=user, name="ci")
    status = lambda: api.get("/api/v1/hypervisors/").status_code  # noqa: E731
    api.credentials(HTTP_AUTHORIZATION=f"Bearer {secret}")
    assert status() == 200
    token.refresh_from_db()
    assert token.last_used_at
    ApiToken.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert status() == 401
    ApiToken.objects.update(expires_at=None)
    user.is_active = False
    user.save()
    assert status() == 401
    user.is_active = True
    user.save()
    assert status() == 200
    api_token_revoke(token=token)
    assert status() == 401


def test_a_browsers_session_needs_its_csrf_token(client):
    from django.test import Client

    user = MembershipFactory(role="msp-owner", tenant=MspFactory()).user
    strict = Client(enforce_csrf_checks=True)
    for browser in (client, strict):
        browser.force_login(user, backend="allauth.account.auth_backends.AuthenticationBackend")
    body = {"name": "Bakery", "parent": str(user.memberships.get().tenant_id)}
    assert strict.post("/api/v1/tenants/", body, content_type="application/json").status_code == 403
    assert client.post("/api/v1/tenants/", body, content_type="application/json").status_code == 201
