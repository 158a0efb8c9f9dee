"""Two customers of one MSP with a site each, and the names of sites that can be seen."""

from collections.abc import Iterator

import pytest
from django.db import connections

from tenants.models import Site, Tenant
from tests.factories import CustomerFactory, MspFactory, SiteFactory


@pytest.fixture
def msp(db: None) -> Tenant:
    return MspFactory()


@pytest.fixture
def ours(msp: Tenant) -> Site:
    return SiteFactory(tenant=CustomerFactory(parent=msp))


@pytest.fixture
def theirs(msp: Tenant) -> Site:
    return SiteFactory(tenant=CustomerFactory(parent=msp))


def names() -> set[str]:
    return set(Site.objects.values_list("name", flat=True))


@pytest.fixture(autouse=True)
def _no_connection_is_left() -> Iterator[None]:
    yield
    for name in list(connections):
        assert connections[name].settings_dict["USER"] != "basalt_owner"
