"""Networks, NICs and their metadata, as the rest of the agent asks for them."""

import asyncio
import contextlib
import os
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec
import structlog

from agent.network import guard
from agent.network.addresses import concerned, gateways, given_addresses, protected
from agent.network.errors import NetworkError
from agent.network.ledger import Ledger, NetworkEntry, NicEntry
from agent.network.names import bridge_name, managed_bridge, nic_table, tap_name, vlan_bridge
from agent.network.operations import (
    CheckBridge,
    DhcpMode,
    Guard,
    MakeNat,
    MakeVlan,
    Operation,
    Protect,
    RemoveNat,
    RemoveVlan,
    Unwire,
    Wire,
)
from agent.network.server_link import ServerGoneError, ServerLink, open_link
from agent.network.worker_client import NetworkWorker
from agent.protocol import DroppedFrames, NetworkSpec, NicSpec
from metadata.control import Forget, NicStatus, Quit, Reported, Serve, StateChanged
from metadata.documents import NicDocument, sealed_document

__all__ = ["NetworkError", "NicPlumber", "bridge_name", "tap_name"]

log = structlog.get_logger("agent.network")

_RETRY_S = (0.1, 0.2, 1.0, 5.0, 15.0)
_STEADY_S = 30.0
"""A server that lived this long died of something new."""

OnState = Callable[[NicStatus], None]
OnReport = Callable[[Reported], None]


