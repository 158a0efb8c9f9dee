"""The pages as people use them: with eyes, a keyboard, a phone, in the dark."""

import hashlib
import re

from playwright.sync_api import expect

from hypervisors.models import Hypervisor, Job, Status
from hypervisors.services.jobs import job_progress
from tenants.services.live import live_publish
from tests.browser.conftest import elsewhere
from tests.factories import JobFactory, UserFactory
from vms.models import Image, VirtualMachine


def announce(fleet, kind, object_id):
    """As a service does when its change is committed."""
    elsewhere(lambda: live_publish(tenant_id=fleet.customer.id, kind=kind, object_id=object_id))


def test_signing_in_and_asking_for_a_vm_takes_three_clicks(new_context, fleet, technician):
    technician.set_password("a long enough password")
    technician.save()
    # Somebody who made a VM before: the key is remembered.
    VirtualMachine.objects.update(created_by=technician)
    page = new_context().new_page()
    page.goto("/")
    page.get_by_test_id("login-email").fill(technician.email)
    page.get_by_test_id("login-password").fill("a long enough password")
    page.get_by_test_id("login-submit").click()
    page.get_by_test_id("create-vm").click()
    page.get_by_test_id("vm-submit").click()
    expect(page.get_by_test_id("job-progress")).to_be_visible()
    expect(page.get_by_test_id("vm-power")).to_contain_text("Being created")
    assert Job.objects.get().kind == "vm.create"


def test_a_wrong_password_is_said_on_the_page(new_context, db):
    user = UserFactory()
    page = new_context().new_page()
    page.goto("/account/login/")
    page.get_by_test_id("login-email").fill(user.email)
    page.get_by_test_id("login-password").fill("not this one")
    page.get_by_test_id("login-submit").click()
    expect(page.get_by_test_id("form-error")).to_be_visible()


def test_errors_stand_beside_their_fields_and_nothing_typed_is_lost(page, fleet):
    page.goto("/vms/new/")
    page.get_by_test_id("vm-name").fill("not a name!")
    page.get_by_test_id("vm-username").fill("maria")
    page.get_by_test_id("vm-password").fill("staple-battery-7")
    page.get_by_test_id("vm-script").click()
    page.get_by_test_id("vm-user-data").fill("#!/bin/sh\necho hello\n")
    page.get_by_test_id("vm-submit").click()
    expect(page.get_by_test_id("error-name")).to_contain_text("letters, digits and hyphens")
    expect(page.get_by_test_id("vm-username")).to_have_value("maria")
    expect(page.get_by_test_id("vm-password")).to_have_value("staple-battery-7")
    expect(page.get_by_test_id("vm-user-data")).to_be_visible()
    expect(page.get_by_test_id("vm-user-data")).to_have_value("#!/bin/sh\necho hello\n")
    page.get_by_test_id("vm-name").fill("web-1")
    page.get_by_test_id("vm-submit").click()
    expect(page.get_by_test_id("vm-power")).to_be_visible()
    assert VirtualMachine.objects.filter(name="web-1", has_user_data=True).exists()


def test_generate_makes_a_password_that_can_be_read_and_copied(page, fleet):
    page.goto("/vms/new/")
    page.get_by_test_id("vm-password-generate").click()
    field = page.get_by_test_id("vm-password")
    expect(field).to_have_attribute("type", "text")
    first = field.input_value()
    assert len(first) >= 20
    page.get_by_test_id("vm-password-generate").click()
    assert field.input_value() != first


def test_a_custom_size_and_a_data_disk_can_be_given(page, fleet):
    page.goto("/vms/new/")
    expect(page.get_by_test_id("vm-vcpus")).to_be_hidden()
    page.get_by_test_id("vm-size-custom").check(force=True)
    page.get_by_test_id("vm-vcpus").fill("3")
    page.get_by_test_id("vm-advanced").click()
    page.get_by_test_id("vm-add-disk").click()
    page.get_by_test_id("vm-name").fill("sized")
    page.get_by_test_id("vm-password").fill("staple-battery-7")
    page.get_by_test_id("vm-submit").click()
    expect(page.get_by_test_id("vm-power")).to_be_visible()
    vm = VirtualMachine.objects.get(name="sized")
    assert vm.vcpus == 3
    assert [disk.size_gib for disk in vm.disks.all()] == [10, 20]


