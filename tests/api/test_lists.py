"""Lists cost the same number of queries, however long they are."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tests.factories import (
    CustomerFactory,
    HypervisorFactory,
    ImageVersionFactory,
    JobFactory,
    MembershipFactory,
    MspFactory,
    NetworkFactory,
    SiteFactory,
    VirtualMachineFactory,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def msp():
    return MspFactory()


def grow(msp) -> None:
    """One more of everything, each with another customer, site and host."""
    site = SiteFactory(tenant=CustomerFactory(parent=msp))
    host = HypervisorFactory(site=site)
    network = NetworkFactory(hypervisor=host)
    image = ImageVersionFactory(image__tenant=site.tenant)
    VirtualMachineFactory(hypervisor=host, network=network, image_version=image, disks=[5, 5])
    JobFactory(hypervisor=host)


@pytest.mark.parametrize(
    "kind", ["tenants", "sites", "hypervisors", "networks", "images", "vms", "jobs"]
)
def test_ten_cost_what_one_costs(kind, msp, api_as):
    client = api_as(MembershipFactory(role="msp-owner", tenant=msp).user)

    def cost() -> tuple[int, int]:
        with CaptureQueriesContext(connection) as queries:
            found = client.get(f"/api/v1/{kind}/").json()["results"]
        return len(found), len(queries)

    grow(msp)
    cost()  # the token's first use is written down
    few, cost_of_few = cost()
    for _ in range(9):
        grow(msp)
    many, cost_of_many = cost()
    assert many >= few + 9
    assert cost_of_many == cost_of_few
