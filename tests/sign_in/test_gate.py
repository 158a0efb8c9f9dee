"""What a sign-in policy keeps shut, and for whom."""

import time

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import TOTP, generate_totp_secret

from tenants.gate import PROVIDER_ASKED, SIGNED_IN_AT
from tenants.models import ApiToken, MfaFor
from tenants.services.people import api_token_create
from tenants.services.sign_in_rules import SecondFactorNeededError
from tests.factories import MembershipFactory, SignInPolicyFactory

pytestmark = pytest.mark.django_db


@pytest.fixture
def person(customer):
    return MembershipFactory(tenant=customer, role="customer-administrator").user


@pytest.fixture
def bound(customer):
    return SignInPolicyFactory(tenant=customer, mfa_for=MfaFor.EVERYBODY)


@pytest.fixture
def signed_in(client, person):
    client.force_login(person)
    return client


@pytest.mark.parametrize("address", ["/", "/vms/", "/me/", "/me/tokens/", "/c/alder-ltd/"])
def test_pages_lead_to_where_a_second_factor_is_set_up(signed_in, bound, address):
    assert signed_in.get(address)["Location"] == "/me/security/"
    assert "Alder Ltd asks for a second factor" in signed_in.get("/me/security/").content.decode()


def test_a_part_of_a_page_leads_there_too(signed_in, bound):
    answer = signed_in.get("/vms/", headers={"hx-request": "true"})
    assert answer["HX-Redirect"] == "/me/security/"


def test_changes_are_not_made(signed_in, bound):
    answer = signed_in.post("/me/tokens/", {"token-name": "mine", "token-days": "30"})
    assert answer["Location"] == "/me/security/"
    assert not ApiToken.objects.exists()


def test_the_api_says_why_not(signed_in, bound):
    answer = signed_in.get("/api/v1/vms/")
    assert answer.status_code == 403
    assert "asks for a second factor" in answer.content.decode()


def test_a_token_that_was_made_before_goes_on(person, bound, api, customer):
    bound.delete()
    _, secret = api_token_create(user=person, name="backup")
    SignInPolicyFactory(tenant=customer, mfa_for=MfaFor.EVERYBODY)
    api.credentials(HTTP_AUTHORIZATION=f"Bearer {secret}")
    assert api.get("/api/v1/vms/").status_code == 200


def test_a_token_is_made_by_who_has_a_second_factor(person, bound):
    with pytest.raises(SecondFactorNeededError):
        api_token_create(user=person, name="backup")
    TOTP.activate(person, generate_totp_secret())
    assert api_token_create(user=person, name="backup")


def test_with_a_second_factor_all_works(signed_in, person, bound):
    TOTP.activate(person, generate_totp_secret())
    assert signed_in.get("/vms/").status_code == 200
    assert signed_in.get("/api/v1/vms/").status_code == 200


def test_recovery_codes_alone_are_no_second_factor(signed_in, person, bound):
    RecoveryCodes.activate(person)
    assert Authenticator.objects.filter(user=person).exists()
    assert signed_in.get("/vms/").status_code == 302


def test_a_provider_that_asks_by_itself_is_enough(signed_in, bound):
    session = signed_in.session
    session[PROVIDER_ASKED] = True
    session.save()
    assert signed_in.get("/vms/").status_code == 200


def test_without_a_policy_the_page_recommends_and_nothing_is_shut(signed_in):
    assert signed_in.get("/vms/").status_code == 200
    assert "Set up a second factor" in signed_in.get("/me/security/").content.decode()


def test_a_session_that_is_too_old_ends(signed_in, customer):
    SignInPolicyFactory(tenant=customer, session_hours=8)
    assert signed_in.get("/vms/").status_code == 200
    session = signed_in.session
    session[SIGNED_IN_AT] = time.time() - 8 * 3600 - 1
    session.save()
    assert signed_in.get("/vms/")["Location"] == "/account/login/?next=%2Fvms%2F"
    assert "_auth_user_id" not in signed_in.session


def test_a_way_that_is_not_allowed_ends_the_session(signed_in, customer):
    SignInPolicyFactory(tenant=customer, methods=["provider"])
    assert signed_in.get("/vms/")["Location"] == "/account/login/?next=%2Fvms%2F"
    assert "Single sign-on" in signed_in.get("/account/login/").content.decode()


def test_in_the_api_too(signed_in, customer):
    SignInPolicyFactory(tenant=customer, methods=["passkey"])
    assert signed_in.get("/api/v1/vms/").status_code == 401
    assert "_auth_user_id" not in signed_in.session


def test_a_session_of_the_provider_goes_on(signed_in, customer):
    SignInPolicyFactory(tenant=customer, methods=["provider"])
    session = signed_in.session
    session["account_authentication_methods"] = [{"method": "socialaccount", "at": time.time()}]
    session.save()
    assert signed_in.get("/vms/").status_code == 200
