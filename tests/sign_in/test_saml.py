"""Signing in with SAML: answers that a real identity provider made and signed."""

import base64
import shutil

import pytest
from allauth.socialaccount.models import SocialAccount
from django.test import Client

from tenants.actor import SYSTEM
from tenants.errors import InvalidInputError
from tenants.services.identity_providers import (
    identity_provider_create,
    identity_provider_domains_set,
)
from tests.factories import MembershipFactory, UserFactory
from tests.sign_in.saml_idp import ENTITY, RSA_SHA1, SSO, SamlIdp

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.skipif(shutil.which("xmlsec1") is None, reason="xmlsec1 is not installed"),
]


@pytest.fixture
def client():
    # Of a name with a dot: SAML's library takes no other for an address.
    return Client(headers={"host": "127.0.0.1"})


@pytest.fixture
def maria(customer):
    user = UserFactory(email="maria@alder.example")
    MembershipFactory(user=user, tenant=customer, role="customer-viewer")
    return user


def directory_for(customer, certificate):
    provider = identity_provider_create(
        actor=SYSTEM,
        tenant=customer,
        kind="saml",
        name="Alder directory",
        issuer=ENTITY,
        sso_url=SSO,
        certificate=certificate,
    )
    identity_provider_domains_set(actor=SYSTEM, provider=provider, domains=["alder.example"])
    return provider


@pytest.fixture
def idp(tmp_path):
    return SamlIdp(tmp_path / "idp")


@pytest.fixture
def directory(customer, idp, client):
    provider = directory_for(customer, idp.certificate)
    answer = client.get(f"/account/saml/{provider.id}/metadata/")
    assert answer.status_code == 200
    idp.knows(answer.content.decode())
    return provider


def begin(client, directory, query=""):
    answer = client.get(f"/account/saml/{directory.id}/login/{query}")
    assert answer.status_code == 302
    assert answer["Location"].startswith(f"{SSO}?")
    return answer["Location"]


def post(client, directory, posted):
    answer = client.post(f"/account/saml/{directory.id}/acs/", posted)
    assert answer.status_code == 302
    return client.get(answer["Location"])


def signed_in(client):
    return "_auth_user_id" in client.session


def changed(posted, old, new):
    text = base64.b64decode(posted["SAMLResponse"]).decode()
    assert old in text
    return {**posted, "SAMLResponse": base64.b64encode(text.replace(old, new).encode()).decode()}


def test_whom_the_directory_signs_for_is_signed_in(client, directory, idp, maria):
    there = begin(client, directory, "?next=/vms/")
    answer = post(client, directory, idp.answer(there, "maria@alder.example"))
    assert answer["Location"] == "/vms/"
    assert client.session["_auth_user_id"] == str(maria.pk)
    assert SocialAccount.objects.get().user == maria


def test_an_answer_works_once(client, directory, idp, maria):
    posted = idp.answer(begin(client, directory), "maria@alder.example")
    post(client, directory, posted)
    assert signed_in(client)
    client.logout()
    post(client, directory, posted)
    assert not signed_in(client)


def test_an_answer_that_another_browser_asked_for_signs_nobody_in(client, directory, idp, maria):
    other = Client(headers={"host": "127.0.0.1"})
    post(client, directory, idp.answer(begin(other, directory), "maria@alder.example"))
    assert not signed_in(client)


def test_an_answer_that_was_changed_signs_nobody_in(client, directory, idp, maria):
    UserFactory(email="owner@alder.example")
    posted = idp.answer(begin(client, directory), "maria@alder.example")
    post(client, directory, changed(posted, "maria@alder.example", "owner@alder.example"))
    assert not signed_in(client)


def test_an_answer_signed_with_sha1_signs_nobody_in(client, directory, idp, maria):
    there = begin(client, directory)
    post(client, directory, idp.answer(there, "maria@alder.example", sign_alg=RSA_SHA1))
    assert not signed_in(client)


def test_an_answer_that_is_not_signed_signs_nobody_in(client, directory, idp, maria):
    there = begin(client, directory)
    post(client, directory, idp.answer(there, "maria@alder.example", sign_assertion=False))
    assert not signed_in(client)


def test_an_assertion_must_be_signed_itself(client, directory, idp, maria):
    there = begin(client, directory)
    posted = idp.answer(there, "maria@alder.example", sign_assertion=False, sign_response=True)
    post(client, directory, posted)
    assert not signed_in(client)


def test_an_answer_that_another_key_signed_signs_nobody_in(client, directory, idp, tmp_path, maria):
    forger = SamlIdp(tmp_path / "forger").knows(idp.metadata)
    post(client, directory, forger.answer(begin(client, directory), "maria@alder.example"))
    assert not signed_in(client)


def test_a_directory_signs_for_its_own_domains_alone(client, directory, idp):
    UserFactory(email="eve@birch.example")
    post(client, directory, idp.answer(begin(client, directory), "eve@birch.example"))
    assert not signed_in(client)


def test_an_answer_for_another_directory_signs_nobody_in(client, directory, idp, maria, customer):
    from tests.factories import CustomerFactory

    other = directory_for_another(CustomerFactory(parent=customer.parent), idp.certificate)
    posted = idp.answer(begin(client, directory), "maria@alder.example")
    post(client, other, posted)
    assert not signed_in(client)


def directory_for_another(customer, certificate):
    return identity_provider_create(
        actor=SYSTEM,
        tenant=customer,
        kind="saml",
        name="Another",
        issuer=ENTITY,
        sso_url=SSO,
        certificate=certificate,
    )


@pytest.mark.parametrize(
    "bad",
    [
        "",
        "nonsense",
        base64.b64encode(b"<a>").decode(),
        base64.b64encode(
            b'<!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/passwd">]><a>&e;</a>'
        ).decode(),
    ],
    ids=["empty", "nonsense", "broken", "entity"],
)
def test_nonsense_is_answered_with_a_sentence(client, directory, bad, maria):
    answer = post(client, directory, {"SAMLResponse": bad})
    assert answer.status_code < 500
    assert not signed_in(client)


def test_what_is_no_certificate_is_refused(customer):
    with pytest.raises(InvalidInputError, match="no certificate"):
        directory_for(customer, "-----BEGIN NOTHING-----")
