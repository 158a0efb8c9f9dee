"""Who sees what: one's own things, and of others not even that they exist."""

import pytest

from hypervisors.models import Status
from tenants.models import User
from tenants.scope import scope_of
from tests.factories import JobFactory, MembershipFactory

LISTS = ["/", "/vms/", "/hosts/", "/sites/", "/customers/", "/activity/", "/images/"]


@pytest.mark.parametrize("address", [*LISTS, "/vms/new/", "/me/", "/search/"])
def test_nobody_sees_a_page_without_signing_in(client, db, address):
    answer = client.get(address)
    assert answer.status_code == 302
    assert answer["Location"].startswith("/account/login/?next=")


@pytest.mark.parametrize("address", ["/vms/", "/hosts/", "/sites/", "/customers/", "/"])
def test_a_list_holds_ones_own_and_nothing_of_others(as_customer, fleet, others, address):
    text = as_customer.get(address).content.decode()
    assert "alder" in text
    assert "birch" not in text


@pytest.mark.parametrize("address", ["/vms/", "/hosts/", "/sites/", "/customers/"])
def test_so_does_its_csv(as_customer, fleet, others, address):
    answer = as_customer.get(address, {"format": "csv"})
    text = b"".join(answer.streaming_content).decode()
    assert answer["Content-Type"].startswith("text/csv")
    assert "alder" in text
    assert "birch" not in text


def test_the_msp_sees_all_its_customers(as_technician, fleet, others):
    text = as_technician.get("/vms/").content.decode()
    assert "alder-vm" in text
    assert "birch-vm" in text


def test_another_customers_things_are_as_missing_as_things_that_never_were(
    as_customer, fleet, others
):
    job = JobFactory(hypervisor=others.host)
    theirs = [
        others.vm_page,
        f"{others.vm_page}console/",
        others.host_page,
        others.site_page,
        f"/c/{others.customer.slug}/",
        f"/activity/{job.id}/",
    ]
    never = as_customer.get("/c/nobody/vms/nothing/")
    assert never.status_code == 404
    for address in theirs:
        answer = as_customer.get(address)
        assert answer.status_code == 404
        assert answer.content == never.content


@pytest.mark.parametrize(
    "action",
    [
        "power/start/",
        "power/stop/",
        "resize/",
        "rename/",
        "delete/",
        "console/ticket/",
    ],
)
def test_nothing_can_be_done_to_another_customers_vm(as_customer, fleet, others, action):
    assert as_customer.post(others.vm_page + action).status_code == 404
    assert others.host.jobs.count() == 0


def test_an_action_outside_ones_role_is_a_404_and_its_button_is_not_there(client, fleet):
    viewer = MembershipFactory(tenant=fleet.customer, role="customer-viewer").user
    client.force_login(viewer)
    page = client.get(fleet.vm_page)
    assert page.status_code == 200
    assert b'data-testid="vm-delete"' not in page.content
    assert b'data-testid="vm-console"' not in page.content
    assert client.post(f"{fleet.vm_page}delete/").status_code == 404
    assert client.post(f"{fleet.vm_page}power/stop/").status_code == 404
    assert client.get(f"{fleet.vm_page}console/").status_code == 404
    assert client.get("/customers/new/").status_code == 403


def test_search_finds_by_name_ip_and_mac_and_only_ones_own(as_customer, fleet, others):
    nic, their_nic = fleet.vm.nics.get(), others.vm.nics.get()
    for text in ("alder", nic.address, nic.mac, nic.mac.upper()):
        found = as_customer.get("/search/", {"q": text}).content.decode()
        assert "alder-vm" in found, text
        assert "birch" not in found
    for text in ("birch", their_nic.mac):
        assert "birch-vm" not in as_customer.get("/search/", {"q": text}).content.decode()


def test_a_page_cant_be_read_from_a_cache_after_signing_out(as_customer, fleet):
    assert "no-store" in as_customer.get(fleet.vm_page)["Cache-Control"]


def test_a_running_jobs_steps_are_on_its_page(as_customer, fleet):
    job = JobFactory(
        hypervisor=fleet.host,
        subject_id=fleet.vm.id,
        subject_name=fleet.vm.name,
        status=Status.RUNNING,
        progress=40,
        step="Downloading the image",
    )
    for address in (f"/activity/{job.id}/", fleet.vm_page):
        text = as_customer.get(address).content.decode()
        assert "Downloading the image" in text
        assert 'aria-valuenow="40"' in text


def test_a_customer_reads_who_asked_for_a_job_without_seeing_the_msps_people(
    as_technician, fleet, technician
):
    as_technician.post(f"{fleet.vm_page}power/stop/")
    as_technician.force_login(fleet.owner)
    page = as_technician.get("/activity/").content.decode()
    assert technician.email in page
    assert technician.email in as_technician.get("/activity/?format=csv").getvalue().decode()
    assert (
        technician.email in as_technician.get(f"/activity/?q={technician.email}").content.decode()
    )
    with scope_of(fleet.owner):
        assert not User.objects.filter(pk=technician.pk).exists()
