"""What the guard of a VM's NIC has dropped, where people look for it."""

from agent.protocol import DroppedFrames, NicReport, VmReport
from vms.models import Nic, VirtualMachine
from vms.services.observing import vm_observed


def _page(client, fleet) -> str:
    return " ".join(client.get(fleet.vm_page).content.decode().split())


def _observed(vm: VirtualMachine, dropped: DroppedFrames | None) -> None:
    nic = vm.nics.get()
    report = NicReport(nic_id=str(nic.id), mac=nic.mac, dropped=dropped)
    vm_observed(vm, VmReport(vm_id=str(vm.id), power="running", nics=[report]))


def test_before_the_host_has_told_the_guard_is_just_on(as_customer, fleet):
    page = _page(as_customer, fleet)
    assert "Guard on" in page
    assert "dropped</span>" not in page


def test_what_was_dropped_is_told_by_kind_the_most_first(as_customer, fleet):
    _observed(fleet.vm, DroppedFrames(arp=3, router=1200))
    page = _page(as_customer, fleet)
    assert "Guard on · 1,203 frames dropped" in page
    assert page.index("messages that only routers send") < page.index("ARP about an address")
    assert "VLAN tag, or of a kind" not in page


def test_a_quiet_guest_is_told_so(as_customer, fleet):
    _observed(fleet.vm, DroppedFrames())
    assert "Guard on · nothing dropped" in _page(as_customer, fleet)


def test_a_guard_that_is_off_says_what_that_means(as_customer, fleet):
    Nic.objects.update(guard=False)
    page = _page(as_customer, fleet)
    assert "Guard off" in page
    assert "say anything on its network" in page


def test_a_guard_that_was_switched_off_shows_no_old_numbers(as_customer, fleet):
    _observed(fleet.vm, DroppedFrames(mac=7))
    _observed(VirtualMachine.objects.get(), None)
    assert Nic.objects.get().dropped == {}


def test_the_api_tells_it_too(as_customer, fleet):
    _observed(fleet.vm, DroppedFrames(dhcp=2))
    [nic] = as_customer.get(f"/api/v1/vms/{fleet.vm.id}/").json()["nics"]
    assert nic["guard"] is True
    assert nic["dropped"]["dhcp"] == 2