def test_a_vms_state_changes_on_the_page_without_a_reload(page, fleet):
    page.goto(fleet.vm_page)
    expect(page.get_by_test_id("vm-power")).to_contain_text("Running")
    page.wait_for_selector("html[data-live=up]")
    page.evaluate("window.thisVeryPage = true")
    VirtualMachine.objects.update(observed_power="off")
    announce(fleet, "vm", fleet.vm.id)
    expect(page.get_by_test_id("vm-power")).to_contain_text("Off", timeout=3000)
    expect(page.get_by_test_id("power-start")).to_be_visible()
    assert page.evaluate("window.thisVeryPage") is True


def test_a_jobs_progress_moves_and_ends_on_the_page(page, fleet):
    page.goto(fleet.vm_page)
    page.wait_for_selector("html[data-live=up]")
    page.get_by_test_id("power-shutdown").click()
    expect(page.get_by_test_id("job-step")).to_contain_text("Waiting for the host")
    job = Job.objects.get()
    Job.objects.update(status=Status.SENT)
    elsewhere(
        lambda: job_progress(
            hypervisor=fleet.host, job_id=str(job.id), percent=60, step="Asking the guest"
        )
    )
    expect(page.get_by_test_id("job-step")).to_contain_text("Asking the guest", timeout=3000)
    expect(page.get_by_role("progressbar", name="Shut down VM")).to_have_attribute(
        "aria-valuenow", "60"
    )
    Job.objects.update(status=Status.FAILED, error_message="The guest did not stop.")
    announce(fleet, "job", job.id)
    expect(page.get_by_test_id("last-job-error")).to_contain_text("The guest did not stop.")


def test_a_page_of_something_that_is_gone_leads_to_the_job_that_says_why(page, fleet):
    job = JobFactory(
        hypervisor=fleet.host,
        kind="vm.create",
        subject_id=fleet.vm.id,
        subject_name=fleet.vm.name,
        status=Status.FAILED,
        error_message="The image has another checksum.",
    )
    page.goto(fleet.vm_page)
    page.wait_for_selector("html[data-live=up]")
    fleet.vm.delete()
    announce(fleet, "vm", job.subject_id)
    expect(page.get_by_test_id("job-error")).to_contain_text("another checksum")


def test_without_the_socket_the_page_polls_and_says_so(new_context, technician, fleet):
    context = new_context(user=technician)
    page = context.new_page()
    page.add_init_script(
        "window.WebSocket = class extends EventTarget {"
        " constructor() { super(); setTimeout(() => {"
        "  this.dispatchEvent(new CloseEvent('close', {code: 1006})); }, 5); } close() {} }"
    )
    page.goto(fleet.vm_page)
    expect(page.locator("#live-sign")).to_be_visible()
    VirtualMachine.objects.update(observed_power="off")
    expect(page.get_by_test_id("vm-power")).to_contain_text("Off", timeout=14_000)


def test_the_keyboard_alone_reaches_a_console(page, fleet):
    page.goto("/")
    page.keyboard.press("Control+k")
    page.keyboard.type("alder-vm")
    expect(page.get_by_test_id("hit").first).to_have_attribute("aria-selected", "true")
    expect(page.get_by_test_id("hit").first).to_contain_text("alder-vm")
    page.keyboard.press("Control+Enter")
    page.wait_for_url(f"**{fleet.vm_page}console/")


def test_search_closes_with_escape_and_gives_the_focus_back(page, fleet):
    page.goto("/")
    page.locator("[data-search]").focus()
    page.keyboard.press("Control+k")
    expect(page.locator("#search")).to_be_visible()
    page.keyboard.type("x")
    page.keyboard.press("Escape")
    expect(page.locator("#search")).to_be_hidden()
    expect(page.locator("[data-search]")).to_be_focused()


def test_deleting_asks_for_the_name(page, fleet):
    page.goto(fleet.vm_page)
    page.get_by_test_id("vm-delete").click()
    expect(page.get_by_test_id("delete-submit")).to_be_disabled()
    page.get_by_test_id("delete-confirm-name").fill("alder")
    expect(page.get_by_test_id("delete-submit")).to_be_disabled()
    page.get_by_test_id("delete-confirm-name").fill("alder-vm")
    page.get_by_test_id("delete-submit").click()
    expect(page.get_by_test_id("job-status")).to_be_visible()
    assert Job.objects.get().kind == "vm.delete"


def test_the_filters_of_a_list_are_in_the_address_and_keep_the_focus(page, fleet):
    page.goto("/vms/")
    search = page.get_by_placeholder("Search this list")
    search.press_sequentially("nothing-like-it", delay=30)
    expect(page.get_by_text("Nothing matches")).to_be_visible()
    expect(search).to_be_focused()
    page.wait_for_url(re.compile(r"q=nothing-like-it"))
    page.reload()
    expect(search).to_have_value("nothing-like-it")


