"""An MSP with two customers, one of them in a group, and an owner of all."""

from dataclasses import dataclass
from typing import Any

import pytest
from rest_framework.test import APIClient

from tenants.models import ApiToken, ServiceAccount, Tenant, User
from tenants.services.people import api_token_create
from tests.factories import CustomerFactory, MembershipFactory, MspFactory, VirtualMachineFactory
from tests.tokens.service_accounts import make


@dataclass
class Land:
    msp: Tenant
    group: Tenant
    alder: Tenant
    birch: Tenant
    owner: User
    vm: Any
    """Alder's."""
    other: Any
    """Birch's."""


@pytest.fixture
def land(db) -> Land:
    msp = MspFactory(name="Northwind", slug="northwind")
    group = CustomerFactory(parent=msp, kind="group", name="Woods", slug="woods")
    alder = CustomerFactory(parent=group, name="Alder", slug="alder")
    birch = CustomerFactory(parent=msp, name="Birch", slug="birch")
    return Land(
        msp=msp,
        group=group,
        alder=alder,
        birch=birch,
        owner=MembershipFactory(tenant=msp, role="msp-owner").user,
        vm=_vm(alder, "a-vm"),
        other=_vm(birch, "b-vm"),
    )


def _vm(tenant: Tenant, name: str) -> Any:
    from tests.factories import HypervisorFactory, SiteFactory

    host = HypervisorFactory(site=SiteFactory(tenant=tenant))
    return VirtualMachineFactory(hypervisor=host, name=name)


def token_of(user: User, **scope: Any) -> ApiToken:
    token, _ = api_token_create(user=user, name="narrow", **scope)
    return ApiToken.objects.select_related("user", "made_with").get(pk=token.pk)


def client_with(user: User, **scope: Any) -> APIClient:
    """An API client with a fresh token of this scope."""
    _, secret = api_token_create(user=user, name="narrow", **scope)
    return client_of(secret)


def client_of(secret: str) -> APIClient:
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {secret}")
    return client


def names(client: APIClient, kind: str = "vms") -> set[str]:
    answer = client.get(f"/api/v1/{kind}/")
    assert answer.status_code == 200, answer.content
    return {row["name"] for row in answer.json()["results"]}


@pytest.fixture
def admin(land) -> User:
    return MembershipFactory(tenant=land.alder, role="customer-administrator").user


@pytest.fixture
def robot(land, admin) -> ServiceAccount:
    return make(admin, land.alder)
