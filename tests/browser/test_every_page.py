"""What holds for every page: it fits a phone, and axe finds nothing."""

import pytest
from playwright.sync_api import expect

from hypervisors.models import Status
from tests.browser.addresses import ADDRESSES, address_of
from tests.browser.wcag import violations
from tests.factories import JobFactory


def test_every_page_fits_a_narrow_phone(new_context, technician, fleet):
    page = new_context(user=technician, width=360, height=740).new_page()
    widths = {}
    for name in ADDRESSES:
        assert page.goto(address_of(name, fleet)).status == 200
        widths[name] = page.evaluate("document.documentElement.scrollWidth")
    assert {name: width for name, width in widths.items() if width > 360} == {}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_against_wcag_aa(new_context, technician, fleet, scheme):
    JobFactory(
        hypervisor=fleet.host, subject_id=fleet.vm.id, status=Status.RUNNING, progress=40, step="x"
    )
    page = new_context(user=technician, scheme=scheme).new_page()
    found = {}
    for name in ADDRESSES:
        page.goto(address_of(name, fleet))
        found[name] = violations(page)
    assert {name: sentences for name, sentences in found.items() if sentences} == {}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_at_the_door_in_dialogs_and_on_the_404_page(
    new_context, technician, fleet, scheme
):
    stranger = new_context(scheme=scheme).new_page()
    for address in ("/account/login/", "/account/password/reset/", "/nowhere/"):
        stranger.goto(address)
        assert violations(stranger) == []
    page = new_context(user=technician, scheme=scheme).new_page()
    page.goto(fleet.vm_page)
    page.get_by_test_id("vm-delete").click()
    assert violations(page) == []
    page.keyboard.press("Escape")
    page.keyboard.press("Control+k")
    expect(page.get_by_test_id("hit").first).to_be_visible()
    assert violations(page) == []
