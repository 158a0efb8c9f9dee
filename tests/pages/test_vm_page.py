"""What can be done on a VM's page."""

import pytest

from hypervisors.models import Job, Status
from tests.factories import JobFactory
from vms.models import VirtualMachine


@pytest.mark.parametrize(
    ("action", "kind", "power"),
    [
        ("start", "vm.start", "off"),
        ("shutdown", "vm.shutdown", "running"),
        ("stop", "vm.stop", "running"),
        ("reboot", "vm.reboot", "running"),
        ("reset", "vm.reboot", "running"),
    ],
)
def test_a_power_button_asks_the_host(as_customer, fleet, action, kind, power):
    VirtualMachine.objects.update(observed_power=power)
    answer = as_customer.post(f"{fleet.vm_page}power/{action}/")
    assert answer["Location"] == fleet.vm_page
    job = Job.objects.get()
    assert (job.kind, job.subject_id, job.requested_by) == (kind, fleet.vm.id, fleet.owner)
    assert job.arguments.get("force", False) is (action == "reset")


def test_actions_are_not_for_get(as_customer, fleet):
    for action in ("power/start/", "delete/", "resize/"):
        assert as_customer.get(fleet.vm_page + action).status_code == 405


def test_a_busy_vm_says_so(as_customer, fleet):
    JobFactory(hypervisor=fleet.host, subject_id=fleet.vm.id, status=Status.RUNNING)
    answer = as_customer.post(f"{fleet.vm_page}power/start/", follow=True)
    assert "Another job is working on" in answer.content.decode()


def test_deleting_needs_the_name_typed(as_customer, fleet):
    answer = as_customer.post(
        f"{fleet.vm_page}delete/", {"delete-name": "another", "delete-disks": "delete"}
    )
    assert answer.status_code == 422
    assert f"Type “{fleet.vm.name}” to delete it" in answer.content.decode()
    assert not Job.objects.exists()


@pytest.mark.parametrize("disks", ["delete", "keep"])
def test_deleting_leads_to_its_job(as_customer, fleet, disks):
    answer = as_customer.post(
        f"{fleet.vm_page}delete/", {"delete-name": fleet.vm.name, "delete-disks": disks}
    )
    job = Job.objects.get()
    assert answer["Location"] == f"/activity/{job.id}/"
    assert job.arguments == {"keep_disks": disks == "keep"}


def test_resizing_a_running_vm_says_to_shut_it_down_and_keeps_the_numbers(as_customer, fleet):
    disk = fleet.vm.disks.get()
    numbers = {
        "resize-vcpus": "4",
        "resize-memory_gib": "2",
        f"resize-disk_{disk.id}": "20",
        "resize-autostart": "on",
    }
    answer = as_customer.post(f"{fleet.vm_page}resize/", numbers)
    assert answer.status_code == 422
    assert "must be off" in answer.content.decode()
    assert answer.context["resize"]["vcpus"].value() == "4"
    VirtualMachine.objects.update(observed_power="off")
    assert as_customer.post(f"{fleet.vm_page}resize/", numbers).status_code == 302
    assert Job.objects.get().arguments["memory_mib"] == 2048


def test_a_disk_cant_shrink(as_customer, fleet):
    VirtualMachine.objects.update(observed_power="off")
    disk = fleet.vm.disks.get()
    numbers = {"resize-vcpus": "1", "resize-memory_gib": "1", f"resize-disk_{disk.id}": "3"}
    answer = as_customer.post(f"{fleet.vm_page}resize/", numbers)
    assert "A disk can only grow" in answer.content.decode()


def test_renaming_leads_to_the_new_address(as_customer, fleet):
    answer = as_customer.post(f"{fleet.vm_page}rename/", {"rename-name": "renamed"})
    assert answer["Location"] == f"/c/{fleet.customer.slug}/vms/renamed/"
    assert as_customer.get(answer["Location"]).status_code == 200


def test_an_offline_hosts_vm_is_not_said_to_run(as_customer, fleet):
    fleet.host.online = False
    fleet.host.save()
    text = as_customer.get(fleet.vm_page).content.decode()
    assert "Host offline" in text
    assert "what it last said" in text


def test_a_part_that_asks_again_gets_the_part_without_the_frame(as_customer, fleet):
    whole = as_customer.get(fleet.vm_page).content.decode()
    part = as_customer.get(fleet.vm_page, headers={"HX-Request": "true"}).content.decode()
    assert "<html" in whole
    assert "<html" not in part
    assert 'id="live"' in part


def test_what_a_host_says_is_escaped(as_customer, fleet):
    fleet.host.facts["problems"] = ["<script>alert(1)</script>"]
    fleet.host.facts["os"] = "<img src=x>"
    fleet.host.save()
    for address in (fleet.host_page, "/hosts/", "/"):
        text = as_customer.get(address).content.decode()
        assert "<script>alert" not in text
        assert "<img src=x>" not in text
