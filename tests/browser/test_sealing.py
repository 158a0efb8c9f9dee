"""Secrets leave the browser sealed: what the portal is sent, and what it keeps."""

from typing import Any

import msgspec
from playwright.sync_api import expect

from agent.protocol import open_sealed
from vms.models import VirtualMachine

PASSWORD = "staple-battery-7"
SCRIPT = "#!/bin/sh\necho hush-hush at {{ site.name }}\n"


def fill(page, *, name="web-1", script=SCRIPT):
    page.goto("/vms/new/")
    page.get_by_test_id("vm-name").fill(name)
    page.get_by_test_id("vm-username").fill("maria")
    page.get_by_test_id("vm-password").fill(PASSWORD)
    page.get_by_test_id("vm-script").click()
    page.get_by_test_id("vm-user-data").fill(script)


def sent_by(page) -> list[str]:
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.post_data or ""))
    return sent


def opened(fleet) -> dict[str, Any]:
    vm = VirtualMachine.objects.get(name="web-1")
    private = fleet.host.seal_private
    plain = open_sealed(private, bytes(vm.sealed_secrets), purpose=f"vm:{vm.id}")
    return msgspec.msgpack.decode(plain)


def test_the_portal_is_never_sent_a_secret_and_the_host_can_read_it(page, fleet):
    fill(page)
    sent = sent_by(page)
    page.get_by_test_id("vm-preview").click()
    expect(page.get_by_test_id("vm-preview-shown")).to_contain_text("hush-hush at alder office")
    page.get_by_test_id("vm-submit").click()
    expect(page.get_by_test_id("vm-power")).to_be_visible()
    assert any("web-1" in body for body in sent)
    assert not [body for body in sent if PASSWORD in body or "hush-hush" in body]
    assert opened(fleet) == {"password": PASSWORD, "user_data": SCRIPT}


def test_what_is_readable_is_sent_as_it_is_beside_a_sealed_password(page, fleet):
    fill(page)
    page.get_by_test_id("vm-readable").check()
    page.get_by_test_id("vm-submit").click()
    expect(page.get_by_test_id("vm-power")).to_be_visible()
    assert VirtualMachine.objects.get(name="web-1").user_data == SCRIPT
    assert opened(fleet) == {"password": PASSWORD, "user_data": None}


def test_a_refusal_loses_nothing_and_the_next_try_goes_through(page, fleet):
    fill(page, name="not a name!")
    page.get_by_test_id("vm-submit").click()
    expect(page.get_by_test_id("error-name")).to_contain_text("letters, digits and hyphens")
    expect(page.get_by_test_id("vm-password")).to_have_value(PASSWORD)
    expect(page.get_by_test_id("vm-user-data")).to_have_value(SCRIPT)
    # What moves in the form still moves.
    page.get_by_test_id("vm-size-custom").check(force=True)
    expect(page.get_by_test_id("vm-vcpus")).to_be_visible()
    page.get_by_test_id("vm-name").fill("web-1")
    page.get_by_test_id("vm-submit").click()
    expect(page.get_by_test_id("vm-power")).to_be_visible()
    assert opened(fleet)["password"] == PASSWORD


def test_what_the_guest_would_not_understand_is_said_before_it_is_sealed(page, fleet):
    fill(page, script="#cloud-config\npackages: [nginx\n")
    page.get_by_test_id("vm-submit").click()
    expect(page.get_by_test_id("error-user_data")).to_contain_text("not valid YAML")
    page.get_by_test_id("vm-user-data").fill("#!/bin/sh\necho {{ nonsense }}\n")
    page.get_by_test_id("vm-submit").click()
    expect(page.get_by_test_id("error-user_data")).to_contain_text("{{ nonsense }}")
    page.get_by_test_id("vm-password").fill("short")
    page.get_by_test_id("vm-submit").click()
    expect(page.get_by_test_id("error-password")).to_contain_text("at least 8 characters")
    assert not VirtualMachine.objects.filter(name="web-1").exists()
