"""One agent's plumbing on this host, with guests that are namespaces."""

import contextlib
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from agent.network.compose import nic_document
from agent.network.plumber import NicPlumber, tap_name
from agent.protocol import GuestSpec, NetworkSpec, NicSpec
from metadata.documents import NicDocument
from tests.agent.network.namespaces import Guest


def new_id() -> str:
    return str(uuid.uuid4())


def nic_on(network: NetworkSpec, address: str | None) -> NicSpec:
    digits = uuid.uuid4().hex
    mac = f"52:54:00:{digits[0:2]}:{digits[2:4]}:{digits[4:6]}"
    return NicSpec(nic_id=new_id(), mac=mac, network=network, address=address)


def document_of(nic: NicSpec, hostname: str, **changes: Any) -> NicDocument:
    guest = GuestSpec(instance_id=new_id(), hostname=hostname, username="admin", **changes)
    return nic_document(
        guest=guest,
        nic=nic,
        nics=[nic],
        password_hash=None,
        user_data=None,
        host_dns=["9.9.9.9"],
    )


class Plumbing:
    """What one agent has: its folder, its plumber, and the states it has heard."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.heard: list[tuple[str, str, bool]] = []
        self.plumber = self.new_plumber()

    def new_plumber(self) -> NicPlumber:
        return NicPlumber(
            control_path=self.folder / "run" / "metadata.sock",
            data_dir=self.folder,
            on_state=lambda status: self.heard.append((status.nic_id, status.state, status.done)),
        )

    async def restart(self) -> None:
        """As after a crash: nothing is put away, and another process takes over."""
        await self.plumber.stop(terminate_server=False)
        self.plumber = self.new_plumber()
        await self.plumber.start()

    @contextlib.contextmanager
    def guest(self, nic: NicSpec, bridge: str) -> Iterator[Guest]:
        with Guest(tap=tap_name(nic.nic_id), mac=nic.mac, bridge=bridge) as guest:
            yield guest

    async def attach(self, nic: NicSpec, document: NicDocument) -> None:
        await self.plumber.attach(nic=nic, tap=tap_name(nic.nic_id), document=document)
