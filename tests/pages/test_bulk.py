"""Bulk actions: what will happen to each row is shown first, and nothing else is done."""

import uuid

import pytest
from django.contrib.messages import get_messages
from django.db import connection
from django.test.utils import CaptureQueriesContext

from hypervisors.models import Hypervisor, Job, Status
from tests.factories import (
    HypervisorFactory,
    ImageVersionFactory,
    JobFactory,
    MembershipFactory,
    VirtualMachineFactory,
)
from vms.models import Image, VirtualMachine

PAGES = {
    "/vms/bulk/": "start",
    "/vms/bulk/delete/": "delete",
    "/hosts/bulk/": "remove",
    "/images/bulk/": "retire",
    "/activity/bulk/": "cancel",
}


def told(answer):
    return [str(message) for message in get_messages(answer.wsgi_request)]


def fates(preview):
    return {plan.name: plan.fate.why_not or plan.fate.what for plan in preview.context["plans"]}


def confirm(client, address, action, rows, **more):
    chosen = [row.id for row in rows]
    return client.post(address, {"action": action, "chosen": chosen, "confirmed": "yes", **more})


def test_starting_many_shows_first_what_will_happen(as_customer, fleet, others):
    off = VirtualMachineFactory(
        hypervisor=fleet.host, network=fleet.network, name="sleeper", observed_power="off"
    )
    chosen = {"action": "start", "chosen": [fleet.vm.id, off.id, others.vm.id]}
    preview = as_customer.post("/vms/bulk/", chosen)
    assert fates(preview) == {"alder-vm": "it runs already", "sleeper": "is started"}
    text = preview.content.decode()
    assert "left alone: it runs already" in text
    assert "1 of the VMs you chose is gone" in text
    assert "birch" not in text
    assert f'name="chosen" value="{off.id}"' in text
    assert f'name="chosen" value="{fleet.vm.id}"' not in text
    assert not Job.objects.exists()
    as_customer.post("/vms/bulk/", chosen | {"confirmed": "yes"})
    assert [job.subject_name for job in Job.objects.all()] == ["sleeper"]


@pytest.mark.parametrize(
    ("action", "kind", "words"),
    [("shutdown", "vm.shutdown", "being shut down"), ("stop", "vm.stop", "being forced off")],
)
def test_running_vms_are_shut_down_or_forced_off(as_customer, fleet, action, kind, words):
    VirtualMachineFactory(
        hypervisor=fleet.host, network=fleet.network, name="sleeper", observed_power="off"
    )
    every = list(VirtualMachine.objects.all())
    preview = as_customer.post("/vms/bulk/", {"action": action, "chosen": [vm.id for vm in every]})
    assert fates(preview)["sleeper"] == "it is off already"
    answer = confirm(as_customer, "/vms/bulk/", action, every)
    assert [(job.kind, job.subject_name) for job in Job.objects.all()] == [(kind, "alder-vm")]
    assert any(words in sentence for sentence in told(answer))
    assert any("sleeper is left alone: it is off already" in text for text in told(answer))


def test_every_reason_to_leave_a_vm_alone_is_named(as_customer, fleet):
    away = HypervisorFactory(site=fleet.site, name="away", online=False)
    VirtualMachineFactory(hypervisor=away, name="far")
    lost = VirtualMachineFactory(hypervisor=fleet.host, name="lost", state="missing")
    busy = VirtualMachineFactory(hypervisor=fleet.host, name="busy")
    JobFactory(hypervisor=fleet.host, subject_id=busy.id)
    chosen = [vm.id for vm in VirtualMachine.objects.all()]
    power = fates(as_customer.post("/vms/bulk/", {"action": "stop", "chosen": chosen}))
    assert power == {
        "alder-vm": "is forced off",
        "busy": "another job is working on it",
        "far": "its host away is offline",
        "lost": f"it is {lost.get_state_display().lower()}",
    }
    delete = fates(as_customer.post("/vms/bulk/delete/", {"action": "delete", "chosen": chosen}))
    assert delete["lost"] == "is forced off, and is deleted with its disks (10 GiB)"
    assert delete["far"] == "its host away is offline"
    assert delete["busy"] == "another job is working on it"


@pytest.mark.parametrize("count", ["", "1", "3", "two", "2 2"])
def test_deleting_many_asks_for_their_number(as_customer, fleet, count):
    off = VirtualMachineFactory(hypervisor=fleet.host, name="sleeper", observed_power="off")
    both = [fleet.vm, off]
    preview = as_customer.post(
        "/vms/bulk/delete/", {"action": "delete", "chosen": [vm.id for vm in both]}
    )
    assert fates(preview)["sleeper"] == "is deleted with its disks (10 GiB)"
    assert 'data-must-equal="2"' in preview.content.decode()
    refused = confirm(as_customer, "/vms/bulk/delete/", "delete", both, count=count)
    assert refused.status_code == 422
    assert "not their number. Nothing was done." in refused.content.decode()
    assert not Job.objects.exists()
    answer = confirm(as_customer, "/vms/bulk/delete/", "delete", both, count=" 2 ")
    assert told(answer) == ["2 VMs are being deleted. Follow them here, row by row."]
    assert {job.kind for job in Job.objects.all()} == {"vm.delete"}


def test_the_power_page_deletes_nothing(as_customer, fleet):
    confirm(as_customer, "/vms/bulk/", "delete", [fleet.vm], count="1")
    assert not Job.objects.exists()