def test_many_vms_are_started_after_a_preview(page, fleet):
    VirtualMachine.objects.update(observed_power="off")
    page.goto("/vms/")
    expect(page.locator("#bulk-bar")).to_be_hidden()
    page.get_by_label("Choose alder-vm").check()
    page.get_by_role("button", name="Start…").click()
    expect(page.get_by_text("is started")).to_be_visible()
    page.get_by_test_id("bulk-confirm").click()
    expect(page.get_by_test_id("message")).to_contain_text("1 VM is being started")


def test_dark_light_and_automatic(new_context, technician, fleet):
    page = new_context(user=technician, scheme="dark").new_page()
    page.goto("/")
    html = page.locator("html")
    expect(html).to_have_attribute("data-bs-theme", "dark")
    page.get_by_test_id("user-menu").click()
    page.get_by_role("button", name="Light").click()
    expect(html).to_have_attribute("data-bs-theme", "light")
    page.reload()
    expect(html).to_have_attribute("data-bs-theme", "light")
    page.get_by_test_id("user-menu").click()
    page.get_by_role("button", name="Auto").click()
    expect(html).to_have_attribute("data-bs-theme", "dark")


def test_a_refused_upload_says_why_and_keeps_what_was_given(page, fleet, tmp_path, media):
    wrong = tmp_path / "letter.qcow2"
    wrong.write_bytes(b"Dear all, " * 1000)
    page.goto("/images/upload/")
    page.get_by_test_id("name").fill("mine")
    page.get_by_test_id("file").set_input_files(wrong)
    page.get_by_test_id("submit").click()
    expect(page.locator(".field-error")).to_contain_text("disk image")
    expect(page.get_by_test_id("name")).to_have_value("mine")
    assert page.get_by_test_id("file").evaluate("field => field.files.length") == 1
    page.get_by_test_id("submit").click()
    expect(page.locator(".field-error")).to_contain_text("disk image")


def test_an_uploaded_disk_becomes_an_image(page, fleet, tmp_path, media):
    disk = tmp_path / "disk.raw"
    # A partition table of the old kind: one Linux partition, and the signature at the end.
    sector = bytearray(512)
    sector[446:462] = bytes([0x80, 0, 2, 0, 0x83, 0, 2, 0, 1, 0, 0, 0, 0xFF, 7, 0, 0])
    sector[510:512] = b"\x55\xaa"
    disk.write_bytes(bytes(sector) + bytes(1024 * 1024 - 512))
    page.goto("/images/upload/")
    page.get_by_test_id("name").fill("mine")
    page.get_by_test_id("file").set_input_files(disk)
    page.get_by_test_id("submit").click()
    page.wait_for_url("**/images/")
    expect(page.get_by_text("mine")).to_be_visible()
    image = Image.objects.get(name="mine")
    assert image.latest.sha256 == hashlib.sha256(disk.read_bytes()).hexdigest()


def test_the_join_command_is_shown_and_the_host_appears_by_itself(page, fleet):
    page.goto(fleet.site_page)
    page.get_by_test_id("add-host").click()
    page.get_by_test_id("join-submit").click()
    command = page.get_by_test_id("join-command")
    expect(command).to_contain_text("/install | sh -s -- bj_")
    page.wait_for_selector("html[data-live=up]")
    assert page.url.endswith(fleet.site_page)
    from hypervisors.models import JoinToken
    from tests.factories import HypervisorFactory

    host: Hypervisor = HypervisorFactory(
        site=fleet.site, name="newcomer", joined_with=JoinToken.objects.get()
    )
    announce(fleet, "hypervisor", host.id)
    expect(page.get_by_test_id("arrived")).to_have_text("newcomer")
    expect(page.get_by_test_id("host-row")).to_have_count(2)


def test_a_console_that_cant_be_reached_says_why(page, fleet):
    fleet.host.online = False
    fleet.host.save()
    page.goto(f"{fleet.vm_page}console/")
    expect(page.get_by_test_id("console-message")).to_contain_text("is offline")


def test_the_navigation_opens_on_a_phone(new_context, technician, fleet):
    page = new_context(user=technician, width=360, height=740).new_page()
    page.goto("/")
    expect(page.get_by_role("link", name="Hosts", exact=True)).to_be_hidden()
    page.get_by_role("button", name="Navigation").click()
    page.get_by_role("link", name="Hosts", exact=True).click()
    page.wait_for_url("**/hosts/")
