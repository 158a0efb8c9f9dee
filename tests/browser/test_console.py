"""The console page, against a fake screen. A real guest's is shown in tests/e2e."""

import itertools
import json

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.screen import PREFIX, REASON, REFUSED, FakeScreen, WithScreens


@pytest.fixture
def screens(page: Page, application: WithScreens) -> list[FakeScreen]:
    """Every connection that the page opens, in order; each ticket leads to another one."""
    application.opened.clear()
    numbers = itertools.count(1)

    def ticket(route: Route) -> None:
        address = {"url": f"{PREFIX}{next(numbers)}/"}
        route.fulfill(status=201, content_type="application/json", body=json.dumps(address))

    page.route("**/console/ticket/", ticket)
    return application.opened


def connected(page: Page) -> None:
    expect(page.get_by_test_id("console-status")).to_have_text("Connected")


def test_the_screen_fills_the_window_and_takes_keys(page, fleet, screens):
    page.goto(f"{fleet.vm_page}console/")
    connected(page)
    canvas = page.get_by_test_id("console-screen").locator("canvas")
    assert canvas.bounding_box()["height"] > 600
    expect(page.locator("#console-overlay")).to_be_hidden()
    canvas.click()
    page.keyboard.type("ok")
    page.wait_for_timeout(200)
    assert screens[0].keys == [ord("o"), ord("k")]


def test_ctrl_alt_del_and_a_pasted_text_arrive_as_keys(page, fleet, screens):
    page.goto(f"{fleet.vm_page}console/")
    page.get_by_role("button", name="Ctrl-Alt-Del").click()
    page.wait_for_timeout(200)
    assert screens[0].keys == [0xFFE3, 0xFFE9, 0xFFFF]
    screens[0].keys.clear()
    page.get_by_role("button", name="Type a text").click()
    page.get_by_test_id("console-paste-text").fill("aB\n")
    page.get_by_role("button", name="Type it").click()
    page.wait_for_timeout(500)
    assert screens[0].keys == [ord("a"), 0xFFE1, ord("B"), 0xFF0D]


def test_a_broken_connection_is_made_again_with_a_fresh_ticket(page, fleet, screens):
    page.goto(f"{fleet.vm_page}console/")
    connected(page)
    screens[0].close(4410, "The host closed the screen.")
    expect(page.get_by_test_id("console-message")).to_contain_text("Connecting again")
    connected(page)
    assert [screen.path for screen in screens] == [f"{PREFIX}1/", f"{PREFIX}2/"]


def test_a_refusal_of_the_host_is_said_and_can_be_tried_again(page, fleet):
    page.route(
        "**/console/ticket/",
        lambda route: route.fulfill(status=201, json={"url": REFUSED}),
    )
    page.goto(f"{fleet.vm_page}console/")
    expect(page.get_by_test_id("console-message")).to_have_text(REASON)
    expect(page.get_by_test_id("console-again")).to_be_visible()


def test_a_host_that_goes_offline_is_said_in_the_portals_own_words(page, fleet):
    page.goto(f"{fleet.vm_page}console/")
    fleet.host.online = False
    fleet.host.save()
    page.get_by_test_id("console-again").click(timeout=40_000)
    expect(page.get_by_test_id("console-message")).to_contain_text("offline")


def test_a_vm_that_is_off_offers_to_start_it(page, fleet):
    type(fleet.vm).objects.update(observed_power="off")
    page.goto(f"{fleet.vm_page}console/")
    expect(page.get_by_test_id("console-message")).to_contain_text("The VM is off")
    page.get_by_role("button", name="Start the VM").click()
    expect(page.get_by_test_id("job-step")).to_be_visible()