def test_hosts_without_vms_are_removed_and_others_left_alone(as_technician, fleet):
    spare = HypervisorFactory(site=fleet.site, name="spare")
    chosen = {"action": "remove", "chosen": [fleet.host.id, spare.id]}
    preview = as_technician.post("/hosts/bulk/", chosen)
    assert fates(preview) == {
        "alder-host": "it has 1 VM: delete it first",
        "spare": "is forgotten, with its networks and its activity",
    }
    confirm(as_technician, "/hosts/bulk/", "remove", [spare], count="0")
    assert Hypervisor.objects.filter(pk=spare.pk).exists()
    answer = confirm(as_technician, "/hosts/bulk/", "remove", [spare], count="1")
    assert told(answer)[0].startswith("1 host is removed.")
    assert list(Hypervisor.objects.all()) == [fleet.host]


def test_images_are_retired_where_one_manages_them(as_technician, fleet):
    ours = ImageVersionFactory(image__tenant=fleet.msp, image__name="ours").image
    chosen = {"action": "retire", "chosen": [ours.id, fleet.image.id]}
    preview = as_technician.post("/images/bulk/", chosen)
    assert list(fates(preview)) == ["ours"]
    assert "1 of the images you chose is gone, or your role may not" in preview.content.decode()
    confirm(as_technician, "/images/bulk/", "retire", [ours, fleet.image])
    assert [image.name for image in Image.objects.exclude(retired_at=None)] == ["ours"]
    again = as_technician.post("/images/bulk/", chosen)
    assert fates(again) == {"ours": "it is retired already"}


def test_jobs_that_wait_are_taken_back(as_customer, fleet):
    JobFactory(hypervisor=fleet.host, subject_name="waits")
    JobFactory(hypervisor=fleet.host, subject_name="runs", status=Status.RUNNING)
    JobFactory(hypervisor=fleet.host, subject_name="done", status=Status.SUCCEEDED)
    every = list(Job.objects.all())
    preview = as_customer.post(
        "/activity/bulk/", {"action": "cancel", "chosen": [job.id for job in every]}
    )
    assert sorted(fates(preview).values()) == [
        "is taken back: the host will not hear of it",
        "it has ended already",
        "the host has begun",
    ]
    confirm(as_customer, "/activity/bulk/", "cancel", every)
    assert [job.subject_name for job in Job.objects.filter(status=Status.CANCELLED)] == ["waits"]


def test_whoever_may_only_look_takes_no_job_back(client, fleet):
    job = JobFactory(hypervisor=fleet.host)
    client.force_login(MembershipFactory(tenant=fleet.customer, role="customer-viewer").user)
    confirm(client, "/activity/bulk/", "cancel", [job])
    job.refresh_from_db()
    assert job.status == Status.QUEUED


@pytest.mark.parametrize("address", ["/vms/", "/hosts/", "/images/"])
def test_whoever_may_only_look_has_nothing_to_choose(client, fleet, address):
    client.force_login(MembershipFactory(tenant=fleet.customer, role="customer-viewer").user)
    text = client.get(address).content.decode()
    assert "alder" in text or "debian" in text
    assert "data-choose" not in text
    assert "bulk-bar" not in text


@pytest.mark.parametrize(("address", "action"), PAGES.items())
def test_nothing_chosen_and_too_much_chosen_say_so(as_technician, fleet, address, action):
    none = as_technician.post(address, {"action": action, "chosen": ["x", ""]})
    assert "Choose at least one" in told(none)[0]
    many = as_technician.post(
        address, {"action": action, "chosen": [uuid.uuid4() for _ in range(101)]}
    )
    assert "Choose at most 100 at a time" in " ".join(told(many))


@pytest.mark.parametrize(("address", "action"), PAGES.items())
def test_nothing_of_others_is_seen_or_touched(as_customer, fleet, others, address, action):
    own_image = ImageVersionFactory(image__tenant=others.customer, image__name="birch-image").image
    job = JobFactory(hypervisor=others.host, subject_name="birch-job")
    rows = [others.vm, others.host, own_image, job]
    preview = as_customer.post(address, {"action": action, "chosen": [row.id for row in rows]})
    assert preview.context["plans"] == []
    assert "birch" not in preview.content.decode()
    confirm(as_customer, address, action, rows, count="4")
    assert list(Job.objects.values_list("status", flat=True)) == [Status.QUEUED]
    assert Hypervisor.objects.filter(pk=others.host.pk).exists()
    assert Image.objects.get(pk=own_image.pk).retired_at is None


@pytest.mark.parametrize(("address", "action"), PAGES.items())
def test_a_preview_of_fifty_takes_as_many_queries_as_of_five(as_technician, fleet, address, action):
    for number in range(50):
        host = HypervisorFactory(site=fleet.site)
        VirtualMachineFactory(hypervisor=host, name=f"many-{number}")
        ImageVersionFactory(image__tenant=fleet.msp)
        JobFactory(hypervisor=host)
    model = {"vms": VirtualMachine, "hosts": Hypervisor, "images": Image, "activity": Job}
    ids = list(model[address.split("/")[1]].objects.values_list("id", flat=True)[:50])

    def queries(count):
        with CaptureQueriesContext(connection) as captured:
            answer = as_technician.post(address, {"action": action, "chosen": ids[:count]})
        assert answer.status_code == 200
        return len(captured)

    queries(5)
    assert queries(50) == queries(5)
