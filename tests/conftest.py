"""What all tests share. Where Django is not installed (the agent-only environment), nothing
of the portal is touched: tests/agent, tests/metadata and tests/build must pass there.

Portal tests run on the real PostgreSQL and Redis that DATABASE_URL and REDIS_URL name.
"""

import importlib.util
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from rest_framework.test import APIClient

    from tenants.models import User

HAS_DJANGO = importlib.util.find_spec("django") is not None

if HAS_DJANGO:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")

    import django

    django.setup()

    from tenants.scope import enter, system_scope

    # Tests set their scenes, and look at what came of it, with eyes that see everything. What
    # they call by HTTP, a socket, a task or a command enters a scope of its own all the same.
    enter(system_scope("a test"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: Any) -> Any:
    """Where everything is required (CI), a skipped test is a failed one."""
    report = yield
    if os.environ.get("BASALT_REQUIRE_ALL") and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped, and here nothing may be: {report.longrepr}"
    return report


@pytest.fixture
def media(settings: Any, tmp_path: Path) -> Path:
    """An empty MEDIA_ROOT of this test's own."""
    settings.MEDIA_ROOT = tmp_path / "media"
    return settings.MEDIA_ROOT


@pytest.fixture
def api() -> "APIClient":
    """An API client that is nobody yet: `api.force_authenticate(user)` or `api_as`."""
    from rest_framework.test import APIClient

    return APIClient()


@pytest.fixture
def api_as() -> Any:
    """`api_as(user)`: an API client with a real bearer token of this user."""
    from rest_framework.test import APIClient

    from tenants.services.people import api_token_create

    def make(user: "User") -> "APIClient":
        _, secret = api_token_create(user=user, name="test")
        client = APIClient()
        client.credentials(HTTP_AUTHORIZATION=f"Bearer {secret}")
        return client

    return make
