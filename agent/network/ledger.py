"""What this agent has made in the host's network stack, written down before it is made.

Another agent on the same host has a ledger of its own, and nobody removes what is not in
theirs.
"""

from pathlib import Path
from typing import TypeVar

import msgspec

from agent.files import sync_folder, write_atomically
from agent.network.operations import DhcpMode
from agent.protocol.types import Id

_FOLDER = "network"

Entry = TypeVar("Entry")


class NicEntry(msgspec.Struct, frozen=True, kw_only=True):
    """`sealed` keeps the end of a first boot across a death of the metadata server; it
    holds for the instance it was reported for."""

    nic_id: Id
    tap: str
    mtu: int
    dhcp: DhcpMode
    instance_id: str
    sealed: bool = False
    mac: str = ""
    network_id: str = ""
    addresses: list[str] = []
    """Given by the portal, without a length: nobody else's on the network."""
    gateways: list[str] = []
    guard: bool = False


class NetworkEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A NAT network, or with `vlan` a network on that VLAN of `bridge`: what is made for a VLAN
    serves all networks on it."""

    network_id: Id
    bridge: str = ""
    vlan: int | None = None


class Ledger:
    """One small file for each NIC and each managed network, under `data_dir`/run/network."""

    def __init__(self, data_dir: Path) -> None:
        self._folder = data_dir / "run" / _FOLDER
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.nics: dict[str, NicEntry] = {}
        self.networks: dict[str, NetworkEntry] = {}
        for path in sorted(self._folder.glob("nic-*.json")):
            nic = _read(path, NicEntry)
            if nic is not None:
                self.nics[nic.nic_id] = nic
        for path in sorted(self._folder.glob("net-*.json")):
            network = _read(path, NetworkEntry)
            if network is not None:
                self.networks[network.network_id] = network

    def note_nic(self, entry: NicEntry) -> None:
        """Durable when this returns. Raises OSError."""
        if self.nics.get(entry.nic_id) != entry:
            self._write(f"nic-{entry.nic_id}.json", msgspec.json.encode(entry))
            self.nics[entry.nic_id] = entry

    def note_network(self, entry: NetworkEntry) -> None:
        """Durable when this returns. Raises OSError."""
        if self.networks.get(entry.network_id) != entry:
            self._write(f"net-{entry.network_id}.json", msgspec.json.encode(entry))
            self.networks[entry.network_id] = entry

    def strike_nic(self, nic_id: str) -> None:
        self.nics.pop(nic_id, None)
        self._remove(f"nic-{nic_id}.json")

    def strike_network(self, network_id: str) -> None:
        self.networks.pop(network_id, None)
        self._remove(f"net-{network_id}.json")

    def _write(self, name: str, data: bytes) -> None:
        write_atomically(self._folder / name, data)

    def _remove(self, name: str) -> None:
        path = self._folder / name
        if path.exists():
            path.unlink()
            sync_folder(self._folder)


def _read(path: Path, kind: type[Entry]) -> Entry | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, OSError):
        # Written atomically, so this is somebody's edit: what it named cannot be told.
        return None
