"""Pictures of usage: sparklines in the lists, charts on the pages of a host and of a VM."""

import math
from datetime import timedelta

import pytest
from django.utils import timezone
from playwright.sync_api import expect

from hypervisors.models import HostUsage
from hypervisors.models.usage import MINUTE, QUARTER
from hypervisors.services.usage import floor
from tenants.services.live import live_publish
from tests.browser.conftest import elsewhere
from tests.browser.wcag import violations
from vms.models import VmUsage


def history(fleet):
    """A day of minutes and a week of quarters, with two hours of silence."""
    now = floor(timezone.now(), MINUTE)
    for model, subject in ((HostUsage, {"hypervisor": fleet.host}), (VmUsage, {"vm": fleet.vm})):
        rows = []
        steps = [(MINUTE, number) for number in range(24 * 60)]
        steps += [(QUARTER, number) for number in range(2, 7 * 96)]
        for span_s, number in steps:
            at = floor(now, span_s) - timedelta(seconds=span_s * number)
            if timedelta(hours=5) < now - at < timedelta(hours=7):
                continue
            wave = 0.5 + 0.4 * math.sin(at.timestamp() / 7000)
            figures = {
                "cpu_percent": 60 * wave,
                "memory_used_mib": 300 + 500 * wave,
                "disk_used": 5 * 1024**3,
                "disk_read": 3e6 * wave,
                "disk_write": 8e5 * (1 - wave),
                "net_in": 2e4 * wave,
                "net_out": 9e4 * wave,
            }
            rows.append(model(tenant=fleet.customer, at=at, span_s=span_s, **subject, **figures))
        model.objects.bulk_create(rows)


@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("place", ["vm_page", "host_page"])
def test_the_charts_are_drawn_for_everyone(new_context, fleet, technician, place, scheme, width):
    history(fleet)
    page = new_context(user=technician, width=width, scheme=scheme).new_page()
    page.goto(getattr(fleet, place))
    usage = page.locator("#usage[data-shown='24h']")
    expect(usage.locator("canvas")).to_have_count(4)
    expect(usage.locator("[data-chart=cpu] [data-now]")).to_contain_text("%")
    usage.get_by_text("As a table").click()
    expect(usage.locator("tbody tr")).to_have_count(29)
    # The silence is a gap, in the table too.
    expect(usage.locator("tbody")).to_contain_text("—")
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_another_range_is_one_click_away(page, fleet):
    history(fleet)
    page.goto(fleet.vm_page)
    for name, words in (("7d", "7 days"), ("1h", "1 h"), ("30d", "30 days")):
        page.get_by_role("button", name=words, exact=True).click()
        expect(page.locator(f"#usage[data-shown='{name}'] canvas")).to_have_count(4)
        expect(page.get_by_role("button", name=words, exact=True)).to_have_attribute(
            "aria-pressed", "true"
        )


def test_news_of_the_vm_leave_the_charts_as_they_are(page, fleet):
    history(fleet)
    page.goto(fleet.vm_page)
    page.get_by_role("button", name="7 days").click()
    expect(page.locator("#usage[data-shown='7d'] canvas")).to_have_count(4)
    expect(page.locator("html")).to_have_attribute("data-live", "up")
    fleet.vm.observed_power = "off"
    fleet.vm.save()
    elsewhere(lambda: live_publish(tenant_id=fleet.customer.id, kind="vm", object_id=fleet.vm.id))
    expect(page.get_by_test_id("vm-power")).to_contain_text("Off")
    expect(page.locator("#usage[data-shown='7d'] canvas")).to_have_count(4)


def test_without_values_the_page_says_when_they_come(page, fleet):
    page.goto(fleet.vm_page)
    expect(page.get_by_test_id("usage-state")).to_contain_text("values appear here soon")
    expect(page.locator("#usage canvas")).to_have_count(0)


def test_lists_show_the_day_of_each_row_with_words_for_it(page, fleet):
    history(fleet)
    page.goto("/vms/")
    lines = page.get_by_role("img", name="in the last 24 hours")
    expect(lines).to_have_count(2)
    expect(lines.first).to_have_accessible_name(
        page.locator("svg.spark").first.get_attribute("aria-label")
    )
    assert violations(page) == []
    page.goto("/hosts/")
    expect(page.get_by_role("img", name="Processor in the last 24 hours")).to_be_visible()
    assert violations(page) == []
