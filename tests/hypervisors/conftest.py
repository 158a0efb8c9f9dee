"""A running portal, where a test asks for one."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.hypervisors.running_portal import RunningPortal, portal_running


@pytest_asyncio.fixture
async def portal(transactional_db: None, settings: Any) -> AsyncIterator[RunningPortal]:
    async with portal_running(settings) as running:
        yield running


@pytest.fixture(autouse=True)
def _no_refusals_of_others() -> None:
    from django.core.cache import cache

    cache.clear()
