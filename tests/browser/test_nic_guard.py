"""What a NIC's guard has dropped, on the page of its VM."""

import pytest
from playwright.sync_api import expect

from tests.browser.wcag import violations
from vms.models import Nic


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (360, "dark")])
def test_the_guard_tells_what_it_is_and_what_it_dropped(
    new_context, technician, fleet, width, scheme
):
    Nic.objects.update(dropped={"arp": 3, "router": 1200, "mac": 0})
    page = new_context(user=technician, width=width, scheme=scheme).new_page()
    page.goto(fleet.vm_page)
    guard = page.get_by_test_id("nic-guard")
    expect(guard).to_contain_text("1,203 frames dropped")
    expect(guard.get_by_text("speak for itself alone")).to_be_hidden()
    guard.get_by_text("What is this?").click()
    expect(guard.get_by_text("speak for itself alone")).to_be_visible()
    expect(guard.get_by_role("listitem")).to_have_count(2)
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
