"""The main job through the API, on real parts: a guest is made, asked, changed, removed."""

import time
from pathlib import Path

import pytest

from tests.e2e.guest import Guest, new_key
from tests.e2e.leftovers import traces_of

pytestmark = [pytest.mark.guest, pytest.mark.libvirt, pytest.mark.root, pytest.mark.timeout(1200)]

PASSWORD = "correct horse 42"
SCRIPT = "#!/bin/sh\necho ran-as-$(id -un) > /var/lib/basalt-proof\n"


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    return new_key(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="module")
def vm(stack, key):
    """A VM made as the README's curl lines do, configured and done."""
    answer = stack.api.post(
        "vms/",
        {
            "name": "web-1",
            "hypervisor": stack.hypervisor["id"],
            "image": stack.image["id"],
            "vcpus": 1,
            "memory_mib": 512,
            "disks": [{"size_gib": 5}, {"size_gib": 1}],
            "nics": [{"network": stack.network["id"], "address": stack.address(77)}],
            "username": "tester",
            "password": PASSWORD,
            "ssh_keys": [key[1]],
            "user_data": SCRIPT,
        },
        expect=202,
    )
    job = stack.wait_for_job(answer["job"]["id"])
    assert job["status"] == "succeeded", job["error"]
    assert job["progress"] == 100
    yield stack.wait_for_vm(answer["vm"]["id"], cloud_init="done", seconds=400)
    stack.delete_vm_if_there(answer["vm"]["id"])


@pytest.fixture(scope="module")
def guest(vm, key) -> Guest:
    guest = Guest(vm["nics"][0]["address"], "tester", key[0])
    guest.wait(seconds=120)
    return guest


def test_the_guest_is_what_was_asked_for(stack, vm, guest):
    assert guest.address == stack.address(77)
    assert guest.run("hostname") == "web-1"
    assert guest.run("id -un") == "tester"
    assert guest.run("sudo -n id -un") == "root"
    assert guest.has_password(PASSWORD)
    assert guest.run("sudo -n cat /var/lib/basalt-proof") == "ran-as-root"
    assert guest.run("cloud-init status") == "status: done"
    assert guest.run("nproc") == "1"
    assert f"{guest.address}/24" in guest.run("ip -4 -brief address show scope global")
    disks = guest.run("lsblk -bdno SIZE,TYPE | grep disk | sort").split("\n")
    assert sorted(int(line.split()[0]) for line in disks) == [1 << 30, 5 << 30]


def test_its_address_is_static_in_the_guest_and_not_only_a_lease(guest):
    configuration = guest.run(
        "sudo -n sh -c 'cat /etc/netplan/*.yaml /etc/network/interfaces.d/* "
        "/run/systemd/network/*.network 2>/dev/null; true'"
    )
    assert guest.address in configuration


def test_the_guest_reaches_its_gateway_and_resolves_by_its_own_dns(guest):
    assert guest.run("ip route show default").startswith("default via ")
    assert "nameserver" in guest.run("cat /etc/resolv.conf; resolvectl dns 2>/dev/null || true")


def test_a_change_behind_our_back_shows_within_two_seconds(stack, vm, guest):
    stack.virsh("destroy", vm["id"])
    begun = time.monotonic()
    stack.wait_for_vm(vm["id"], power="off", seconds=10)
    assert time.monotonic() - begun < 2
    job = stack.wait_for_job(stack.api.post(f"vms/{vm['id']}/start/", expect=202)["id"])
    assert job["status"] == "succeeded", job["error"]
    guest.wait(seconds=240)


def test_shutdown_resize_and_start(stack, vm, guest):
    job = stack.wait_for_job(stack.api.post(f"vms/{vm['id']}/shutdown/", expect=202)["id"])
    assert job["status"] == "succeeded", job["error"]
    stack.wait_for_vm(vm["id"], power="off", seconds=10)
    boot_disk = vm["disks"][0]["id"]
    resize = {"vcpus": 2, "memory_mib": 768, "disks": [{"id": boot_disk, "size_gib": 7}]}
    job = stack.wait_for_job(stack.api.post(f"vms/{vm['id']}/resize/", resize, expect=202)["id"])
    assert job["status"] == "succeeded", job["error"]
    job = stack.wait_for_job(stack.api.post(f"vms/{vm['id']}/start/", expect=202)["id"])
    assert job["status"] == "succeeded", job["error"]
    guest.wait(seconds=240)
    assert guest.run("nproc") == "2"
    assert int(guest.run("awk '/MemTotal/ {print $2}' /proc/meminfo")) > 600 * 1024
    assert str(7 << 30) in guest.run("lsblk -bdno SIZE")


def test_deleting_leaves_nothing_on_the_host(stack, vm):
    assert traces_of(vm, stack.agent_data)
    job = stack.wait_for_job(stack.api.delete(f"vms/{vm['id']}/", expect=202)["id"])
    assert job["status"] == "succeeded", job["error"]
    stack.api.get(f"vms/{vm['id']}/", expect=404)
    assert traces_of(vm, stack.agent_data) == []
