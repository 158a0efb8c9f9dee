"""Signing in with OpenID Connect: against a real provider, and against one that lies."""

from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from allauth.socialaccount.models import SocialAccount

from tenants.errors import InvalidInputError
from tenants.models import AuditEvent, Membership, Role, User
from tenants.services.identity_providers import identity_provider_domains_set, oidc_discover
from tests.factories import MembershipFactory, UserFactory
from tests.sign_in.conftest import directory_of
from tests.sign_in.hostile_provider import hostile_provider

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("private_providers")]


@pytest.fixture
def directory(customer, provider_address):
    return directory_of(customer, provider_address)


@pytest.fixture
def maria(customer):
    user = UserFactory(email="maria@alder.example")
    MembershipFactory(user=user, tenant=customer, role="customer-viewer")
    return user


def begin(client, directory, query=""):
    """To the provider: the address that the browser is sent to."""
    answer = client.get(f"/account/oidc/{directory.id}/login/{query}")
    assert answer.status_code == 302
    return answer["Location"]


def consent(address, sub):
    """At the provider: the address that it sends the browser back to."""
    answer = requests.post(address, data={"sub": sub}, allow_redirects=False, timeout=10)
    assert answer.status_code == 302
    parts = urlsplit(answer.headers["Location"])
    return f"{parts.path}?{parts.query}"


def sign_in(client, directory, sub="maria", query=""):
    return client.get(consent(begin(client, directory, query), sub))


def signed_in(client):
    return "_auth_user_id" in client.session


def test_the_sign_in_page_finds_the_provider_by_the_address(client, directory):
    answer = client.post("/account/company/", {"email": "anybody@ALDER.example"})
    assert f"/account/oidc/{directory.id}/login/" in answer.content.decode()
    nowhere = client.post("/account/company/", {"email": "anybody@birch.example"})
    assert "No company account is set up" in nowhere.content.decode()


def test_whoever_the_provider_vouches_for_is_signed_in(client, directory, maria):
    answer = sign_in(client, directory, query="?next=/vms/")
    assert answer["Location"] == "/vms/"
    assert client.session["_auth_user_id"] == str(maria.pk)
    assert SocialAccount.objects.get().user == maria
    # And again, by the link that was made.
    client.logout()
    sign_in(client, directory)
    assert signed_in(client)
    assert SocialAccount.objects.count() == 1


def test_the_way_there_has_state_nonce_and_pkce(client, directory):
    asked = parse_qs(urlsplit(begin(client, directory)).query)
    assert asked["response_type"] == ["code"]
    assert asked["code_challenge_method"] == ["S256"]
    assert len(asked["nonce"][0]) == 64
    assert asked["state"][0] not in asked["nonce"][0]


def test_the_way_there_takes_no_wishes_from_the_address(client, directory):
    query = "?scope=admin&auth_params=prompt%3Dnone%26redirect_uri%3Dhttps%253A%252F%252Fevil"
    asked = parse_qs(urlsplit(begin(client, directory, query)).query)
    assert set(asked["scope"][0].split()) == {"openid", "profile", "email"}
    assert "prompt" not in asked
    assert asked["redirect_uri"][0].startswith("http://testserver/account/oidc/")


def test_a_forged_state_signs_nobody_in(client, directory, maria):
    back = consent(begin(client, directory), "maria")
    forged = back.replace("state=", "state=forged")
    assert client.get(forged).status_code == 401
    assert not signed_in(client)


def test_a_way_back_that_another_browser_began_signs_nobody_in(client, directory, maria):
    from django.test import Client

    back = consent(begin(Client(), directory), "maria")
    client.get(back)
    assert not signed_in(client)


def test_a_way_back_works_once(client, directory, maria):
    back = consent(begin(client, directory), "maria")
    client.get(back)
    assert signed_in(client)
    client.logout()
    client.get(back)
    assert not signed_in(client)


def test_a_forged_nonce_signs_nobody_in(client, directory, maria):
    there = begin(client, directory)
    nonce = parse_qs(urlsplit(there).query)["nonce"][0]
    back = consent(there.replace(nonce, "0" * 64), "maria")
    assert "was not accepted" in client.get(back).content.decode()
    assert not signed_in(client)


def test_an_address_that_is_not_verified_is_linked_to_nothing(client, directory):
    UserFactory(email="uwe@alder.example")
    sign_in(client, directory, sub="unverified")
    assert not signed_in(client)
    assert not SocialAccount.objects.exists()


def test_an_address_of_another_domain_is_linked_to_nothing(client, directory):
    UserFactory(email="eve@birch.example")
    sign_in(client, directory, sub="elsewhere")
    assert not signed_in(client)
    assert not SocialAccount.objects.exists()


def test_whoever_has_no_account_gets_none_by_default(client, directory):
    sign_in(client, directory)
    assert not signed_in(client)
    assert not User.objects.filter(email="maria@alder.example").exists()


