"""The VM page on what its guest is told, and on how its first boot went."""

import pytest
from django.utils import timezone

from hypervisors.models import Job, Status
from portal.views.boot_words import REASONS, boot_words
from tests.factories import SSH_KEY, JobFactory, MembershipFactory

PASSWORD = "another one 43"


def stages(*statuses: str) -> list[dict]:
    names = ("local", "network", "config", "final")
    return [
        {"name": name, "status": status, "started_at": None, "seconds": 2.5, "errors": []}
        for name, status in zip(names, statuses, strict=True)
    ]


def booted(vm, verdict: str, **more) -> None:
    vm.boot = {
        "instance_id": str(vm.id),
        "verdict": verdict,
        "reason": None,
        "source": "reports,phone_home",
        "datasource": "DataSourceOpenStackLocal",
        "stages": stages("ok", "ok", "ok", "ok"),
        "log": [],
    } | more
    vm.boot_at = timezone.now()
    vm.save()


def page(client, fleet) -> str:
    return client.get(fleet.vm_page).content.decode()


def test_nothing_is_said_of_a_boot_that_nobody_heard_of(as_customer, fleet):
    assert 'data-testid="boot"' not in page(as_customer, fleet)


def test_a_good_boot_shows_its_stages_and_times(as_customer, fleet):
    booted(fleet.vm, "done")
    shown = page(as_customer, fleet)
    for words in (
        "Finds its settings",
        "Packages and scripts",
        "2.5 s",
        "DataSourceOpenStackLocal",
    ):
        assert words in shown
    assert 'data-testid="boot-advice"' not in shown


@pytest.mark.parametrize("reason", sorted(REASONS))
def test_each_reason_has_words_and_a_next_step(as_customer, fleet, reason):
    booted(fleet.vm, "failed", reason=reason, stages=stages("ok", "ok", "ok", "failed"))
    advice = boot_words(fleet.vm).advice
    assert advice.what.endswith(".")
    assert advice.next.endswith(".")
    assert 'data-testid="boot-advice"' in page(as_customer, fleet)


def test_a_reason_of_a_later_agent_has_words_too(as_customer, fleet):
    booted(fleet.vm, "failed", reason="something_new")
    assert "Something went wrong." in page(as_customer, fleet)


def test_what_a_guest_printed_is_text(as_customer, fleet):
    line = "<script>alert(1)</script>"
    failed = stages("ok", "ok", "ok", "failed")
    failed[3]["errors"] = [line]
    booted(fleet.vm, "failed", reason="script_failed", log=[line], stages=failed)
    shown = page(as_customer, fleet)
    assert line not in shown
    assert shown.count("&lt;script&gt;alert(1)") == 2


def test_a_boot_that_waits_for_the_next_start_is_said_to(as_customer, fleet):
    booted(fleet.vm, "done", instance_id="of before")
    assert 'data-testid="boot-waits"' in page(as_customer, fleet)


def test_each_nic_says_what_it_was_asked_and_when(as_customer, fleet):
    assert "Not asked yet" in page(as_customer, fleet)
    nic = fleet.vm.nics.get()
    nic.metadata_state, nic.asked_at, nic.sealed_at = "sealed", timezone.now(), timezone.now()
    nic.save()
    shown = page(as_customer, fleet)
    assert "Sealed" in shown
    assert "asked <time" in shown


def test_telling_asks_the_host(as_customer, fleet):
    answer = as_customer.post(
        f"{fleet.vm_page}tell/",
        {"tell-ssh_keys": SSH_KEY, "tell-tags": "role = web\n\nempty =\n", "tell-user_data": ""},
    )
    assert answer["Location"] == fleet.vm_page
    job = Job.objects.get()
    assert job.arguments == {"tags": {"role": "web", "empty": ""}}


def test_tags_without_a_sign_are_said_to_be_none(as_customer, fleet):
    answer = as_customer.post(f"{fleet.vm_page}tell/", {"tell-tags": "nonsense"})
    assert answer.status_code == 422
    assert "is no “name = value”" in answer.content.decode()


@pytest.mark.parametrize(
    ("address", "prefix", "kind"),
    [("password", "password", "vm.reset_password"), ("first-boot", "first-boot", "vm.first_boot")],
)
def test_a_first_boot_again_needs_the_name_typed(as_customer, fleet, address, prefix, kind):
    wishes = {f"{prefix}-password": PASSWORD, f"{prefix}-name": "another"}
    answer = as_customer.post(f"{fleet.vm_page}{address}/", wishes)
    assert answer.status_code == 422
    assert PASSWORD not in answer.content.decode()
    assert not Job.objects.exists()
    wishes[f"{prefix}-name"] = fleet.vm.name
    as_customer.post(f"{fleet.vm_page}{address}/", wishes)
    assert Job.objects.get().kind == kind


def test_what_is_refused_is_said_in_the_dialog(as_customer, fleet):
    JobFactory(hypervisor=fleet.host, subject_id=fleet.vm.id, status=Status.RUNNING)
    answer = as_customer.post(
        f"{fleet.vm_page}password/",
        {"password-password": PASSWORD, "password-name": fleet.vm.name},
    )
    assert answer.status_code == 422
    assert "Another job is working on" in answer.content.decode()


@pytest.mark.parametrize("role", ["customer-viewer", "customer-operator"])
def test_who_may_only_look_sees_the_boot_and_no_dialogs(client, fleet, role):
    booted(fleet.vm, "failed", reason="script_failed", log=["a line"])
    client.force_login(MembershipFactory(tenant=fleet.customer, role=role).user)
    shown = page(client, fleet)
    assert "a line" in shown
    assert "tell-dialog" not in shown
    assert client.post(f"{fleet.vm_page}tell/", {}).status_code in (403, 404)
