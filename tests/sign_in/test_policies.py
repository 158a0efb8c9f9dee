"""Setting a tenant's policy and its providers, by page and API."""

import json

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import TOTP, generate_totp_secret
from django.core.management import call_command

from tenants.actor import SYSTEM, Actor
from tenants.models import (
    AuditEvent,
    IdentityProvider,
    IdentityProviderDomain,
    MfaFor,
    Role,
    SignInPolicy,
)
from tenants.services.identity_providers import (
    DomainTakenError,
    MspAloneError,
    identity_provider_change,
    identity_provider_domains_set,
)
from tenants.services.second_factors import NotYoursToResetError, second_factor_reset
from tests.factories import (
    CustomerFactory,
    IdentityProviderFactory,
    MembershipFactory,
    SignInPolicyFactory,
)
from tests.sign_in.conftest import directory_of
from tests.sign_in.hostile_provider import hostile_provider

pytestmark = pytest.mark.django_db

POLICY = "/c/alder-ltd/sign-in/"


@pytest.fixture
def administrator(customer):
    return MembershipFactory(tenant=customer, role="customer-administrator").user


@pytest.fixture
def owner(customer):
    return MembershipFactory(tenant=customer.parent, role="msp-owner").user


@pytest.fixture
def as_administrator(client, administrator):
    client.force_login(administrator)
    return client


def test_the_page_sets_the_policy(as_administrator, customer):
    assert as_administrator.get("/sign-in-policy/")["Location"] == POLICY
    role = Role.objects.get(slug="customer-operator")
    answer = as_administrator.post(
        POLICY,
        {
            "mfa_for": "roles",
            "mfa_roles": [str(role.id)],
            "session_hours": "8",
            "methods": ["password", "passkey"],
        },
    )
    assert answer.status_code == 302
    policy = SignInPolicy.objects.get(tenant=customer)
    assert (policy.mfa_for, policy.mfa_roles, policy.session_hours) == ("roles", [role.id], 8)
    event = AuditEvent.objects.get(action="sign_in_policy.change")
    assert event.after["session_hours"] == 8
    assert event.before["mfa_for"] == "nobody"


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"methods": []}, "at least one way"),
        ({"mfa_for": "roles"}, "at least one role"),
        ({"session_hours": "0"}, "greater than or equal to 1"),
        ({"methods": ["provider"]}, "no identity provider"),
        ({"methods": ["passkey"]}, "could not sign in any more yourself"),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused_beside_its_field(as_administrator, wrong, why):
    right = {"mfa_for": "nobody", "methods": ["password"]}
    answer = as_administrator.post(POLICY, {**right, **wrong})
    assert answer.status_code == 422
    assert why in answer.content.decode()
    assert not SignInPolicy.objects.exists()


def test_whoever_may_not_set_it_is_told_nothing_of_it(client, customer):
    client.force_login(MembershipFactory(tenant=customer, role="customer-operator").user)
    assert client.get(POLICY).status_code == 404


def test_the_api_sets_and_reads_the_policy(api_as, administrator, customer):
    api = api_as(administrator)
    address = f"/api/v1/tenants/{customer.id}/sign-in/"
    assert api.get(address).json()["policy"]["mfa_for"] == "nobody"
    body = {"mfa_for": "everybody", "session_hours": 12}
    assert api.put(address, body).status_code == 200
    assert api.get(address).json()["policy"]["session_hours"] == 12


# ------------------------------------------------------------------ providers


@pytest.fixture
def truthful(private_providers):
    with hostile_provider() as provider:
        yield provider


def test_a_provider_is_added_by_the_page(as_administrator, customer, truthful):
    answer = as_administrator.post(
        f"{POLICY}providers/new/oidc/",
        {
            "name": "Alder directory",
            "issuer": truthful.issuer + "/.well-known/openid-configuration",
            "client_id": "basalt",
            "secret": "very secret indeed",
            "enabled": "on",
        },
    )
    provider = IdentityProvider.objects.get()
    assert answer["Location"] == f"{POLICY}providers/{provider.id}/"
    assert provider.issuer == truthful.issuer


def test_a_secret_is_never_seen_again(as_administrator, api_as, administrator, customer, truthful):
    provider = directory_of(customer, truthful.issuer)
    secret = "a secret of the client"
    assert secret not in provider.sealed_secret
    assert secret not in json.dumps(list(AuditEvent.objects.values("before", "after")), default=str)
    page = as_administrator.get(f"{POLICY}providers/{provider.id}/").content.decode()
    assert secret not in page
    assert provider.sealed_secret not in page
    told = api_as(administrator).get(f"/api/v1/identity-providers/{provider.id}/").content.decode()
    assert "secret" not in told