class NicPlumber:
    """Makes networks, joins NICs to their namespaces, and keeps their documents served.

    `on_state(status)` follows each change, and once for each NIC
    that a found server knows more about than "not_asked". All methods raise NetworkError.
    """

    def __init__(
        self,
        *,
        control_path: Path,
        data_dir: Path,
        user: str = "nobody",
        spawn: bool = True,
        on_state: OnState,
        on_report: OnReport = lambda report: None,  # noqa: ARG005
    ) -> None:
        self._control_path = control_path
        self._log_path = data_dir / "run" / "metadata.log"
        self._user = user
        self._spawn = spawn
        self._on_state = on_state
        self._on_report = on_report
        self._ledger = Ledger(data_dir)
        self._worker = NetworkWorker()
        self._documents: dict[str, NicDocument] = {}
        self._served: set[str] = set()
        """NICs whose listeners the server of the present link has."""
        self._link: ServerLink | None = None
        self._linking = asyncio.Lock()
        self._turn = asyncio.Lock()
        self._keeper: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Find the metadata server or start one, and keep it there."""
        await self._ensure_link()
        if self._keeper is None:
            self._keeper = asyncio.create_task(self._keep())

    async def stop(self, *, terminate_server: bool) -> None:
        """Let go. Without `terminate_server` guests stay served while the agent is away."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
            self._keeper = None
        link, self._link = self._link, None
        if link is not None:
            if terminate_server:
                with contextlib.suppress(ServerGoneError, NetworkError):
                    await link.ask(Quit())
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(link.ended(), 5)
                # The server has not the right to remove it.
                self._control_path.unlink(missing_ok=True)
            link.close()
        await self._worker.stop()

    @property
    def server_pid(self) -> int | None:
        """The metadata server's process, while it is there."""
        return self._link.pid if self._link is not None and self._link.open else None

    # ------------------------------------------------------------------ networks

    async def ensure_network(self, network: NetworkSpec) -> str:
        """Have the network there and whole. Returns its bridge's name.

        Raises NetworkError: `bridge_missing`, `bridge_down`, `subnet_in_use`, `vlan_in_use`,
        `vlan_unsupported`.
        """
        name = bridge_name(network)
        if network.kind == "bridge" and network.vlan is None:
            # Not its MTU: what ran before starts again, whatever was done to the bridge.
            await self._worker.run(CheckBridge(name=name))
            return name
        entry, making = _making(network)
        async with self._turn:
            await asyncio.to_thread(self._ledger.note_network, entry)
            await self._worker.run(making)
        return name

    async def remove_network(self, network_id: str) -> None:
        """Take away a managed network. Idempotent."""
        async with self._turn:
            entry = self._ledger.networks.get(network_id)
            if entry is None:
                return
            if entry.vlan is None:
                await self._worker.run(RemoveNat(network_id=network_id))
            elif not any(
                (other.bridge, other.vlan) == (entry.bridge, entry.vlan)
                for other in self._ledger.networks.values()
                if other.network_id != network_id
            ):
                await self._worker.run(RemoveVlan(bridge=entry.bridge, vlan=entry.vlan))
            await asyncio.to_thread(self._ledger.strike_network, network_id)

    # ------------------------------------------------------------------ NICs

    async def attach(self, *, nic: NicSpec, tap: str, document: NicDocument) -> None:
        """Join the NIC, whose tap exists, to its namespace, and serve its document there.

        Idempotent: what is right stays untouched, what is missing is made.
        """
        async with self._turn:
            known = self._ledger.nics.get(nic.nic_id)
            entry = NicEntry(
                nic_id=nic.nic_id,
                tap=tap,
                mtu=nic.network.mtu,
                dhcp=_dhcp_mode(document),
                mac=nic.mac,
                network_id=nic.network.network_id,
                addresses=given_addresses(nic),
                gateways=gateways(nic.network),
                guard=nic.guard,
                instance_id=document.instance_id,
                sealed=known is not None
                and known.sealed
                and known.instance_id == document.instance_id,
            )
            await asyncio.to_thread(self._ledger.note_nic, entry)
            self._documents[nic.nic_id] = document
            await self._serve(entry, rewire=True)
            before = set(known.addresses) if known is not None else set()
            if changed := before ^ set(entry.addresses):
                await self._protect(entry.network_id, changed)

    async def update(self, *, nic_id: str, document: NicDocument) -> None:
        """Serve another document from now on. Raises NetworkError for an unknown NIC."""
        async with self._turn:
            entry = self._ledger.nics.get(nic_id)
            if entry is None:
                raise NetworkError("internal", f"The NIC {nic_id} is not attached on this host.")
            changed = msgspec.structs.replace(
                entry,
                dhcp=_dhcp_mode(document),
                instance_id=document.instance_id,
                sealed=entry.sealed and entry.instance_id == document.instance_id,
            )
            await asyncio.to_thread(self._ledger.note_nic, changed)
            self._documents[nic_id] = document
            await self._serve(changed, rewire=changed.dhcp != entry.dhcp)

    async def detach(self, nic_id: str) -> None:
        """Leave nothing of the NIC's wire. Idempotent."""
        async with self._turn:
            if nic_id not in self._ledger.nics:
                return
            self._documents.pop(nic_id, None)
            self._served.discard(nic_id)
            link = self._link
            if link is not None and link.open:
                # Without a server there is nobody who serves it.
                with contextlib.suppress(ServerGoneError):
                    await link.ask(Forget(nic_id=nic_id))
            await self._worker.run(Unwire(nic_id=nic_id))
            gone = self._ledger.nics[nic_id]
            await asyncio.to_thread(self._ledger.strike_nic, nic_id)
            await self._protect(gone.network_id, gone.addresses)

    async def dropped(self) -> dict[str, DroppedFrames]:
        """What each guarded NIC's guard has dropped so far. One question for all NICs."""
        tables = {
            nic_table(entry.nic_id): entry.nic_id
            for entry in self._ledger.nics.values()
            if entry.guard
        }
        if not tables:
            return {}
        counted = await asyncio.to_thread(guard.counters, tables)
        return {
            tables[table]: DroppedFrames(**{kind: packets for kind, (packets, _) in kinds.items()})
            for table, kinds in counted.items()
        }

    async def sweep(self, *, keep_nics: set[str], keep_networks: set[str]) -> list[str]:
        """Remove what this agent made for NICs and networks that are gone.

        Returns the names of what was removed. What others made is never looked at.
        """
        removed = []
        for nic_id in set(self._ledger.nics) - keep_nics:
            await self.detach(nic_id)
            removed.append(f"NIC {tap_name(nic_id)}")
        for network_id in set(self._ledger.networks) - keep_networks:
            name = _network_name(self._ledger.networks[network_id])
            await self.remove_network(network_id)
            removed.append(name)
        return removed

    def _guard(self, entry: NicEntry) -> Guard | None:
        if not entry.guard:
            return None
        return Guard(addresses=entry.addresses, protected=protected(entry, self._ledger.nics))

    async def _protect(self, network_id: str, addresses: Iterable[str]) -> None:
        """Tell the guards of a network that these addresses have come or gone."""
        nics = self._ledger.nics
        told = {
            entry.nic_id: protected(entry, nics)
            for entry in concerned(nics.values(), network_id=network_id, addresses=addresses)
        }
        if told:
            await self._worker.run(Protect(protected=told))

    # ------------------------------------------------------------------ the server

    async def _serve(self, entry: NicEntry, *, rewire: bool) -> None:
        """Have the kernel's part as `entry` says and the server's as the document says."""
        document = self._documents[entry.nic_id]
        for last in (False, True):
            link = await self._ensure_link()
            missing = entry.nic_id not in self._served
            descriptors = []
            if rewire or missing:
                descriptors = await self._worker.run(
                    Wire(
                        nic_id=entry.nic_id,
                        tap=entry.tap,
                        mtu=entry.mtu,
                        dhcp=entry.dhcp,
                        listeners=missing,
                        mac=entry.mac,
                        guard=self._guard(entry),
                    )
                )
            try:
                await link.ask(
                    Serve(document=_sealed(document, entry), sockets=len(descriptors)),
                    descriptors,
                )
            except ServerGoneError as error:
                if last:
                    raise NetworkError(
                        "internal",
                        "The metadata server ended while it was asked to serve a NIC. "
                        f"{self._log_path} has its last words.",
                    ) from error
            else:
                self._served.add(entry.nic_id)
                return
            finally:
                for descriptor in descriptors:
                    os.close(descriptor)

    async def _ensure_link(self) -> ServerLink:
        async with self._linking:
            if self._link is not None and self._link.open:
                return self._link
            if self._link is not None:
                self._link.close()
            self._link = None
            self._link = await open_link(
                control_path=self._control_path,
                log_path=self._log_path,
                user=self._user,
                spawn=self._spawn,
                on_change=self._changed,
                on_report=self._on_report,
            )
            self._served = set(self._link.nics)
            for status in self._link.nics.values():
                if status.nic_id not in self._ledger.nics:
                    # Ours, though the note of it is lost: for the next sweep to see.
                    self._ledger.note_nic(_lost(status.nic_id))
                self._note(status)
            return self._link

    async def _keep(self) -> None:
        """After a death of the server: start it again and hand it every document."""
        failures = 0
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            try:
                link = await self._ensure_link()
                await self._serve_again()
                await link.ended()
                log.warning("the metadata server is gone")
            except NetworkError as error:
                log.warning("metadata is not served as it should be", reason=error.message)
            failures = 0 if loop.time() - began > _STEADY_S else failures + 1
            await asyncio.sleep(_RETRY_S[min(failures, len(_RETRY_S) - 1)])

    async def _serve_again(self) -> None:
        for nic_id in list(self._documents):
            async with self._turn:
                entry = self._ledger.nics.get(nic_id)
                if entry is None or nic_id in self._served or nic_id not in self._documents:
                    continue
                try:
                    await self._serve(entry, rewire=True)
                except NetworkError as error:
                    # A guest that has stopped meanwhile must not keep the others waiting.
                    log.warning("NIC is not served", nic_id=nic_id, reason=error.message)

    def _changed(self, change: StateChanged) -> None:
        self._note(change.status)

    def _note(self, status: NicStatus) -> None:
        entry = self._ledger.nics.get(status.nic_id)
        if entry is None or (status.state == "not_asked" and status.lan_dhcp == "unknown"):
            return
        other = status.instance_id and entry.instance_id not in ("", status.instance_id)
        if status.state == "sealed" and not other:
            if not entry.sealed:
                self._ledger.note_nic(msgspec.structs.replace(entry, sealed=True))
            document = self._documents.get(status.nic_id)
            if document is not None:
                # What was secret has served: it is held nowhere any more.
                self._documents[status.nic_id] = sealed_document(document)
        self._on_state(status)


