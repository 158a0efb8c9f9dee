"""The main job as a newcomer does it: with the browser, from signing in to a login prompt."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.e2e import screen
from tests.e2e.guest import Guest, new_key
from tests.e2e.leftovers import traces_of

pytestmark = [
    pytest.mark.guest,
    pytest.mark.browser,
    pytest.mark.libvirt,
    pytest.mark.root,
    pytest.mark.timeout(1200),
]

PASSWORD = "staple-battery-7"
PICTURES = Path("test-results")


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    return new_key(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="module")
def vm_page(stack, browser, key):
    """Signs in, makes a VM with the form, and stays on its page."""
    PICTURES.mkdir(exist_ok=True)
    page: Page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto(stack.url)
    page.get_by_test_id("login-email").fill(stack.email)
    page.get_by_test_id("login-password").fill(stack.password)
    page.get_by_test_id("login-submit").click()
    page.get_by_test_id("create-vm").first.click()
    page.get_by_test_id("vm-name").fill("desk-1")
    page.get_by_test_id("vm-username").fill("maria")
    page.get_by_test_id("vm-password").fill(PASSWORD)
    page.get_by_test_id("vm-ssh-keys").fill(key[1])
    page.get_by_test_id("vm-setup-more").click()
    page.get_by_test_id("vm-commands").fill("echo {{ site.name }} > /var/lib/made-by-form")
    if not page.get_by_test_id("vm-user-data").is_visible():
        page.get_by_test_id("vm-script").click()
    page.get_by_test_id("vm-user-data").fill("#!/bin/sh\ntouch /var/lib/made-by-hand\n")
    page.get_by_test_id("vm-submit").click()
    yield page
    page.screenshot(path=str(PICTURES / "last-page.png"))
    vm = stack.vm_named("desk-1")
    if vm:
        stack.delete_vm_if_there(vm["id"])
    page.close()


def test_progress_is_shown_until_the_vm_runs(vm_page, stack):
    expect(vm_page.get_by_test_id("job-progress").first).to_be_visible(timeout=20_000)
    expect(vm_page.get_by_test_id("vm-power")).to_have_text(re.compile("Running"), timeout=180_000)


def test_the_console_shows_the_login_prompt_and_takes_the_credentials(vm_page, stack, key):
    vm = stack.wait_for_vm(stack.vm_named("desk-1")["id"], cloud_init="done", seconds=400)
    vm_page.get_by_test_id("vm-console").first.click()
    vm_page.get_by_test_id("console-screen").locator("canvas").wait_for(timeout=30_000)
    # cloud-init may have written over the prompt: Enter brings a fresh one.
    screen.type_line(vm_page, "")
    screen.wait_for_text(vm_page, "login:", PICTURES / "console-login.png", seconds=60)
    screen.type_line(vm_page, "maria")
    screen.wait_for_text(vm_page, "Password", PICTURES / "console-password.png", seconds=30)
    screen.type_line(vm_page, PASSWORD)
    screen.wait_for_text(vm_page, "maria@desk-1", PICTURES / "console-shell.png", seconds=60)
    screen.type_line(vm_page, "touch proof-from-the-console")
    guest = Guest(vm["nics"][0]["address"], "maria", key[0])
    guest.wait(seconds=60)
    assert "tty1" in guest.run("who")
    assert guest.run("ls ~") == "proof-from-the-console"
    assert guest.run("hostname") == "desk-1"
    assert guest.has_password(PASSWORD)
    # What was sealed and what was readable are two parts, and both were done.
    guest.run("test -e /var/lib/made-by-hand")
    assert guest.run("cat /var/lib/made-by-form") == vm["site"]["name"]


def test_force_off_and_delete_in_the_page_leave_nothing(vm_page, stack):
    vm = stack.vm_named("desk-1")
    vm_page.goto(f"{stack.url}/c/{stack.customer['slug']}/vms/desk-1/")
    vm_page.get_by_test_id("vm-delete").first.click()
    vm_page.get_by_test_id("delete-confirm-name").fill("desk-1")
    vm_page.get_by_test_id("delete-submit").click()
    stack.wait_until_gone(vm["id"], seconds=120)
    assert traces_of(vm, stack.agent_data) == []
