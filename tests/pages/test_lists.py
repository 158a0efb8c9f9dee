"""Lists: filters, sorting, pages; and how many queries they take."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from hypervisors.models import Status
from tests.factories import (
    CustomerFactory,
    HypervisorFactory,
    ImageVersionFactory,
    JobFactory,
    NetworkFactory,
    SiteFactory,
    VirtualMachineFactory,
)
from vms.models import VirtualMachine


def names(answer):
    return [row.record.name for row in answer.context["table"].page.object_list]


def more_of_everything(fleet, count):
    for _ in range(count):
        customer = CustomerFactory(parent=fleet.msp)
        site = SiteFactory(tenant=customer)
        host = HypervisorFactory(site=site)
        network = NetworkFactory(hypervisor=host)
        vm = VirtualMachineFactory(hypervisor=host, network=network)
        JobFactory(hypervisor=host, subject_id=vm.id, requested_by=fleet.owner)
        ImageVersionFactory(image__tenant=fleet.msp)


@pytest.mark.parametrize(
    "address",
    [
        "/",
        "/vms/",
        "/hosts/",
        "/sites/",
        "/customers/",
        "/images/",
        "/activity/",
        "/search/?q=m",
        "/vms/new/",
        "/vms/?format=csv",
        "/hosts/?format=csv",
        "/images/?format=csv",
    ],
)
def test_the_number_of_queries_does_not_grow_with_the_rows(as_technician, fleet, address):
    def queries():
        with CaptureQueriesContext(connection) as captured:
            answer = as_technician.get(address)
            if answer.streaming:
                b"".join(answer.streaming_content)
        assert answer.status_code == 200
        return len(captured)

    more_of_everything(fleet, 1)
    queries()
    few = queries()
    more_of_everything(fleet, 6)
    queries()  # the first after a customer was added writes down whom the person reaches
    assert queries() <= few


@pytest.mark.parametrize("page", ["vm_page", "host_page", "site_page"])
def test_nor_does_that_of_one_things_page(as_technician, fleet, page):
    def queries():
        with CaptureQueriesContext(connection) as captured:
            assert as_technician.get(getattr(fleet, page)).status_code == 200
        return len(captured)

    queries()
    few = queries()
    for _ in range(5):
        vm = VirtualMachineFactory(hypervisor=fleet.host, network=fleet.network)
        JobFactory(hypervisor=fleet.host, subject_id=vm.id, requested_by=fleet.owner)
        JobFactory(
            hypervisor=fleet.host,
            subject_id=fleet.vm.id,
            status=Status.SUCCEEDED,
            requested_by=fleet.owner,
        )
    # The jobs and the VM in the list bring their own rows along once.
    assert queries() <= few + 2


def test_filters_are_in_the_address(as_technician, fleet, others):
    VirtualMachine.objects.filter(pk=others.vm.pk).update(observed_power="off")
    assert names(as_technician.get("/vms/")) == ["alder-vm", "birch-vm"]
    assert names(as_technician.get("/vms/?power=off")) == ["birch-vm"]
    assert names(as_technician.get(f"/vms/?customer={fleet.customer.slug}")) == ["alder-vm"]
    assert names(as_technician.get(f"/vms/?site={others.site.id}")) == ["birch-vm"]
    assert names(as_technician.get("/vms/?q=ALDER")) == ["alder-vm"]
    address = fleet.vm.nics.get().address
    assert "alder-vm" in names(as_technician.get(f"/vms/?q={address}"))


def test_a_list_sorts_by_its_columns(as_technician, fleet, others):
    assert names(as_technician.get("/vms/?sort=-name")) == ["birch-vm", "alder-vm"]
    VirtualMachine.objects.filter(pk=fleet.vm.pk).update(memory_mib=9999)
    assert names(as_technician.get("/vms/?sort=-memory_mib")) == ["alder-vm", "birch-vm"]


@pytest.mark.parametrize("query", ["sort=nonsense", "page=999", "cursor=x", "site=x", "power=x"])
def test_a_mistyped_address_still_shows_a_list(as_technician, fleet, query):
    assert as_technician.get(f"/vms/?{query}").status_code == 200


def test_nothing_found_offers_to_clear_the_filters(as_technician, fleet):
    assert "Clear the filters" in as_technician.get("/vms/?q=zzz").content.decode()


def test_long_lists_have_pages(as_technician, fleet):
    for _ in range(60):
        VirtualMachineFactory(hypervisor=fleet.host, network=None, disks=[1])
    first = as_technician.get("/vms/")
    assert len(names(first)) == 50
    after = first.context["table"].page.keyset.next
    second = as_technician.get("/vms/", {"cursor": after})
    assert len(names(second)) == 11
    assert not set(names(first)) & set(names(second))
    before = second.context["table"].page.keyset.previous
    assert names(as_technician.get("/vms/", {"cursor": before})) == names(first)
