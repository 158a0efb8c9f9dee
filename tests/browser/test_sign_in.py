"""Second factors, passkeys and sessions in a real browser."""

from datetime import timedelta

import pyotp
import pytest
from allauth.mfa.models import Authenticator
from allauth.usersessions.models import UserSession
from django.contrib.sessions.models import Session
from django.core.cache import cache
from django.utils import timezone
from playwright.sync_api import expect

from portal import consumers
from tenants.gate import SIGNED_IN_AT
from tenants.models import MfaFor
from tenants.services.live import live_publish
from tests.browser.conftest import elsewhere
from tests.factories import MembershipFactory, SignInPolicyFactory
from tests.sign_in.conftest import (
    _no_tries_of_other_tests,
    directory_of,
    private_providers,
    provider_address,
)

__all__ = ["_no_tries_of_other_tests", "private_providers", "provider_address"]  # fixtures

PASSWORD = "a long enough password"


@pytest.fixture
def person(technician):
    technician.set_password(PASSWORD)
    technician.save()
    return technician


def sign_in(page, email):
    page.goto("/account/login/")
    page.get_by_test_id("login-email").fill(email)
    page.get_by_test_id("login-password").fill(PASSWORD)
    page.get_by_test_id("login-submit").click()


def set_up_app(page):
    """From the page of sign-in: an authenticator app. Its secret, and the recovery codes."""
    page.get_by_test_id("totp-add").click()
    expect(page.get_by_test_id("totp-qr")).to_be_visible()
    # The picture is drawn, under the strict policy for content.
    assert page.get_by_test_id("totp-qr").evaluate("image => image.naturalWidth") > 0
    secret = page.get_by_test_id("totp-secret").inner_text()
    page.get_by_test_id("totp-code").fill(pyotp.TOTP(secret).now())
    page.get_by_test_id("totp-submit").click()
    codes = page.get_by_test_id("codes").inner_text().split()
    page.get_by_test_id("codes-kept").click()
    return secret, codes


def test_an_app_is_set_up_and_asked_for_at_the_next_sign_in(new_context, person):
    page = new_context().new_page()
    sign_in(page, person.email)
    page.goto("/me/security/")
    expect(page.get_by_test_id("second-factor-recommended")).to_be_visible()
    secret, codes = set_up_app(page)
    assert len(codes) == 10
    # Unreadable in the database.
    assert secret not in str(Authenticator.objects.get(type="totp").data)
    other = new_context().new_page()
    sign_in(other, person.email)
    other.get_by_test_id("mfa-code").fill("000000")
    other.get_by_test_id("mfa-submit").click()
    expect(other.get_by_test_id("error-code")).to_contain_text("This code is not right")
    # The code of before was used up: it is a recovery code's turn.
    other.get_by_test_id("mfa-code").fill(codes[0])
    other.get_by_test_id("mfa-submit").click()
    expect(other.get_by_test_id("user-menu")).to_be_visible()


def test_whom_a_policy_binds_sets_up_a_second_factor_before_anything_else(new_context, person):
    SignInPolicyFactory(tenant=person.memberships.get().tenant, mfa_for=MfaFor.EVERYBODY)
    page = new_context().new_page()
    sign_in(page, person.email)
    expect(page.get_by_test_id("second-factor-needed")).to_contain_text("Northwind asks")
    page.goto("/vms/")
    expect(page.get_by_test_id("second-factor-needed")).to_be_visible()
    set_up_app(page)
    page.goto("/vms/")
    expect(page.get_by_role("heading", name="VMs")).to_be_visible()


def test_a_passkey_is_made_and_opens_the_account_without_a_password(new_context, portal, person):
    # Passkeys are for names, and an address of digits is none.
    context = new_context(base_url=portal.replace("127.0.0.1", "localhost"))
    page = context.new_page()
    sign_in(page, person.email)
    devtools = context.new_cdp_session(page)
    devtools.send("WebAuthn.enable")
    devtools.send(
        "WebAuthn.addVirtualAuthenticator",
        {
            "options": {
                "protocol": "ctap2",
                "transport": "internal",
                "hasResidentKey": True,
                "hasUserVerification": True,
                "isUserVerified": True,
            }
        },
    )
    page.goto("/me/security/")
    page.get_by_test_id("passkey-add").click()
    page.get_by_test_id("passkey-name").fill("This laptop")
    page.get_by_test_id("passkey-submit").click()
    expect(page.get_by_test_id("codes")).to_be_visible()
    page.get_by_test_id("codes-kept").click()
    expect(page.get_by_test_id("passkey")).to_contain_text("This laptop")
    page.get_by_test_id("user-menu").click()
    page.get_by_test_id("logout").click()
    # As the only factor.
    page.goto("/account/login/")
    page.get_by_test_id("login-passkey").click()
    expect(page.get_by_test_id("user-menu")).to_be_visible()
    page.get_by_test_id("user-menu").click()
    page.get_by_test_id("logout").click()
    # And as the second, beside the password.
    sign_in(page, person.email)
    page.get_by_test_id("mfa-passkey").click()
    expect(page.get_by_test_id("user-menu")).to_be_visible()