def _making(network: NetworkSpec) -> tuple[NetworkEntry, Operation]:
    """The note of a network that is to be made, and how it is made. Raises NetworkError."""
    if network.vlan is not None and network.kind == "bridge":
        bridge = network.bridge or ""
        return (
            NetworkEntry(network_id=network.network_id, bridge=bridge, vlan=network.vlan),
            MakeVlan(bridge=bridge, vlan=network.vlan, mtu=network.mtu),
        )
    if network.subnet is None or network.gateway is None:
        raise NetworkError("internal", "A NAT network needs a subnet and a gateway.")
    return (
        NetworkEntry(network_id=network.network_id),
        MakeNat(
            network_id=network.network_id,
            subnet=network.subnet,
            gateway=network.gateway,
            mtu=network.mtu,
            subnet6=network.subnet6,
            gateway6=network.gateway6,
        ),
    )


def _network_name(entry: NetworkEntry) -> str:
    if entry.vlan is not None:
        return f"network {vlan_bridge(entry.bridge, entry.vlan)}"
    return f"network {managed_bridge(entry.network_id)}"


def _dhcp_mode(document: NicDocument) -> DhcpMode:
    return "take" if document.lease is not None else "watch"


def _lost(nic_id: str) -> NicEntry:
    return NicEntry(nic_id=nic_id, tap=tap_name(nic_id), mtu=1500, dhcp="watch", instance_id="")


def _sealed(document: NicDocument, entry: NicEntry) -> NicDocument:
    return sealed_document(document) if document.sealed or entry.sealed else document
