"""Quotas as people use them: the dialog on the list, and bars that follow what is typed."""

import pytest
from playwright.sync_api import expect

from tests.browser.addresses import quota_of
from tests.browser.wcag import violations
from tests.factories import VirtualMachineFactory
from vms.models import Quota


def test_a_quota_is_changed_in_a_dialog_on_the_list(page, fleet):
    quota_of(fleet)
    page.goto("/quotas/")
    expect(page.get_by_test_id("quota-state")).to_contain_text("Over")
    page.get_by_test_id("quota-edit").click()
    expect(page.get_by_role("dialog")).to_contain_text("Quota of alder Ltd")
    expect(page.get_by_test_id("quota-vms-limit")).to_have_value("1")
    assert violations(page) == []
    page.get_by_test_id("quota-vms-limit").fill("20")
    page.get_by_test_id("quota-disk-limit").fill("")
    page.get_by_test_id("quota-submit").click()
    expect(page.get_by_test_id("quota-card")).to_contain_text("1 of 20")
    quota = Quota.objects.get()
    assert (quota.vms, quota.disk_gib, quota.vcpus) == (20, None, 10)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_customers_card_and_its_dialog_stand_up_to_axe(new_context, technician, fleet, scheme):
    quota_of(fleet)
    page = new_context(user=technician, scheme=scheme).new_page()
    page.goto(f"/c/{fleet.customer.slug}/")
    expect(page.get_by_test_id("quota-card")).to_contain_text("Nearly full")
    assert violations(page) == []
    page.get_by_test_id("quota-change").click()
    expect(page.get_by_test_id("quota-submit")).to_be_visible()
    assert violations(page) == []


def test_the_form_for_a_vm_shows_what_it_would_make_of_the_quotas(page, fleet):
    Quota.objects.create(tenant=fleet.customer, vms=5, vcpus=4, memory_mib=6144, disk_gib=60)
    page.goto(f"/vms/new/?host={fleet.host.id}")
    page.get_by_test_id("vm-size-small").check(force=True)
    expect(page.get_by_test_id("quota-vms")).to_contain_text("1 + 1 of 5")
    expect(page.get_by_test_id("quota-memory_mib")).to_contain_text("1 GiB + 1 GiB of 6 GiB")
    verdict = page.locator("[data-quota-verdict]")
    expect(verdict).to_have_text("")
    page.get_by_test_id("vm-size-large").check(force=True)
    expect(page.get_by_test_id("quota-disk_gib")).to_contain_text("10 GiB + 80 GiB of 60 GiB")
    expect(verdict).to_contain_text("Does not fit.")
    expect(verdict).to_contain_text("Disk 30 GiB over.")
    assert violations(page) == []
    page.get_by_test_id("vm-size-custom").check(force=True)
    page.get_by_test_id("vm-vcpus").fill("3")
    page.get_by_test_id("vm-memory").fill("2.5")
    page.get_by_test_id("vm-disk").fill("20")
    expect(verdict).to_have_text("")
    page.get_by_test_id("vm-advanced").click()
    page.get_by_test_id("vm-add-disk").click()
    expect(page.get_by_test_id("quota-disk_gib")).to_contain_text("10 GiB + 40 GiB of 60 GiB")


def test_the_resize_dialog_counts_only_what_grows(page, fleet):
    VirtualMachineFactory(hypervisor=fleet.host, network=fleet.network, vcpus=2)
    fleet.vm.observed_power = "off"
    fleet.vm.save()
    Quota.objects.create(tenant=fleet.customer, vms=2, vcpus=4)
    page.goto(fleet.vm_page)
    page.get_by_test_id("vm-more").click()
    page.get_by_test_id("vm-resize").click()
    room = page.get_by_role("dialog").get_by_test_id("quota-vcpus")
    expect(room).to_contain_text("3 of 4")
    page.get_by_test_id("resize-vcpus").fill("2")
    expect(room).to_contain_text("3 + 1 of 4")
    page.get_by_test_id("resize-vcpus").fill("3")
    expect(page.locator("[data-quota-verdict]")).to_contain_text("vCPU 1 over.")
