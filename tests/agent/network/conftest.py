"""A plumber on this host, and a LAN of its own."""

import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from agent.protocol import NetworkSpec
from tests.agent.network.namespaces import run
from tests.agent.network.plumbing import Plumbing, new_id


@pytest.fixture
async def plumbing(tmp_path: Path) -> AsyncIterator[Plumbing]:
    one = Plumbing(tmp_path / "agent")
    await one.plumber.start()
    yield one
    await one.plumber.sweep(keep_nics=set(), keep_networks=set())
    await one.plumber.stop(terminate_server=True)


@pytest.fixture
def lan() -> Iterator[NetworkSpec]:
    """A bridge of the host that nobody answers on."""
    name = f"tb{uuid.uuid4().hex[:10]}"
    run("ip", "link", "add", name, "type", "bridge")
    run("ip", "link", "set", name, "up")
    yield NetworkSpec(network_id=new_id(), kind="bridge", bridge=name)
    run("ip", "link", "delete", name)