def test_signing_out_everywhere_closes_the_other_browser_at_once(new_context, person):
    here, there = new_context().new_page(), new_context().new_page()
    for page in (here, there):
        sign_in(page, person.email)
        expect(page.get_by_test_id("user-menu")).to_be_visible()
    there.goto("/vms/")
    expect(there.locator("#live-sign")).to_be_hidden()
    here.goto("/me/security/")
    expect(here.get_by_test_id("session")).to_have_count(2)
    expect(here.get_by_test_id("this-session")).to_have_count(1)
    here.get_by_test_id("sign-out-everywhere").click()
    expect(here.get_by_test_id("session")).to_have_count(1)
    # Nobody touched it: its socket was closed, and it went to the door by itself.
    expect(there.get_by_test_id("login-submit")).to_be_visible()


def last_use(ago=None):
    """When the one session was used last; or, as if it was used so long ago, put it back."""
    rows = UserSession.objects.all()
    if ago is not None:
        for session in Session.objects.all():
            data = session.get_decoded()
            data[SIGNED_IN_AT] = 0.0
            encoded = Session.objects.encode(data)
            Session.objects.filter(pk=session.pk).update(session_data=encoded)
        rows.update(last_seen_at=timezone.now() - ago)
        cache.clear()
    return rows.get().last_seen_at


def test_a_page_that_nobody_touches_ends_and_leads_back(new_context, person, fleet, monkeypatch):
    monkeypatch.setattr(consumers, "RECHECK_S", 0.5)
    SignInPolicyFactory(tenant=person.memberships.get().tenant, idle_minutes=5)
    page = new_context().new_page()
    sign_in(page, person.email)
    expect(page.get_by_test_id("user-menu")).to_be_visible()
    page.goto(f"{fleet.vm_page}?from=here")
    expect(page.locator("html[data-live=up]")).to_be_attached()
    # The page asks again by itself: that is nobody.
    before = last_use(timedelta(minutes=4))
    with page.expect_response(lambda answer: "hx-request" in answer.request.headers) as asked:
        elsewhere(
            lambda: live_publish(tenant_id=fleet.vm.tenant_id, kind="vm", object_id=fleet.vm.id)
        )
    assert asked.value.status == 200
    assert asked.value.request.headers["basalt-background"] == "1"
    assert last_use() == before
    # Somebody presses a key, and asks for nothing.
    with page.expect_response("**/me/presence/") as told:
        page.keyboard.press("Shift")
    assert told.value.status == 204
    assert last_use() > before
    # And goes to lunch: the page goes to the door by itself, and back after it.
    last_use(timedelta(minutes=6))
    expect(page.get_by_test_id("login-submit")).to_be_visible()
    expect(page.get_by_text("nobody used this session for 5 minutes")).to_be_visible()
    page.get_by_test_id("login-email").fill(person.email)
    page.get_by_test_id("login-password").fill(PASSWORD)
    page.get_by_test_id("login-submit").click()
    page.wait_for_url(f"**{fleet.vm_page}?from=here")


def test_an_administrator_ends_the_sessions_of_a_person(new_context, person, fleet):
    owner = MembershipFactory(tenant=person.memberships.get().tenant, role="msp-owner").user
    theirs = new_context().new_page()
    sign_in(theirs, person.email)
    theirs.goto("/vms/")
    expect(theirs.locator("html[data-live=up]")).to_be_attached()
    page = new_context(user=owner, width=360).new_page()
    page.goto(f"/people/{person.pk}/")
    page.get_by_test_id("sign-out").click()
    expect(page.get_by_role("dialog")).to_contain_text("1 session ends at once")
    page.get_by_test_id("sign-out-confirm").click()
    expect(page.get_by_text("is signed out: 1 session ended")).to_be_visible()
    expect(theirs.get_by_test_id("login-submit")).to_be_visible()


def test_the_companys_account_signs_in_under_the_strict_policy_for_content(
    new_context, fleet, provider_address, private_providers
):
    person = fleet.owner
    person.email = "maria@alder.example"
    person.save()
    directory_of(fleet.customer, provider_address)
    page = new_context().new_page()
    page.goto("/vms/")
    page.get_by_test_id("login-company").click()
    page.get_by_test_id("company-email").fill("maria@alder.example")
    page.get_by_test_id("company-submit").click()
    # At the provider, where the page leads by itself.
    page.wait_for_url(f"{provider_address}/**")
    page.get_by_role("button", name="maria").first.click()
    expect(page.get_by_role("heading", name="VMs")).to_be_visible()
