"""From an invitation to the first page that the invited person sees, and to their leaving."""

import re

import pytest
from django.core import mail
from playwright.sync_api import expect

from tenants.models import Membership, User

PASSWORD = "staple battery horse"


@pytest.fixture(autouse=True)
def _fresh_limits():
    from django.core.cache import cache

    cache.clear()


def invite(page, fleet, email="nina@example.com", role="Customer operator"):
    page.goto("/people/")
    page.get_by_role("link", name="Invite somebody").first.click()
    page.get_by_test_id("email").fill(email)
    page.get_by_test_id("tenant").select_option(label=fleet.customer.name)
    page.get_by_test_id("role").select_option(label=role)
    page.get_by_test_id("submit").click()
    expect(page.get_by_test_id("message")).to_contain_text(f"on its way to {email}")
    return re.search(r"/invited/\S+/", mail.outbox[-1].body)[0]


def test_an_invited_person_gets_from_the_message_to_their_vms(page, new_context, fleet):
    link = invite(page, fleet)
    expect(page.get_by_test_id("invitation-state")).to_contain_text("Sent")
    page.wait_for_selector("html[data-live=up]")
    nina = new_context(width=360, height=760).new_page()
    nina.goto(link)
    expect(nina.get_by_role("heading")).to_contain_text(f"Welcome to {fleet.customer.name}")
    nina.get_by_test_id("invited-name").fill("Nina")
    nina.get_by_test_id("invited-password").fill("short")
    nina.get_by_test_id("invited-submit").click()
    expect(nina.get_by_test_id("error-password")).to_contain_text("at least 12")
    expect(nina.get_by_test_id("invited-name")).to_have_value("Nina")
    nina.get_by_test_id("invited-password").fill(PASSWORD)
    nina.get_by_test_id("invited-submit").click()
    expect(nina).to_have_url(re.compile(r"/$"))
    expect(nina.get_by_test_id("user-menu")).to_be_visible()
    nina.goto("/vms/")
    expect(nina.get_by_role("link", name=fleet.vm.name, exact=True)).to_be_visible()
    # And the inviter sees it happen.
    expect(page.get_by_test_id("invitation-state")).to_contain_text("Accepted")
    # Once.
    nina.goto(link)
    expect(nina.get_by_test_id("invited-refused")).to_contain_text("accepted already")


def test_who_leaves_is_shown_the_door_on_every_open_page(page, new_context, fleet):
    link = invite(page, fleet)
    nina = new_context().new_page()
    nina.goto(link)
    nina.get_by_test_id("invited-name").fill("Nina")
    nina.get_by_test_id("invited-password").fill(PASSWORD)
    nina.get_by_test_id("invited-submit").click()
    nina.wait_for_selector("html[data-live=up]")
    page.goto("/people/")
    page.get_by_role("link", name="Nina").click()
    page.get_by_test_id("leave").click()
    expect(page.get_by_test_id("leaving")).to_contain_text("Customer operator")
    page.get_by_test_id("leave-confirm").click()
    expect(page.get_by_test_id("person-state")).to_contain_text("Left")
    # Her page is sent away by itself.
    expect(nina.get_by_test_id("login-email")).to_be_visible(timeout=5000)
    assert not User.objects.get(email="nina@example.com").is_active
    assert not Membership.objects.current().filter(user__email="nina@example.com").exists()
