"""How a first boot went, on the VM's page, and the dialogs that begin another one."""

import os

import msgspec
import pytest
from django.db import transaction
from django.utils import timezone
from playwright.sync_api import expect

from agent.protocol import Boot, BootStage, open_sealed
from hypervisors.models import Job
from hypervisors.services.observers import guest_observers
from tests.browser.conftest import elsewhere
from tests.browser.wcag import violations
from vms.models import VirtualMachine

LOG = [
    "20:00:09,123 - util.py[WARNING]: Failed loading yaml blob. Invalid format at line 2",
    "E: Unable to locate package " + "x" * 300,
]


def hears(fleet, verdict: str, *statuses: str, **more) -> None:
    """The host tells how the boot goes."""
    names = ("local", "network", "config", "final")
    stages = [
        BootStage(name=name, status=status, seconds=2.5 if status != "running" else None)
        for name, status in zip(names, statuses, strict=True)
    ]
    boot = Boot(
        instance_id=str(fleet.vm.id),
        verdict=verdict,
        source="reports,result,phone_home",
        datasource="DataSourceOpenStackLocal [net,ver=2]",
        stages=stages,
        **more,
    )

    @transaction.atomic
    def tell() -> None:
        for observer in guest_observers():
            observer.boot(fleet.host, str(fleet.vm.id), boot)

    elsewhere(tell)


@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_boot_that_failed_is_understood_by_all(new_context, fleet, technician, width, scheme):
    hears(fleet, "failed", "ok", "warnings", "ok", "failed", reason="bad_yaml", log=LOG)
    now = timezone.now()
    fleet.vm.nics.update(
        metadata_state="sealed", asked_at=now, served_at=now, sealed_at=now, lan_dhcp="silent"
    )
    page = new_context(user=technician, width=width, scheme=scheme).new_page()
    page.goto(fleet.vm_page)
    expect(page.get_by_test_id("boot-verdict")).to_have_text("Configuration failed")
    expect(page.get_by_test_id("boot-advice")).to_contain_text("not valid YAML")
    page.get_by_text("2 lines of the guest's log").click()
    expect(page.get_by_test_id("boot-log")).to_contain_text("Failed loading yaml")
    page.evaluate("window.scrollTo(0, 0)")
    keep(page, f"boot-{width}-{scheme}")
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_stages_change_while_one_looks_and_the_log_stays_open(page, fleet):
    hears(fleet, "running", "ok", "running", "waiting", "waiting", log=LOG)
    page.goto(fleet.vm_page)
    expect(page.locator("html")).to_have_attribute("data-live", "up")
    page.get_by_text("2 lines of the guest's log").click()
    hears(fleet, "running", "ok", "ok", "running", "waiting", log=LOG)
    expect(page.get_by_test_id("boot-stage-network")).to_contain_text("done")
    expect(page.get_by_test_id("boot-stage-config")).to_contain_text("under way")
    expect(page.get_by_test_id("boot-log")).to_be_visible()


@pytest.mark.parametrize(
    ("item", "dialog"),
    [
        ("vm-tell", "tell-dialog"),
        ("vm-password", "password-dialog"),
        ("vm-first-boot", "first-boot-dialog"),
    ],
)
@pytest.mark.parametrize("width", [360, 1280])
def test_dialogs_say_what_will_happen(new_context, fleet, technician, item, dialog, width):
    page = new_context(user=technician, width=width).new_page()
    page.goto(fleet.vm_page)
    page.get_by_test_id("vm-more").click()
    page.get_by_test_id(item).click()
    expect(page.locator(f"#{dialog}")).to_be_visible()
    keep(page, f"{dialog}-{width}")
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_new_password_is_sealed_before_it_leaves_the_browser(page, fleet):
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.post_data or ""))
    page.goto(fleet.vm_page)
    page.get_by_test_id("vm-more").click()
    page.get_by_test_id("vm-password").click()
    page.get_by_test_id("password-new").fill("short")
    page.get_by_test_id("password-confirm").fill(fleet.vm.name)
    page.get_by_test_id("password-submit").click()
    assert not Job.objects.exists()
    page.get_by_test_id("password-new").fill("another one 43")
    page.get_by_test_id("password-submit").click()
    expect(page.get_by_test_id("job-progress")).to_contain_text("Reset password")
    assert not any("another" in body for body in sent)
    vm = VirtualMachine.objects.get()
    plain = open_sealed(fleet.host.seal_private, bytes(vm.sealed_secrets), purpose=f"vm:{vm.id}")
    assert msgspec.msgpack.decode(plain) == {"password": "another one 43", "user_data": None}


def keep(page, name: str) -> None:
    """For eyes, where BASALT_PICTURES says so."""
    folder = os.environ.get("BASALT_PICTURES")
    if folder:
        page.screenshot(path=f"{folder}/{name}.png", full_page=True)
