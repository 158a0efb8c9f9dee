"""A small fleet, and people who look at it."""

from dataclasses import dataclass

import pytest
from django.test import Client

from hypervisors.models import Hypervisor, Network
from tenants.models import Site, Tenant, User
from tests.factories import (
    CustomerFactory,
    HypervisorFactory,
    ImageVersionFactory,
    MembershipFactory,
    MspFactory,
    NetworkFactory,
    SiteFactory,
    VirtualMachineFactory,
)
from vms.models import Image, VirtualMachine


@dataclass
class Fleet:
    msp: Tenant
    customer: Tenant
    site: Site
    host: Hypervisor
    network: Network
    image: Image
    vm: VirtualMachine
    owner: User

    @property
    def vm_page(self) -> str:
        return f"/c/{self.customer.slug}/vms/{self.vm.name}/"

    @property
    def host_page(self) -> str:
        return f"/c/{self.customer.slug}/hosts/{self.host.name}/"

    @property
    def site_page(self) -> str:
        return f"/c/{self.customer.slug}/sites/{self.site.slug}/"


def fleet_of(msp: Tenant, name: str) -> Fleet:
    customer = CustomerFactory(parent=msp, name=f"{name} Ltd", slug=f"{name}-ltd")
    site = SiteFactory(tenant=customer, name=f"{name} office", slug=f"{name}-office")
    host = HypervisorFactory(site=site, name=f"{name}-host")
    network = NetworkFactory(hypervisor=host, name="nat")
    image = ImageVersionFactory().image
    vm = VirtualMachineFactory(
        hypervisor=host, name=f"{name}-vm", network=network, image_version=image.latest
    )
    owner = MembershipFactory(tenant=customer, role="customer-administrator").user
    return Fleet(msp, customer, site, host, network, image, vm, owner)


@pytest.fixture
def msp(db: None) -> Tenant:
    return MspFactory(name="Northwind", slug="northwind")


@pytest.fixture
def fleet(msp: Tenant) -> Fleet:
    return fleet_of(msp, "alder")


@pytest.fixture
def others(msp: Tenant) -> Fleet:
    """Another customer of the same MSP."""
    return fleet_of(msp, "birch")


@pytest.fixture
def technician(msp: Tenant) -> User:
    return MembershipFactory(tenant=msp, role="msp-owner").user


@pytest.fixture
def as_technician(client: Client, technician: User) -> Client:
    client.force_login(technician)
    return client


@pytest.fixture
def as_customer(client: Client, fleet: Fleet) -> Client:
    client.force_login(fleet.owner)
    return client