def test_a_provider_may_make_accounts_with_its_default_role(client, customer, directory):
    directory.makes_accounts = True
    directory.default_role = Role.objects.get(slug="customer-viewer")
    directory.save()
    sign_in(client, directory)
    made = User.objects.get(email="maria@alder.example")
    assert client.session["_auth_user_id"] == str(made.pk)
    assert made.name == "Maria Alder"
    assert not made.has_usable_password()
    held = Membership.objects.get(user=made)
    assert (held.tenant, held.role.slug) == (customer, "customer-viewer")
    assert AuditEvent.objects.filter(action="user.first_sign_in", tenant=customer).count() == 1


def test_another_subject_with_an_address_that_is_linked_already_is_refused(
    client, directory, maria
):
    SocialAccount.objects.create(user=maria, provider=str(directory.id), uid="who left")
    sign_in(client, directory)
    assert not signed_in(client)


def test_a_domain_that_was_taken_away_ends_links_too(client, directory, maria):
    from tenants.actor import SYSTEM

    sign_in(client, directory)
    client.logout()
    identity_provider_domains_set(actor=SYSTEM, provider=directory, domains=[])
    sign_in(client, directory)
    assert not signed_in(client)


def test_a_closed_account_stays_closed(client, directory, maria):
    User.objects.update(is_active=False)
    sign_in(client, directory)
    assert not signed_in(client)


def test_a_provider_that_was_switched_off_is_not_there(client, directory):
    directory.enabled = False
    directory.save()
    assert client.get(f"/account/oidc/{directory.id}/login/").status_code == 404


def test_nobody_is_linked_to_who_is_signed_in_already(client, directory, maria):
    client.force_login(UserFactory())
    before = client.session["_auth_user_id"]
    sign_in(client, directory, query="?process=connect")
    assert client.session["_auth_user_id"] == before
    assert not SocialAccount.objects.exists()


def test_the_way_there_leads_nowhere_else_afterwards(client, directory, maria):
    answer = sign_in(client, directory, query="?next=https://evil.example/")
    assert answer["Location"] == "/"


# ------------------------------------------------------------------ a provider that lies


@pytest.fixture
def liar(customer, maria):
    with hostile_provider() as provider:
        provider.row = directory_of(customer, provider.issuer)
        yield provider


def back_from(client, liar):
    asked = parse_qs(urlsplit(begin(client, liar.row)).query)
    liar.nonce = asked["nonce"][0]
    return client.get(
        f"/account/oidc/{liar.row.id}/login/callback/?code=1&state={asked['state'][0]}"
    )


def test_the_liar_is_believed_when_it_tells_the_truth(client, liar):
    back_from(client, liar)
    assert signed_in(client)


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "https://other.example"},
        {"iss": None},
        {"aud": "another client"},
        {"aud": None},
        {"exp": 1},
        {"nonce": "of another sign-in"},
        {"nonce": None},
        {"sub": "somebody else"},
    ],
    ids=str,
)
def test_an_id_token_with_a_wrong_claim_signs_nobody_in(client, liar, claims):
    liar.claims = claims
    back_from(client, liar)
    assert not signed_in(client)


def test_an_id_token_signed_with_another_key_signs_nobody_in(client, liar):
    from cryptography.hazmat.primitives.asymmetric import rsa

    liar.signing_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    back_from(client, liar)
    assert not signed_in(client)


def test_an_id_token_that_is_not_signed_signs_nobody_in(client, liar):
    liar.signing_key, liar.algorithm = None, "none"
    back_from(client, liar)
    assert not signed_in(client)


def test_an_id_token_keyed_with_the_clients_secret_signs_nobody_in(client, liar):
    liar.signing_key, liar.algorithm = "a secret of the client, long enough", "HS256"
    back_from(client, liar)
    assert not signed_in(client)


def test_userinfo_about_somebody_else_signs_nobody_in(client, liar):
    liar.userinfo = {"sub": "the owner", "email": "owner@alder.example"}
    back_from(client, liar)
    assert not signed_in(client)


def test_a_provider_that_changes_its_issuer_is_not_followed(client, liar):
    liar.told_issuer = "https://other.example"
    answer = client.get(f"/account/oidc/{liar.row.id}/login/")
    assert answer.status_code == 401
    assert "was not accepted" in answer.content.decode()


def test_the_portal_asks_no_private_address_for_a_provider(liar, settings):
    settings.BASALT_ALLOW_PRIVATE_PROVIDER_URLS = False
    for address in (liar.issuer, "https://127.0.0.1:1", "https://localhost", "https://[::1]"):
        with pytest.raises(InvalidInputError):
            oidc_discover(address)


def test_nor_where_a_name_changed_its_mind(liar, settings, monkeypatch):
    """The name was public when it was looked at, and leads here when it is asked."""
    from tenants.services import identity_providers

    monkeypatch.setattr(identity_providers, "must_be_public", lambda host, port: None)
    with (
        identity_providers.outgoing_session(timeout_s=5) as session,
        pytest.raises(requests.ConnectionError, match="private address"),
    ):
        session.get(f"{liar.issuer}/.well-known/openid-configuration")
