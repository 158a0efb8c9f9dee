"""Two people and many VMs, in two browsers."""

from playwright.sync_api import expect

from hypervisors.models import Job
from tenants.models import SecondPersonRequest
from tests.browser.wcag import violations
from tests.factories import MembershipFactory, VirtualMachineFactory


def test_asked_by_one_agreed_to_by_another_and_deleted(new_context, fleet):
    VirtualMachineFactory(hypervisor=fleet.host, network=fleet.network, name="db")
    ben = MembershipFactory(tenant=fleet.customer, user__name="Ben").user
    page = new_context(user=fleet.owner).new_page()
    page.goto("/approvals/")
    page.get_by_test_id("tab-second-person").click()
    expect(page.get_by_text("Nobody waits.")).to_be_visible()
    page.get_by_test_id(f"set-{fleet.customer.slug}").click()
    expect(page.get_by_test_id("rule")).to_contain_text("from 2 things on")
    assert violations(page) == []

    # Of one thing's own page, where the rule is so.
    page.goto(f"/approvals/second-person/ask/?kind=vm.delete&row={fleet.vm.id}&option=keep")
    expect(page.get_by_text("its disks stay on the host")).to_be_visible()
    assert violations(page) == []
    page.goto("/vms/")
    page.get_by_label("Choose all on this page").check()
    page.get_by_role("button", name="Delete…").click()
    expect(page.get_by_test_id("second-person")).to_contain_text("These can agree: Ben.")
    page.get_by_test_id("reason").fill("We move to another site.")
    page.get_by_test_id("bulk-count").fill("2")
    assert violations(page) == []
    page.get_by_test_id("bulk-confirm").click()
    expect(page.get_by_test_id("message")).to_contain_text("Nothing is done until")
    page.wait_for_selector("html[data-live=up]")
    assert not Job.objects.exists()

    # The other has a phone, and the night.
    other = new_context(width=360, scheme="dark", user=ben).new_page()
    other.goto("/approvals/second-person/")
    wish = other.get_by_test_id("wish")
    expect(wish).to_contain_text("We move to another site.")
    expect(wish.get_by_test_id("things")).to_contain_text("is deleted with its disks")
    assert violations(other) == []
    assert other.evaluate("document.documentElement.scrollWidth") <= 360
    wish.get_by_test_id("agree").focus()
    other.keyboard.press("Enter")
    expect(other.get_by_test_id("message")).to_contain_text("2 VMs are being deleted.")
    # The one who asked sees it without doing anything.
    expect(page.get_by_test_id("decided")).to_contain_text("agreed by Ben")
    page.goto("/activity/")
    expect(page.get_by_test_id("row").filter(has_text="db")).to_be_visible()
    assert Job.objects.count() == 2
    assert SecondPersonRequest.objects.get().done == 2
