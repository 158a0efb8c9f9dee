"""Making and revoking a token, and a service account with its own, in a browser."""

import httpx
import pytest
from playwright.sync_api import expect

from tenants.models import ApiToken, ServiceAccount
from tests.browser.wcag import violations


def ask(portal, secret, path="vms/"):
    return httpx.get(
        f"{portal}/api/v1/{path}", headers={"Authorization": f"Bearer {secret}"}, timeout=30
    )


def test_a_token_for_one_customer_is_made_used_and_revoked(page, portal, fleet):
    page.goto("/me/")
    page.get_by_test_id("to-tokens").click()
    expect(page.get_by_text("No token yet")).to_be_visible()
    page.get_by_test_id("token-name").fill("nightly report")
    page.get_by_test_id("token-may-some").check()
    page.get_by_text("See VMs", exact=True).click()
    page.get_by_test_id("token-where-some").check()
    page.get_by_role("group", name="Customers").last.get_by_text(fleet.customer.name).click()
    page.get_by_test_id("token-days").select_option("never")
    expect(page.get_by_text("good for whoever finds it")).to_be_visible()
    page.get_by_test_id("token-days").select_option("30")
    # What the bar on top covers halfway is no smaller for it.
    page.evaluate("scrollTo(0, 0)")
    assert violations(page) == []
    page.get_by_test_id("token-submit").click()
    secret = page.get_by_test_id("token-secret").inner_text().strip()
    assert secret.startswith("bslt_")
    assert violations(page) == []
    row = page.get_by_test_id("token")
    expect(row).to_contain_text(f"May See VMs, {fleet.customer.name}")
    expect(row).to_contain_text("last used never")
    assert ask(portal, secret).status_code == 200
    assert ask(portal, secret, "sites/").status_code == 403
    page.goto("/me/tokens/")
    expect(page.get_by_test_id("token-secret")).to_have_count(0)
    expect(page.get_by_test_id("token")).to_contain_text("from 127.0.0.1")
    page.get_by_test_id("revoke").click()
    expect(page.get_by_role("dialog")).to_contain_text("gets “401” from now on")
    page.get_by_test_id("revoke-submit").click()
    expect(page.get_by_text("opens nothing any more")).to_be_visible()
    assert ask(portal, secret).status_code == 401


def test_a_token_that_says_too_little_is_explained(page, fleet):
    page.goto("/me/tokens/")
    page.get_by_test_id("token-name").fill("x")
    page.get_by_test_id("token-may-some").check()
    page.get_by_test_id("token-submit").click()
    expect(page.get_by_text("Tick what the token may do.")).to_be_visible()
    expect(page.get_by_test_id("token-may-some")).to_be_checked()
    assert not ApiToken.objects.filter(name="x").exists()


def test_a_service_account_is_made_works_and_is_deleted(page, portal, fleet):
    page.goto("/service-accounts/")
    expect(page.get_by_test_id("empty")).to_contain_text("No service account yet")
    assert violations(page) == []
    page.get_by_test_id("empty").get_by_role("link").click()
    page.get_by_test_id("service-name").fill("Backup")
    page.get_by_test_id("service-tenant").select_option(fleet.customer.slug)
    page.get_by_test_id("service-role").select_option(label="Customer viewer")
    assert violations(page) == []
    page.get_by_test_id("service-submit").click()
    expect(page.get_by_text("Customer viewer of alder Ltd")).to_be_visible()
    page.get_by_test_id("token-name").fill("nightly")
    page.get_by_test_id("token-submit").click()
    secret = page.get_by_test_id("token-secret").inner_text().strip()
    assert violations(page) == []
    assert ask(portal, secret).status_code == 200
    page.get_by_test_id("service-delete").click()
    page.get_by_test_id("service-delete-name").fill("Backup")
    page.get_by_test_id("service-delete-submit").click()
    expect(page.get_by_text("Backup is deleted")).to_be_visible()
    assert ask(portal, secret).status_code == 401
    assert not ServiceAccount.objects.exists()


@pytest.mark.parametrize("width", [360, 1280])
def test_the_page_of_tokens_fits(page, fleet, width):
    page.set_viewport_size({"width": width, "height": 800})
    page.goto("/me/tokens/")
    page.get_by_test_id("token-may-some").check()
    page.get_by_test_id("token-where-some").check()
    wide = page.evaluate("document.documentElement.scrollWidth")
    assert wide <= width