def test_another_issuer_is_not_sent_the_old_secret(customer, truthful):
    provider = directory_of(customer, truthful.issuer)
    with hostile_provider() as other, pytest.raises(Exception, match="Give the client secret"):
        identity_provider_change(actor=SYSTEM, provider=provider, issuer=other.issuer)


def test_an_address_inside_the_network_is_refused(as_administrator):
    answer = as_administrator.post(
        f"{POLICY}providers/new/oidc/",
        {"name": "Inside", "issuer": "https://169.254.169.254", "client_id": "x"},
    )
    assert answer.status_code == 422
    assert "private address" in answer.content.decode()
    assert not IdentityProvider.objects.exists()


def test_only_the_msp_says_whose_a_domain_is(customer, administrator, owner):
    provider = IdentityProviderFactory(tenant=customer)
    with pytest.raises(MspAloneError):
        identity_provider_domains_set(
            actor=Actor(user=administrator), provider=provider, domains=["alder.example"]
        )
    identity_provider_domains_set(
        actor=Actor(user=owner), provider=provider, domains=["ALDER.example", "älder.example"]
    )
    found = set(IdentityProviderDomain.objects.values_list("domain", flat=True))
    assert found == {"alder.example", "xn--lder-koa.example"}


def test_the_page_of_domains_tells_a_customer_so(as_administrator, customer):
    provider = IdentityProviderFactory(tenant=customer)
    answer = as_administrator.post(
        f"{POLICY}providers/{provider.id}/domains/", {"domains-domains": "alder.example"}
    )
    assert answer.status_code == 422
    assert "Only your MSP" in answer.content.decode()


def test_a_domain_has_one_provider(customer):
    first, second = IdentityProviderFactory(tenant=customer), IdentityProviderFactory()
    identity_provider_domains_set(actor=SYSTEM, provider=first, domains=["alder.example"])
    with pytest.raises(DomainTakenError):
        identity_provider_domains_set(actor=SYSTEM, provider=second, domains=["alder.example"])


@pytest.mark.parametrize("wrong", ["com", "a b.example", "-x.example", "x..example", "127.0.0.1"])
def test_what_is_no_domain_is_refused(customer, wrong):
    with pytest.raises(Exception, match="is no domain"):
        identity_provider_domains_set(
            actor=SYSTEM, provider=IdentityProviderFactory(tenant=customer), domains=[wrong]
        )


def test_a_provider_is_removed_by_its_name(as_administrator, customer):
    provider = IdentityProviderFactory(tenant=customer, name="Old one")
    address = f"{POLICY}providers/{provider.id}/remove/"
    assert as_administrator.post(address, {"remove-name": "Another"}).status_code == 422
    assert as_administrator.post(address, {"remove-name": "Old one"}).status_code == 302
    assert not IdentityProvider.objects.exists()


# ------------------------------------------------------------------ whoever lost it


def test_whoever_manages_a_persons_places_takes_a_lost_second_factor_off(customer, administrator):
    colleague = MembershipFactory(tenant=customer, role="customer-viewer").user
    TOTP.activate(colleague, generate_totp_secret())
    second_factor_reset(actor=Actor(user=administrator), user=colleague)
    assert not Authenticator.objects.filter(user=colleague).exists()
    assert AuditEvent.objects.get(action="user.second_factor_reset").tenant == customer


def test_a_customers_administrator_does_not_open_a_technicians_account(customer, administrator):
    technician = MembershipFactory(tenant=customer.parent, role="msp-technician").user
    MembershipFactory(tenant=customer, user=technician, role="customer-viewer")
    TOTP.activate(technician, generate_totp_secret())
    with pytest.raises(NotYoursToResetError):
        second_factor_reset(actor=Actor(user=administrator), user=technician)
    assert Authenticator.objects.filter(user=technician).exists()


def test_the_operator_rescues_a_tenant_that_shut_itself_out(customer):
    SignInPolicyFactory(tenant=customer, mfa_for=MfaFor.EVERYBODY, methods=["provider"])
    call_command("basalt_sign_in_rescue", policy_of="alder-ltd")
    assert not SignInPolicy.objects.exists()


def test_the_operator_rescues_a_person(administrator):
    TOTP.activate(administrator, generate_totp_secret())
    call_command("basalt_sign_in_rescue", second_factor_of=administrator.email.upper())
    assert not Authenticator.objects.exists()


def test_another_customers_policy_is_not_there(as_administrator, customer):
    other = CustomerFactory(parent=customer.parent)
    assert as_administrator.get(f"/c/{other.slug}/sign-in/").status_code == 404
