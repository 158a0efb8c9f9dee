"""A customer with a directory of its own."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator

import pytest
from django.core.cache import cache

from tenants.actor import SYSTEM
from tenants.models import IdentityProvider, Tenant
from tenants.services.identity_providers import (
    identity_provider_create,
    identity_provider_domains_set,
)
from tests.factories import CustomerFactory, MspFactory

PEOPLE = [
    {
        "sub": "maria",
        "email": "maria@alder.example",
        "email_verified": True,
        "name": "Maria Alder",
    },
    {"sub": "unverified", "email": "uwe@alder.example", "email_verified": False},
    {"sub": "elsewhere", "email": "eve@birch.example", "email_verified": True},
]


@pytest.fixture(autouse=True)
def _no_tries_of_other_tests() -> None:
    cache.clear()


@pytest.fixture
def customer(db: None) -> Tenant:
    return CustomerFactory(parent=MspFactory(name="Northwind"), name="Alder Ltd", slug="alder-ltd")


@pytest.fixture
def private_providers(settings: pytest.FixtureRequest) -> None:
    """The test's providers are on this machine."""
    settings.BASALT_ALLOW_PRIVATE_PROVIDER_URLS = True


@pytest.fixture(scope="session")
def provider_address() -> Iterator[str]:
    """A real provider, in a process of its own."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    people = [part for one in PEOPLE for part in ("--user-claims", json.dumps(one))]
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "oidc_provider_mock", "-p", str(port), *people],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "AUTHLIB_INSECURE_TRANSPORT": "1"},
    )
    address = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + 30
    while True:
        try:
            urllib.request.urlopen(f"{address}/jwks", timeout=2).close()
            break
        except OSError:
            assert process.poll() is None, "the provider ended"
            assert time.monotonic() < deadline, "the provider did not begin"
            time.sleep(0.1)
    yield address
    process.terminate()
    process.wait(timeout=10)


def directory_of(customer: Tenant, issuer: str, **fields: object) -> IdentityProvider:
    """An OpenID Connect provider whose domain is alder.example."""
    provider = identity_provider_create(
        actor=SYSTEM,
        tenant=customer,
        kind="oidc",
        name="Alder directory",
        issuer=issuer,
        client_id="basalt",
        secret="a secret of the client",
        **fields,
    )
    identity_provider_domains_set(actor=SYSTEM, provider=provider, domains=["alder.example"])
    return provider
