"""What the agent takes while nothing happens, and what a person clicks."""

import re
import time
from dataclasses import dataclass

import psutil
from playwright.sync_api import Page, expect, sync_playwright

from tests.bench.portal import Portal, PortalError

MIB = 1024 * 1024


@dataclass(frozen=True)
class IdleCost:
    """Resident memory in MiB at the end, and processor time in percent of one core."""

    memory_mib: float
    cpu_percent: float


def idle_cost(process: psutil.Process, *, seconds: float) -> IdleCost:
    """Watch one process, its children not included, for `seconds`."""
    before, began = process.cpu_times(), time.monotonic()
    time.sleep(seconds)
    after, took = process.cpu_times(), time.monotonic() - began
    used = (after.user + after.system) - (before.user + before.system)
    return IdleCost(process.memory_info().rss / MIB, used / took * 100)


def the_one(portal: Portal, *words: str) -> psutil.Process:
    """The process of `portal` with `words` in its command line; the eldest when it has forked."""
    found = sorted(portal.processes(*words), key=lambda process: process.create_time())
    if not found:
        raise PortalError(f"No process of script/up has {' '.join(words)!r} in its command line.")
    return found[0]


def clicks_to_a_vm(portal: Portal) -> tuple[int, float]:
    """Clicks after signing in until a VM with defaults is requested, and the seconds it took."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox"]
        )
        try:
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            _sign_in(page, portal)
            clicks = 0

            def count(_source: object) -> None:
                nonlocal clicks
                clicks += 1

            # Asked of the browser, not of this program: what a person would have done.
            page.context.expose_binding("basaltBenchClick", count)
            page.context.add_init_script(_LISTEN)
            page.evaluate(_LISTEN)
            began = time.monotonic()
            _make_vm(page)
            return clicks, time.monotonic() - began
        finally:
            browser.close()


_LISTEN = """
document.addEventListener("click", (event) => {
  // A click on a label, and Enter in a form, make a second event without a pointer.
  if (event.isTrusted && event.pointerType) window.basaltBenchClick();
}, true);
"""


def _sign_in(page: Page, portal: Portal) -> None:
    page.goto(portal.url)
    page.get_by_test_id("login-email").fill(portal.email)
    page.get_by_test_id("login-password").fill(portal.password)
    page.get_by_test_id("login-submit").click()
    expect(page.get_by_test_id("create-vm").first).to_be_visible(timeout=30_000)


def _make_vm(page: Page) -> None:
    page.get_by_test_id("create-vm").first.click()
    field = page.get_by_test_id("vm-name")
    expect(field).not_to_have_value("", timeout=30_000)
    name = field.input_value()
    page.get_by_test_id("vm-password-generate").click()
    page.get_by_test_id("vm-submit").click()
    expect(page).to_have_url(re.compile(rf"/vms/{name}"), timeout=30_000)
