"""NICs and networks over the API."""

import pytest

from hypervisors.models import Job
from tests.factories import (
    HypervisorFactory,
    MembershipFactory,
    NetworkFactory,
    VirtualMachineFactory,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def host():
    return HypervisorFactory()


@pytest.fixture
def vm(host):
    network = NetworkFactory(hypervisor=host, subnet6="fd00:77::/64", gateway6="fd00:77::1")
    return VirtualMachineFactory(hypervisor=host, network=network)


@pytest.fixture
def technician(host, api_as):
    return api_as(MembershipFactory(role="msp-technician", tenant=host.tenant.parent).user)


def test_a_nic_is_added_changed_and_removed(technician, vm):
    network = vm.nics.get().network
    nics = f"/api/v1/vms/{vm.id}/nics/"
    made = technician.post(nics, {"network": network.name, "address6": "fd00:77::9"}, format="json")
    assert made.status_code == 202, made.content
    nic = made.json()["vm"]["nics"][1]
    assert (nic["address"], nic["address6"]) == ("10.77.0.2", "fd00:77::9")
    assert (nic["guard"], nic["lan_dhcp"]) == (True, "unknown")
    assert made.json()["job"]["kind"] == "vm.nic-add"
    one = f"{nics}{nic['id']}/"
    busy = technician.delete(one)
    assert (busy.status_code, busy.json()["error"]["code"]) == (409, "vm_busy")
    vm.nics.exclude(position=0).delete()
    Job.objects.all().delete()
    first = f"{nics}{vm.nics.get().id}/"
    changed = technician.patch(first, {"address": "10.77.0.99"}, format="json")
    assert changed.status_code == 202, changed.content
    assert vm.nics.get().address == "10.77.0.99"
    Job.objects.all().delete()
    assert technician.delete(first).json()["kind"] == "vm.nic-remove"


@pytest.mark.parametrize("nic_id", ["x", "00000000-0000-4000-8000-000000000000"])
def test_a_nic_that_there_is_not_is_404(technician, vm, nic_id):
    one = f"/api/v1/vms/{vm.id}/nics/{nic_id}/"
    assert technician.delete(one).status_code == 404
    assert technician.patch(one, {"guard": False}, format="json").status_code == 404


def test_a_nic_of_another_vm_is_404(technician, vm, host):
    other = VirtualMachineFactory(hypervisor=host)
    assert technician.delete(f"/api/v1/vms/{vm.id}/nics/{other.nics.get().id}/").status_code == 404


def test_another_tenants_network_is_like_none_at_all(technician, vm):
    nics = f"/api/v1/vms/{vm.id}/nics/"
    foreign = technician.post(nics, {"network": str(NetworkFactory().id)}, format="json")
    missing = technician.post(
        nics, {"network": "00000000-0000-4000-8000-000000000000"}, format="json"
    )
    assert foreign.status_code == 400
    assert foreign.json() == missing.json()


@pytest.mark.parametrize(
    "wish",
    [
        {"address": "fd00:77::9"},
        {"address6": "10.77.0.9"},
        {"address": "10.78.0.9"},
        {"guard": "maybe"},
        {"mac": "52:54:00:00:00:01"},
    ],
)
def test_a_wish_that_cannot_be_is_refused(technician, vm, wish):
    body = {"network": vm.nics.get().network.name, **wish}
    answer = technician.post(f"/api/v1/vms/{vm.id}/nics/", body, format="json")
    assert answer.status_code == 400
    assert vm.nics.count() == 1


def test_a_network_is_changed_and_shows_all_of_it(technician, host):
    body = {
        "hypervisor": str(host.id), "name": "lan", "kind": "bridge", "bridge": "br0", "vlan": 20,
        "addressing": "portal", "subnet": "192.0.2.0/24", "subnet6": "2001:db8::/64",
        "gateway6": "fe80::1", "search": ["example.com"],
        "routes": [{"destination": "10.30.0.0/16", "gateway": "192.0.2.9"}],
    }  # fmt: skip
    made = technician.post("/api/v1/networks/", body, format="json")
    assert made.status_code == 201, made.content
    network = made.json()
    assert network["routes"] == body["routes"]
    assert (network["vlan"], network["gateway6"]) == (20, "fe80::1")
    one = f"/api/v1/networks/{network['id']}/"
    changed = technician.patch(one, {"dns": ["9.9.9.9"], "routes": []}, format="json")
    assert (changed.json()["dns"], changed.json()["routes"]) == (["9.9.9.9"], [])
    wrong = technician.patch(one, {"mtu": 100}, format="json")
    assert wrong.status_code == 400
    nothing = technician.patch(one, {"dns": ["9.9.9.9"]}, format="json")
    assert "Nothing would change" in nothing.json()["error"]["message"]
