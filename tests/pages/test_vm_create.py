"""The form for a new VM."""

import pytest

from hypervisors.models import Job, Status
from tests.factories import (
    SSH_KEY,
    HypervisorFactory,
    JobFactory,
    MembershipFactory,
    NetworkFactory,
    VirtualMachineFactory,
)
from vms.models import VirtualMachine

SECRET = "a very secret phrase 9"


@pytest.fixture
def answers(fleet):
    """The form as somebody fills it in who only gives a password."""
    return {
        "place": f"host:{fleet.host.id}",
        "name": "web-1",
        "image": str(fleet.image.id),
        "size": "small",
        "network": str(fleet.network.id),
        "address": "",
        "username": "maria",
        "ssh_keys": "",
        "password": SECRET,
        "user_data": "",
        "firmware": "bios",
        "autostart": "on",
    }


def test_all_is_chosen_beforehand_but_the_credentials(as_customer, fleet):
    form = as_customer.get("/vms/new/").context["form"]
    assert form["place"].value() == f"host:{fleet.host.id}"
    assert form["name"].value()
    assert form["image"].value() == str(fleet.image.id)
    assert form["size"].value() == "small"
    assert form["network"].value() == str(fleet.network.id)
    assert form["username"].value() == "debian"
    assert not form["password"].value()


def test_a_vm_is_asked_for(as_customer, fleet, answers):
    answer = as_customer.post("/vms/new/", answers)
    assert answer.status_code == 302
    assert answer["Location"] == f"/c/{fleet.customer.slug}/vms/web-1/"
    vm = VirtualMachine.objects.get(name="web-1")
    assert (vm.vcpus, vm.memory_mib, vm.username, vm.has_password) == (1, 1024, "maria", True)
    assert [disk.size_gib for disk in vm.disks.all()] == [10]
    assert Job.objects.get(subject_id=vm.id).status == Status.QUEUED
    page = as_customer.get(answer["Location"]).content.decode()
    assert "Waiting for the host" in page
    assert SECRET not in page


def test_custom_sizes_data_disks_key_and_script_arrive(as_customer, fleet, answers):
    answers |= {
        "size": "custom",
        "vcpus": "3",
        "memory_gib": "1.5",
        "disk_gib": "12",
        "data_disk": ["20", "30"],
        "ssh_keys": SSH_KEY,
        "password": "",
        "user_data": "#!/bin/sh\r\necho hello\r\n",
        "address": "10.77.0.50",
    }
    assert as_customer.post("/vms/new/", answers).status_code == 302
    vm = VirtualMachine.objects.get(name="web-1")
    assert (vm.vcpus, vm.memory_mib, vm.ssh_keys) == (3, 1536, [SSH_KEY])
    assert [disk.size_gib for disk in vm.disks.all()] == [12, 20, 30]
    assert vm.nics.get().address == "10.77.0.50"
    assert vm.has_user_data


@pytest.mark.parametrize(
    ("field", "value", "shown", "words"),
    [
        ("name", "no good!", "name", "letters, digits and hyphens"),
        ("password", "", "password", "Give a password or an SSH key"),
        ("ssh_keys", "ssh-rsa nonsense", "ssh_keys", ""),
        ("user_data", "#cloud-config\na: [", "user_data", "not valid YAML"),
        ("address", "192.0.2.1", "network", "10.77.0.0/24"),
        ("username", "root:", "username", ""),
    ],
)
def test_a_refusal_stands_beside_its_field_and_nothing_typed_is_lost(
    as_customer, fleet, answers, field, value, shown, words
):
    answers |= {"name": "web-1", field: value}
    answer = as_customer.post("/vms/new/", answers)
    assert answer.status_code == 422
    form = answer.context["form"]
    assert words in " ".join(form.errors[shown])
    for name in ("name", "username", "password", "user_data", "ssh_keys"):
        assert form[name].value() == answers[name]
    text = answer.content.decode()
    assert f'data-testid="error-{shown}"' in text
    assert not VirtualMachine.objects.filter(name="web-1").exists()
    assert not Job.objects.exists()


