"""One host: its parts, and what it reports about itself and its guests."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from ipaddress import ip_interface
from typing import TYPE_CHECKING, Any

import msgspec
import structlog

from agent.drivers.base import (
    DiskStore,
    GuestDriver,
    GuestState,
    ImageStore,
    NicPlumbing,
)
from agent.errors import JobFailedError
from agent.facts import HostProbe
from agent.first_boot import FirstBoots
from agent.journal import Journal
from agent.keys import HostKeys
from agent.outbox import Outbox
from agent.protocol import DroppedFrames, NicReport, NicSpec, Snapshot, Usage, VmChanged, VmReport
from agent.protocol.messages import LanDhcp
from agent.records import NicMemory, Records, VmRecord
from agent.settings import Settings
from agent.usage import UsageMeter

if TYPE_CHECKING:
    from metadata.documents import NicDocument

log = structlog.get_logger("agent.host")

Compose = Callable[[VmRecord, NicSpec], Awaitable["NicDocument"]]


@dataclass(kw_only=True)
class Host:
    """The parts of one host. Handlers get it whole; it holds no logic of its own."""

    settings: Settings
    keys: HostKeys
    journal: Journal
    records: Records
    outbox: Outbox
    driver: GuestDriver
    plumber: NicPlumbing
    images: ImageStore
    disks: DiskStore
    probe: HostProbe
    compose: Compose
    problems: dict[str, str] = field(default_factory=dict)
    """Sentences for a person, by what they are about."""
    plumbed: set[str] = field(default_factory=set)
    """Guests whose NICs this process has plumbed."""
    starting: set[str] = field(default_factory=set)
    """Guests that a start of ours is about to plumb."""
    _locks: defaultdict[str, asyncio.Lock] = field(
        default_factory=lambda: defaultdict(asyncio.Lock)
    )

    def __post_init__(self) -> None:
        self._meter = UsageMeter(self.driver)
        self._dropped: dict[str, DroppedFrames] = {}
        self.first_boots = FirstBoots(self)

    def lock(self, vm_id: str) -> asyncio.Lock:
        """Held by whatever changes the guest: one thing at a time, first come first served."""
        return self._locks[vm_id]

    def record(self, vm_id: str) -> VmRecord:
        """The guest's record. Raises JobFailedError `vm_not_found`."""
        record = self.records.get(vm_id)
        if record is None or not record.made:
            raise JobFailedError(
                "vm_not_found",
                "This host has no such VM: it was deleted, or the host's disk was replaced. "
                "Remove it in the portal, or create it again.",
            )
        return record

    async def save(self, record: VmRecord) -> None:
        """Write the record down, durably."""
        await asyncio.to_thread(self.records.save, record)

    async def update(self, vm_id: str, **changes: Any) -> VmRecord:
        """Change fields of the guest's record, durably. Raises JobFailedError."""
        return await self.change(vm_id, lambda known: msgspec.structs.replace(known, **changes))

    async def change(self, vm_id: str, change: Callable[[VmRecord], VmRecord]) -> VmRecord:
        """Make of the guest's record what `change` makes of it as it is at that moment: the
        metadata service may have something to note at any time. Raises JobFailedError."""
        record = await asyncio.to_thread(self.records.update, vm_id, change)
        return record if record is not None else self.record(vm_id)

    async def serve_again(self, vm_id: str) -> None:
        """As `serve_now`, for who does not hold the guest's lock."""
        async with self.lock(vm_id):
            record = self.records.get(vm_id)
            if record is not None:
                await self.serve_now(record)

    async def serve_now(self, record: VmRecord) -> None:
        """Have the metadata server say what the record says, on each NIC that is plumbed."""
        if record.vm_id not in self.plumbed:
            return
        for nic in record.nics:
            document = await self.compose(record, nic)
            await self.plumber.update(nic_id=nic.nic_id, document=document)

    # ------------------------------------------------------------------ reports

    async def report(self, vm_id: str) -> VmReport | None:
        """The guest as it is now, or None when it is not on this host."""
        record = self.records.get(vm_id)
        if record is None:
            return None
        try:
            state = await self.driver.guest(vm_id)
        except JobFailedError:
            return await self._report(record, power="unknown") if record.made else None
        return await self._report_state(record, state)

    async def publish(self, vm_id: str) -> None:
        """Tell the portal how the guest is now."""
        self.outbox.put(VmChanged(vm_id=vm_id, vm=await self.report(vm_id)))

    async def snapshot(self) -> Snapshot:
        """The full state of this host."""
        driver_facts = await self.driver.facts()
        await self._count_dropped()
        problems = list(self.problems.values())
        reports: list[VmReport | None] = []
        foreign = 0
        try:
            # One question for all guests: while libvirt is away, each question waits.
            states = await self.driver.guests()
            foreign = await self.driver.foreign_count()
        except JobFailedError:
            made = [record for record in self.records.all() if record.made]
            reports += [await self._report(record, power="unknown") for record in made]
        else:
            for record in self.records.all():
                reports.append(await self._report_state(record, states.get(record.vm_id)))
        return Snapshot(
            facts=await asyncio.to_thread(self.probe.facts, driver_facts, problems),
            usage=await self.usage(),
            vms=[report for report in reports if report is not None],
            jobs=await asyncio.to_thread(self.journal.job_ids),
            foreign_vms=foreign,
            cached_images=self.images.cached(),
        )

    async def _count_dropped(self) -> None:
        """One question for all NICs, with each snapshot: not with each change of a guest."""
        try:
            self._dropped = await self.plumber.dropped()
        except JobFailedError as error:
            log.debug("dropped frames are not known", reason=error.message)

    async def usage(self) -> Usage:
        """How busy the host is, and its guests where they were just measured."""
        usage = await asyncio.to_thread(self.probe.usage)
        guests = await self._meter.measure(self.records.all())
        return msgspec.structs.replace(usage, guests=guests)

    async def _report_state(self, record: VmRecord, state: GuestState | None) -> VmReport | None:
        if state is not None:
            return await self._report(
                record, power=state.power, vcpus=state.vcpus, memory_mib=state.memory_mib
            )
        # Defined again at its next start, so a domain that is gone is a guest that is off.
        return await self._report(record, power="off") if record.made else None

    async def _report(
        self, record: VmRecord, *, power: str, vcpus: int = 0, memory_mib: int = 0
    ) -> VmReport:
        seen: dict[str, list[str]] = {}
        if power == "running" and any(not (nic.address or nic.address6) for nic in record.nics):
            try:
                seen = await self.driver.addresses(record.vm_id)
            except JobFailedError as error:
                log.debug("addresses are not known", vm_id=record.vm_id, reason=error.message)
        return msgspec.convert(
            {
                "vm_id": record.vm_id,
                "power": power,
                "vcpus": vcpus or record.vcpus,
                "memory_mib": memory_mib or record.memory_mib,
                "disks": await self.disks.report(record.vm_id, record.disks),
                "nics": [
                    NicReport(
                        nic_id=nic.nic_id,
                        mac=nic.mac,
                        addresses=_addresses(nic, seen.get(nic.mac, []))[:32],
                        metadata=msgspec.convert(
                            memory.state, NicReport.__annotations__["metadata"]
                        ),
                        asked_at=memory.asked_at,
                        served_at=memory.served_at,
                        sealed_at=memory.sealed_at,
                        dropped=self._dropped.get(nic.nic_id) if nic.guard else None,
                        lan_dhcp=_lan_dhcp(memory, nic, seen.get(nic.mac, [])),
                    )
                    for nic, memory in ((nic, record.nic(nic.nic_id)) for nic in record.nics)
                ],
                "cloud_init": record.cloud_init,
            },
            VmReport,
        )


def _addresses(nic: NicSpec, seen: list[str]) -> list[str]:
    given = [address for address in (nic.address, nic.address6) if address]
    return given + [address for address in seen if address not in given]


def _lan_dhcp(memory: NicMemory, nic: NicSpec, seen: list[str]) -> LanDhcp:
    if nic.address or nic.address6:
        return "given"
    if any(one.version == 4 and not one.is_link_local for one in map(ip_interface, seen)):
        # Whatever its requests have shown: it is on the site's network.
        return "site"
    said: LanDhcp = msgspec.convert(memory.lan_dhcp, LanDhcp)
    return said
