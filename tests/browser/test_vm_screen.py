"""The small picture of a guest's screen on its page."""

import uuid

import pytest
from playwright.sync_api import expect

from agent.pictures import write_png
from agent.protocol import Screenshot
from hypervisors.services.screens import screen_store
from tenants.services.live import live_publish
from tests.browser.conftest import elsewhere
from tests.browser.wcag import violations
from tests.factories import MembershipFactory

GREEN = write_png(240, [b"\x10\x80\x20" * 240] * 133)


def shows(fleet, png=GREEN):
    answer = Screenshot(request_id=str(uuid.uuid4()), png=png)
    elsewhere(lambda: screen_store(vm_id=str(fleet.vm.id), answer=answer))


@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_screen_is_shown_and_leads_to_the_console(
    new_context, fleet, technician, width, scheme
):
    shows(fleet)
    page = new_context(user=technician, width=width, scheme=scheme).new_page()
    page.goto(fleet.vm_page)
    page.get_by_test_id("vm-screen").scroll_into_view_if_needed()
    picture = page.get_by_role("img", name=f"The screen of {fleet.vm.name}")
    expect(picture).to_be_visible()
    assert picture.evaluate("image => image.naturalWidth") == 240
    # Scrolled, the bar on top covers some buttons in part.
    page.evaluate("window.scrollTo(0, 0)")
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    picture.click()
    page.wait_for_url(f"**{fleet.vm_page}console/")


def test_the_first_picture_appears_when_the_host_has_sent_it(page, fleet):
    page.goto(fleet.vm_page)
    expect(page.get_by_test_id("vm-screen-state")).to_contain_text("Looking at the screen")
    shows(fleet)
    expect(page.get_by_role("img", name="The screen of")).to_be_visible()


def test_when_the_guest_goes_off_a_sentence_takes_the_pictures_place(page, fleet):
    shows(fleet)
    page.goto(fleet.vm_page)
    expect(page.get_by_role("img", name="The screen of")).to_be_visible()
    expect(page.locator("html")).to_have_attribute("data-live", "up")
    type(fleet.vm).objects.update(observed_power="off")
    elsewhere(lambda: live_publish(tenant_id=fleet.customer.id, kind="vm", object_id=fleet.vm.id))
    expect(page.get_by_test_id("vm-screen-state")).to_contain_text("is off")
    expect(page.get_by_role("img", name="The screen of")).to_have_count(0)


def test_who_may_not_open_the_console_sees_no_screen(new_context, fleet):
    shows(fleet)
    viewer = MembershipFactory(tenant=fleet.customer, role="customer-viewer").user
    page = new_context(user=viewer).new_page()
    page.goto(fleet.vm_page)
    expect(page.locator("#usage")).to_be_visible()
    expect(page.get_by_test_id("vm-screen")).to_have_count(0)