def test_too_much_memory_names_what_the_host_has_left(as_customer, fleet, answers):
    answers |= {"size": "custom", "vcpus": "1", "memory_gib": "64", "disk_gib": "10"}
    answer = as_customer.post("/vms/new/", answers)
    assert "MiB of memory left" in " ".join(answer.context["form"].errors["memory_gib"])


def test_a_name_twice_is_said_beside_the_name(as_customer, fleet, answers):
    answers["name"] = fleet.vm.name
    answer = as_customer.post("/vms/new/", answers)
    assert "already" in " ".join(answer.context["form"].errors["name"])


def test_an_offline_host_is_said_in_a_sentence(as_customer, fleet, answers):
    fleet.host.online = False
    fleet.host.save()
    answer = as_customer.post("/vms/new/", answers)
    assert answer.status_code == 422
    assert "is offline since" in answer.content.decode()


def test_another_customers_host_image_or_network_cant_be_had(as_customer, fleet, others, answers):
    others.image.tenant = others.customer
    others.image.save()
    stolen = {
        "image": str(others.image.id),
        "network": str(others.network.id),
        "place": f"host:{others.host.id}",
    }
    for name, value in stolen.items():
        answer = as_customer.post("/vms/new/", {**answers, name: value})
        assert answer.status_code == 422
        assert answer.context["form"].errors[name]
    assert not Job.objects.exists()


def test_the_key_and_user_of_the_last_vm_are_remembered(as_customer, fleet):
    VirtualMachineFactory(
        hypervisor=fleet.host, network=fleet.network, created_by=fleet.owner, username="otto"
    )
    form = as_customer.get("/vms/new/").context["form"]
    assert form["ssh_keys"].value() == SSH_KEY
    assert form["username"].value() == "otto"


def test_a_site_chooses_its_host_with_the_most_memory_free(as_customer, fleet, answers):
    roomy = HypervisorFactory(site=fleet.site, name="roomy")
    NetworkFactory(hypervisor=roomy, name="nat")
    answers |= {"place": f"site:{fleet.site.id}", "network": ""}
    assert as_customer.post("/vms/new/", answers).status_code == 302
    assert VirtualMachine.objects.get(name="web-1").hypervisor == roomy


def test_trying_again_fills_in_all_but_the_secrets(as_customer, fleet):
    job = JobFactory(
        hypervisor=fleet.host,
        kind="vm.create",
        subject_name="web-9",
        status=Status.FAILED,
        error_code="image_unreachable",
        error_message="The host could not fetch the image.",
        arguments={
            "name": "web-9",
            "image": f"{fleet.image.name} v1",
            "vcpus": 2,
            "memory_mib": 1536,
            "disks_gib": [11, 22],
            "nics": [{"network": "nat", "address": "10.77.0.9"}],
            "username": "otto",
            "firmware": "uefi",
            "autostart": False,
        },
    )
    page = as_customer.get(f"/activity/{job.id}/")
    assert "Check the image&#x27;s URL" in page.content.decode()
    form = as_customer.get(page.context["again"]).context["form"]
    assert form["name"].value() == "web-9"
    assert form["memory_gib"].value() == "1.5"
    assert form["disk_gib"].value() == 11
    assert form.data_rows == [("22", "")]
    assert form["firmware"].value() == "uefi"
    assert not form["password"].value()


def test_without_a_host_the_page_says_what_to_do(client, msp):
    user = MembershipFactory(tenant=msp, role="msp-owner").user
    client.force_login(user)
    text = client.get("/vms/new/").content.decode()
    assert "There is no host to run it on yet" in text


def test_a_changed_host_brings_its_own_networks(as_customer, fleet):
    second = HypervisorFactory(site=fleet.site, name="second")
    network = NetworkFactory(hypervisor=second, name="dmz")
    answer = as_customer.get("/vms/new/", {"place": f"host:{second.id}", "size": "medium"})
    assert answer.context["form"]["network"].value() == str(network.id)
    assert answer.context["form"]["size"].value() == "medium"
