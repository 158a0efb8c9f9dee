"""The main job through the API, on real parts: a guest is made, asked, changed, removed."""

import json
import shlex
import time
from pathlib import Path
from typing import Any

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


# Over the link-local address: no other address has to be set up first.
_ASK = """
import sys
from http.client import HTTPConnection
one = HTTPConnection("fe80::a9fe:a9fe%" + sys.argv[1], 80, timeout=20)
one.request("GET", "/openstack/latest/" + sys.argv[2])
print(one.getresponse().read().decode())
"""


def _asked_on(guest: Guest, link: str, document: str) -> dict[str, Any]:
    answer = guest.run(f"python3 -c {shlex.quote(_ASK)} {link} {document}", timeout=90)
    told: dict[str, Any] = json.loads(answer)
    return told


def test_a_nic_comes_and_goes_while_the_guest_runs(stack, vm, guest):
    wish = {
        "hypervisor": stack.hypervisor["id"],
        "name": "second",
        "kind": "nat",
        "subnet": "10.233.7.0/24",
        "subnet6": "fd33:7::/64",
    }
    network = stack.api.post("networks/", wish, expect=201)
    added = stack.api.post(f"vms/{vm['id']}/nics/", {"network": network["id"]}, expect=202)
    job = stack.wait_for_job(added["job"]["id"])
    assert job["status"] == "succeeded", job["error"]
    nic = added["vm"]["nics"][1]
    assert (nic["address"], nic["address6"]) == ("10.233.7.2", "fd33:7::2")

    link = guest.run(f"ip -o link | grep {nic['mac']}").split(":")[1].strip()
    guest.run(f"sudo -n ip link set {link} up && sleep 4")
    assert _asked_on(guest, link, "meta_data.json")["hostname"] == "web-1"
    links = _asked_on(guest, link, "network_data.json")["links"]
    macs = {one["ethernet_mac_address"] for one in links}
    assert macs == {vm["nics"][0]["mac"], nic["mac"]}
    guest.run(f"sudo -n ip addr add 10.233.7.2/24 dev {link}")
    guest.run(f"sudo -n ip addr add fd33:7::2/64 dev {link} nodad")
    for gateway in ("10.233.7.1", "fd33:7::1"):
        assert " 0% packet loss" in guest.run(f"ping -c 2 -W 5 {gateway}")

    job = stack.wait_for_job(stack.api.delete(f"vms/{vm['id']}/nics/{nic['id']}/")["id"])
    assert job["status"] == "succeeded", job["error"]
    assert nic["mac"] not in guest.run("ip -o link")
    assert len(stack.api.get(f"vms/{vm['id']}/")["nics"]) == 1
    stack.api.delete(f"networks/{network['id']}/", expect=204)


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
