"""Quotas over the API."""

import pytest

from tests.factories import (
    SSH_KEY,
    CustomerFactory,
    HypervisorFactory,
    ImageVersionFactory,
    MembershipFactory,
    MspFactory,
    NetworkFactory,
    SiteFactory,
    VirtualMachineFactory,
)
from vms.models import Quota

pytestmark = pytest.mark.django_db
NO_LIMITS = {"vms": None, "vcpus": None, "memory_mib": None, "disk_gib": None, "snapshots": None}


@pytest.fixture
def msp():
    return MspFactory(name="Northwind")


@pytest.fixture
def site(msp):
    return SiteFactory(tenant=CustomerFactory(parent=msp, name="Alder Ltd"), name="Head office")


@pytest.fixture
def vm(site):
    return VirtualMachineFactory(hypervisor=HypervisorFactory(site=site))


@pytest.fixture
def owner(msp, api_as):
    return api_as(MembershipFactory(tenant=msp, role="msp-owner").user)


def test_a_quota_is_set_read_changed_and_removed(owner, site, vm):
    made = owner.post("/api/v1/quotas/", {"tenant": "Alder Ltd", "vms": 5, "memory_mib": 8192})
    assert made.status_code == 200
    quota = made.json()
    assert quota["tenant"] == {"id": str(site.tenant.id), "name": "Alder Ltd"}
    assert quota["site"] is None
    assert quota["limits"] == NO_LIMITS | {"vms": 5, "memory_mib": 8192}
    assert quota["used"] == {
        "vms": 1, "vcpus": 1, "memory_mib": 1024, "disk_gib": 10, "snapshots": 0,
    }  # fmt: skip
    address = f"/api/v1/quotas/{quota['id']}/"
    assert owner.get(address).json() == quota
    changed = owner.patch(address, {"vms": None, "vcpus": 0})
    assert changed.json()["limits"] == NO_LIMITS | {"vcpus": 0, "memory_mib": 8192}
    assert owner.delete(address).status_code == 204
    assert owner.get(address).status_code == 404


def test_setting_it_again_replaces_all_of_it(owner, site):
    for limits in ({"vms": 5}, {"vcpus": 6}):
        answer = owner.post("/api/v1/quotas/", {"site": str(site.id), **limits})
    assert answer.json()["limits"] == NO_LIMITS | {"vcpus": 6}
    assert answer.json()["site"] == {"id": str(site.id), "name": "Head office"}
    assert Quota.objects.count() == 1


@pytest.mark.parametrize(
    "body",
    [
        {"vms": 1},
        {"tenant": "Alder Ltd", "site": "Head office", "vms": 1},
        {"tenant": "Alder Ltd"},
        {"tenant": "Alder Ltd", "vms": -1},
        {"tenant": "Alder Ltd", "vms": 2**31},
        {"tenant": "Alder Ltd", "vms": "many"},
        {"tenant": "Alder Ltd", "memory_gib": 1},
    ],
)
def test_nonsense_is_refused(owner, site, body):
    answer = owner.post("/api/v1/quotas/", body)
    assert answer.status_code == 400, answer.json()
    assert not Quota.objects.exists()


def test_a_customer_reads_its_own_and_sets_none(owner, api_as, msp, site, vm):
    for of in ("Northwind", "Alder Ltd"):
        owner.post("/api/v1/quotas/", {"tenant": of, "vms": 1})
    owner.post("/api/v1/quotas/", {"site": str(site.id), "vms": 1})
    customer = api_as(MembershipFactory(tenant=site.tenant, role="customer-administrator").user)
    found = customer.get("/api/v1/quotas/").json()["results"]
    assert {row["tenant"]["name"] for row in found} == {"Alder Ltd"}
    assert len(found) == 2
    refused = customer.patch(f"/api/v1/quotas/{found[0]['id']}/", {"vms": 9})
    assert refused.status_code == 403
    of_site = owner.get(f"/api/v1/quotas/?site={site.id}").json()["results"]
    assert [row["used"]["vms"] for row in of_site] == [1]


def test_who_manages_a_group_sets_quotas_in_it_but_not_its_own(api_as, msp):
    group = CustomerFactory(parent=msp, kind="group", name="Bakers")
    inside = CustomerFactory(parent=group, name="Inside")
    member = api_as(MembershipFactory(tenant=group, role="msp-owner").user)
    assert member.post("/api/v1/quotas/", {"tenant": "Inside", "vms": 1}).status_code == 200
    refused = member.post("/api/v1/quotas/", {"tenant": "Bakers", "vms": 1})
    assert refused.status_code == 403
    assert refused.json()["error"]["code"] == "quota_from_above"
    assert Quota.objects.get().tenant == inside


def test_a_vm_beyond_a_quota_is_a_409_with_the_field_at_fault(owner, site):
    host = HypervisorFactory(site=site)
    network = NetworkFactory(hypervisor=host)
    owner.post("/api/v1/quotas/", {"tenant": "Alder Ltd", "vcpus": 1})
    body = {
        "name": "web-1", "hypervisor": str(host.id), "image": str(ImageVersionFactory().image.id),
        "nics": [{"network": str(network.id)}], "ssh_keys": [SSH_KEY], "vcpus": 2,
    }  # fmt: skip
    refused = owner.post("/api/v1/vms/", body)
    assert refused.status_code == 409
    error = refused.json()["error"]
    assert error["code"] == "quota_exceeded"
    assert list(error["fields"]) == ["vcpus"]
    assert owner.post("/api/v1/vms/", body | {"vcpus": 1}).status_code == 202


def test_the_fullest_first_page_by_page(owner, msp, site, vm):
    empty = [CustomerFactory(parent=msp) for _ in range(3)]
    for of, limits in (
        (site.tenant, {"vms": 2, "vcpus": 1000}),
        (msp, {"vms": 1}),
        *((tenant, {"vms": 7}) for tenant in empty),
    ):
        Quota.objects.create(tenant=of, **limits)
    newest = owner.get("/api/v1/quotas/").json()["results"]
    assert newest[0]["tenant"]["name"] == empty[-1].name
    seen, pages = [], []
    address = "/api/v1/quotas/?ordering=-fullness&page_size=2"
    while address:
        pages.append(owner.get(address).json())
        seen += [row["tenant"]["name"] for row in pages[-1]["results"]]
        address = pages[-1]["next"]
    assert seen == ["Northwind", "Alder Ltd", *(tenant.name for tenant in reversed(empty))]
    assert owner.get(pages[1]["previous"]).json()["results"] == pages[0]["results"]
    # A place in this order is none in the other.
    address = pages[0]["next"].replace("ordering=-fullness", "")
    assert owner.get(address).status_code == 400


def test_an_order_that_there_is_not_is_refused(owner):
    assert owner.get("/api/v1/quotas/?ordering=secret").status_code == 400


def test_a_list_of_many_takes_as_many_queries_as_one_of_few(
    owner, msp, vm, django_assert_max_num_queries
):
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    owner.post("/api/v1/quotas/", {"tenant": "Northwind", "vms": 1})
    owner.get("/api/v1/quotas/")
    with CaptureQueriesContext(connection) as few:
        owner.get("/api/v1/quotas/")
    before = len(few)
    for _ in range(5):
        Quota.objects.create(tenant=CustomerFactory(parent=msp), vms=1)
    owner.get("/api/v1/quotas/")
    with django_assert_max_num_queries(before):
        assert len(owner.get("/api/v1/quotas/").json()["results"]) == 6
