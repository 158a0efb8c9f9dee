"""NICs and networks on their pages: adding, changing, removing, and what is said of them."""

import uuid

import pytest

from hypervisors.models import Job, Network
from tests.factories import MembershipFactory, NetworkFactory
from vms.models import Nic

pytestmark = pytest.mark.django_db


@pytest.fixture
def nic(fleet):
    return fleet.vm.nics.get()


@pytest.fixture
def nic_page(fleet, nic):
    return f"{fleet.vm_page}nics/{nic.id}/"


def test_a_nic_is_added_and_shown_with_what_it_was_given(as_technician, fleet):
    network = NetworkFactory(
        hypervisor=fleet.host, name="dual", subnet="10.88.0.0/24", gateway="10.88.0.1",
        subnet6="fd00:88::/64", gateway6="fd00:88::1",
    )  # fmt: skip
    wish = {"nic-network": str(network.id), "nic-address6": "fd00:88::77", "nic-guard": "on"}
    assert as_technician.post(f"{fleet.vm_page}nics/", wish).status_code == 302
    added = fleet.vm.nics.get(position=1)
    assert (added.address, added.address6, added.guard) == ("10.88.0.2", "fd00:88::77", True)
    page = as_technician.get(fleet.vm_page).content.decode()
    assert "10.88.0.2" in page
    assert "fd00:88::77" in page
    assert "Add NIC" in page


def test_a_wrong_nic_is_refused_beside_its_field(as_technician, fleet, nic):
    wish = {"nic-network": str(fleet.network.id), "nic-address": nic.address}
    answer = as_technician.post(f"{fleet.vm_page}nics/", wish)
    assert answer.status_code == 422
    assert "in use" in str(answer.context["nic_add"].errors["address"])
    elsewhere = as_technician.post(
        f"{fleet.vm_page}nics/", {"nic-network": str(NetworkFactory().id)}
    )
    assert elsewhere.context["nic_add"].errors["network"]
    assert not Job.objects.exists()


def test_a_nic_is_changed_on_its_page(as_technician, fleet, nic, nic_page):
    wish = {"change-address": "10.77.0.250"}
    assert as_technician.post(f"{nic_page}change/", wish).status_code == 302
    nic.refresh_from_db()
    assert (nic.address, nic.guard) == ("10.77.0.250", False)
    answer = as_technician.get(nic_page)
    assert "Another job is working" in answer.content.decode()


def test_removing_names_what_is_lost_and_asks_for_the_vms_name(as_technician, fleet, nic, nic_page):
    page = as_technician.get(nic_page).content.decode()
    assert nic.mac in page
    assert "last NIC" in page
    wrong = as_technician.post(f"{nic_page}remove/", {"remove-name": "other"})
    assert wrong.status_code == 422
    assert not Job.objects.exists()
    right = as_technician.post(f"{nic_page}remove/", {"remove-name": fleet.vm.name})
    assert right.status_code == 302
    assert Job.objects.get().kind == "vm.nic-remove"


def test_who_may_only_look_sees_the_nic_and_changes_nothing(client, fleet, nic, nic_page):
    client.force_login(MembershipFactory(tenant=fleet.customer, role="customer-viewer").user)
    page = client.get(nic_page).content.decode()
    assert nic.mac in page
    assert "nic-change-submit" not in page
    assert client.post(f"{nic_page}change/", {"change-guard": "on"}).status_code == 404
    assert client.post(f"{nic_page}remove/", {"remove-name": fleet.vm.name}).status_code == 404
    wish = {"nic-network": str(fleet.network.id)}
    assert client.post(f"{fleet.vm_page}nics/", wish).status_code == 404


def test_a_nic_of_another_vm_is_none(as_technician, fleet):
    assert as_technician.get(f"{fleet.vm_page}nics/{uuid.uuid4()}/").status_code == 404


def test_a_lan_without_dhcp_is_said_with_what_to_do(as_technician, fleet, nic, nic_page):
    lan = NetworkFactory(hypervisor=fleet.host, bridged=True, name="lan")
    Nic.objects.update(network=lan, address=None, lan_dhcp="silent")
    for address in (fleet.vm_page, nic_page):
        page = as_technician.get(address).content.decode()
        assert "This LAN has no DHCP" in page
        assert "let the portal give addresses" in page
    Nic.objects.update(lan_dhcp="site")
    assert "This LAN has no DHCP" not in as_technician.get(fleet.vm_page).content.decode()


def test_a_network_with_all_that_guests_are_told(as_technician, fleet):
    wish = {
        "name": "vlan 20", "kind": "bridge", "bridge": "br0", "vlan": "20", "addressing": "portal",
        "subnet": "192.0.2.0/24", "gateway": "192.0.2.1", "subnet6": "2001:db8::/64",
        "gateway6": "fe80::1", "dns": "192.0.2.1, 2001:db8::1", "search": "example.com lab.test",
        "routes": "10.30.0.0/16 via 192.0.2.254\n2001:db8:1::/48 fe80::2", "mtu": "1400",
    }  # fmt: skip
    assert as_technician.post(f"{fleet.host_page}networks/", wish).status_code == 302
    network = Network.objects.get(name="vlan 20")
    assert (network.vlan, network.gateway6, network.mtu) == (20, "fe80::1", 1400)
    assert network.search == ["example.com", "lab.test"]
    assert [route["gateway"] for route in network.routes] == ["192.0.2.254", "fe80::2"]
    page = as_technician.get(f"{fleet.host_page}networks/{network.id}/").content.decode()
    for text in ("VLAN 20", "2001:db8::/64", "10.30.0.0/16 via 192.0.2.254", "lab.test"):
        assert text in page


def test_a_network_is_changed_on_its_page_and_its_guests_are_told(as_technician, fleet):
    address = f"{fleet.host_page}networks/{fleet.network.id}/"
    assert fleet.vm.name in as_technician.get(address).content.decode()
    wish = {"gateway": "10.77.0.1", "dns": "9.9.9.9", "search": "", "routes": "", "mtu": "1500"}
    assert as_technician.post(f"{address}change/", wish).status_code == 302
    fleet.network.refresh_from_db()
    assert fleet.network.dns == ["9.9.9.9"]
    assert Job.objects.get().kind == "vm.nic-change"
    wrong = as_technician.post(f"{address}change/", wish | {"routes": "10.0.0.0/8"})
    assert wrong.status_code == 422
    assert "is not a route" in str(wrong.context["change"].errors["routes"])
    busy = as_technician.post(f"{address}change/", wish | {"dns": "1.1.1.1"})
    assert busy.status_code == 422
    assert "Another job" in busy.content.decode()


def test_a_vm_is_found_by_an_ipv6_address_and_listed_with_it(as_technician, fleet):
    Nic.objects.update(address6="fd00:88::abcd")
    assert fleet.vm.name in as_technician.get("/search/?q=fd00:88::ab").content.decode()
    assert "fd00:88::abcd" in as_technician.get("/vms/").content.decode()
    sheet = b"".join(as_technician.get("/vms/?format=csv").streaming_content).decode()
    assert "fd00:88::abcd" in sheet
