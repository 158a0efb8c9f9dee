"""Lists in a browser: saving what one looks at, and going on page by page."""

import re

from playwright.sync_api import expect

from hypervisors.models import Job
from tenants.models import SavedView
from tests.browser.wcag import violations
from tests.factories import VirtualMachineFactory


def test_filters_typed_just_now_are_what_is_saved(page, fleet):
    VirtualMachineFactory(hypervisor=fleet.host, name="sleeper", observed_power="off")
    page.goto("/vms/?sort=-name")
    page.get_by_placeholder("Search this list").fill("sleep")
    page.wait_for_url(re.compile("q=sleep"))
    expect(page.get_by_test_id("row")).to_have_count(1)
    expect(page.get_by_test_id("csv")).to_have_attribute("href", re.compile("q=sleep"))
    page.get_by_role("button", name="Save this view…").click()
    page.get_by_test_id("view-name").fill("Sleepers")
    page.get_by_label("Open the list with it").check()
    page.get_by_test_id("view-save").click()
    expect(page.get_by_test_id("view")).to_contain_text("Sleepers")
    assert SavedView.objects.get().query == "q=sleep&sort=-name"
    page.get_by_role("link", name="VMs", exact=True).click()
    expect(page.get_by_test_id("view")).to_have_attribute("aria-current", "true")
    expect(page.get_by_test_id("row")).to_have_count(1)
    page.get_by_role("link", name="All", exact=True).click()
    expect(page.get_by_test_id("row")).to_have_count(2)
    page.get_by_test_id("views").click()
    assert violations(page) == []
    page.get_by_role("button", name="Delete the view Sleepers").click()
    expect(page.get_by_test_id("message")).to_contain_text("is deleted")
    expect(page.get_by_test_id("view")).to_have_count(0)


def test_a_long_list_goes_on_and_comes_back(page, fleet):
    for number in range(52):
        VirtualMachineFactory(hypervisor=fleet.host, name=f"many-{number:02}")
    page.goto("/vms/?q=many")
    expect(page.get_by_test_id("row")).to_have_count(50)
    page.get_by_role("link", name="Next").click()
    expect(page.get_by_test_id("row")).to_have_count(2)
    page.get_by_role("link", name="Previous").click()
    expect(page.get_by_test_id("row")).to_have_count(50)


def test_deleting_many_needs_their_number_typed(page, fleet):
    VirtualMachineFactory(hypervisor=fleet.host, name="sleeper", observed_power="off")
    page.goto("/vms/")
    page.get_by_label("Choose all on this page").check()
    page.get_by_role("button", name="Delete…").click()
    expect(page.get_by_test_id("plan")).to_have_count(2)
    assert violations(page) == []
    expect(page.get_by_test_id("bulk-confirm")).to_be_disabled()
    page.get_by_test_id("bulk-count").fill("1")
    expect(page.get_by_test_id("bulk-confirm")).to_be_disabled()
    page.get_by_test_id("bulk-count").fill("2")
    page.get_by_test_id("bulk-confirm").click()
    expect(page.get_by_test_id("message")).to_contain_text("2 VMs are being deleted")
    assert set(Job.objects.values_list("kind", flat=True)) == {"vm.delete"}


def test_lists_and_a_preview_fit_a_narrow_phone(new_context, technician, fleet):
    page = new_context(user=technician, width=360, height=740).new_page()
    for name in ("vms", "hosts", "images"):
        page.goto(f"/{name}/")
        page.get_by_label("Choose all on this page").check()
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        page.locator("#bulk-bar button").last.click()
        expect(page.get_by_text("Nothing is done until you confirm.")).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
