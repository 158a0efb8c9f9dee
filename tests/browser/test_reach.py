"""Where a person gets and why, and looking with their eyes, in a browser."""

import pytest
from playwright.sync_api import expect

from tenants.models import AccessRule
from tests.browser.wcag import violations
from tests.factories import CustomerFactory, MembershipFactory


@pytest.fixture
def colleague(fleet):
    return MembershipFactory(tenant=fleet.msp, role="msp-technician", user__name="Ada").user


def test_a_customer_is_kept_from_a_technician_and_the_page_says_so(page, fleet, colleague):
    page.goto(f"/people/{colleague.id}/reach/")
    row = page.get_by_test_id("reach-row").filter(has_text="alder Ltd")
    expect(row).to_contain_text("Can see alder Ltd")
    expect(row).to_contain_text("MSP technician of Northwind, since")
    page.get_by_test_id("add-denial").click()
    page.get_by_test_id("denial-tenant").select_option(fleet.customer.slug)
    assert violations(page) == []
    page.get_by_test_id("denial-submit").click()
    expect(row).to_contain_text("Cannot see alder Ltd")
    expect(row).to_contain_text("Kept from alder Ltd, since")
    page.get_by_role("button", name="Lift the denial of alder Ltd").click()
    expect(row).to_contain_text("Can see alder Ltd")
    assert not AccessRule.objects.exists()


def test_a_role_until_a_day_is_given_and_a_refusal_keeps_what_was_typed(page, fleet, colleague):
    page.goto(f"/people/{colleague.id}/reach/")
    page.get_by_test_id("add-membership").click()
    page.get_by_test_id("membership-tenant").select_option(fleet.customer.slug)
    page.get_by_test_id("membership-role").select_option(label="Customer viewer")
    page.get_by_test_id("membership-until").fill("2020-01-01")
    page.get_by_test_id("add-submit").click()
    expect(page.get_by_test_id("error-until")).to_contain_text("in the past")
    page.get_by_test_id("membership-until").fill("2099-01-01")
    page.get_by_test_id("add-submit").click()
    expect(page.get_by_test_id("membership").filter(has_text="alder Ltd")).to_contain_text(
        "until 2 January 2099"
    )


def test_seeing_as_somebody_shows_their_portal_and_stops(page, fleet):
    CustomerFactory(parent=fleet.msp, name="birch Ltd")
    page.goto(f"/people/{fleet.owner.id}/reach/")
    page.get_by_test_id("see-as-start").click()
    expect(page.get_by_test_id("see-as")).to_contain_text("You see the portal as")
    assert violations(page) == []
    page.goto("/customers/")
    expect(page.get_by_text("alder Ltd")).to_be_visible()
    expect(page.get_by_text("birch Ltd")).to_have_count(0)
    page.goto(fleet.vm_page)
    page.wait_for_selector("html[data-live=up]")
    page.get_by_role("button", name="Shut down").click()
    expect(page.get_by_text("change nothing while you do")).to_be_visible()
    page.get_by_test_id("see-as-stop").click()
    expect(page.get_by_test_id("see-as")).to_have_count(0)
    page.goto("/customers/")
    expect(page.get_by_text("birch Ltd")).to_be_visible()


def test_a_role_is_composed_with_words_beside_every_box(page, fleet):
    page.goto("/roles/")
    page.get_by_test_id("role-new").click()
    page.get_by_test_id("role-name").fill("Night shift")
    page.get_by_label("See VMs").check()
    page.get_by_label("Start, stop and restart VMs").check()
    page.get_by_test_id("role-submit").click()
    expect(page.get_by_test_id("role").filter(has_text="Night shift")).to_contain_text(
        "2 permissions"
    )
