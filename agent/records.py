"""The guests this agent answers for, kept so that the site needs no portal to run them."""

from collections.abc import Callable
from threading import RLock
from typing import cast

import msgspec

from agent.boot.evidence import Evidence
from agent.database import Database
from agent.protocol import DiskSpec, GuestSpec, NicSpec


class NicMemory(msgspec.Struct, frozen=True, kw_only=True):
    """What is remembered of one NIC's metadata. Times in seconds since the Unix epoch."""

    state: str = "not_asked"
    asked_at: float | None = None
    served_at: float | None = None
    sealed_at: float | None = None
    lan_dhcp: str = "unknown"


class VmRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One guest as it was asked for, and what must outlive the agent's process."""

    vm_id: str
    name: str
    vcpus: int
    memory_mib: int
    firmware: str
    image_id: str
    disks: list[DiskSpec]
    nics: list[NicSpec]
    guest: GuestSpec
    autostart: bool = True
    made: bool = False
    """Whether its creation came to its end. Until then a failure removes everything."""
    cloud_init: str = "unknown"
    metadata: dict[str, NicMemory | str] = {}
    """By nic_id. Agents of before wrote the bare state."""
    joining: list[str] = []
    """nic_ids of NICs whose adding has not come to its end."""
    start_again: bool = False
    """It ran when the agent stopped its guests, so the next start starts it."""
    started_at: float | None = None
    """The first start of this instance, from which its first boot's time is counted."""
    over: bool = False
    """The first boot is over: nothing secret is served again."""
    next_guest: GuestSpec | None = None
    """What the guest is told from its next start on, as another instance."""

    def nic(self, nic_id: str) -> NicMemory:
        known = self.metadata.get(nic_id)
        if isinstance(known, NicMemory):
            return known
        return NicMemory(state=known) if known else NicMemory()

    @property
    def seal_at(self) -> float | None:
        """When the first boot is over at the latest."""
        if self.started_at is None or self.over:
            return None
        return self.started_at + self.guest.first_boot_s


_record = msgspec.msgpack.Decoder(VmRecord)
_evidence = msgspec.msgpack.Decoder(Evidence)


def _as_now(record: VmRecord) -> VmRecord:
    """A record of an agent of before, which knew no end of a first boot but the guest's word."""
    if record.cloud_init == "done" and record.started_at is None and not record.over:
        return msgspec.structs.replace(record, over=True)
    return record


class Records:
    """Guests by id, and a few facts by name."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = RLock()
        rows = database.rows("SELECT record FROM vm")
        decoded = (_as_now(_record.decode(cast(bytes, row[0]))) for row in rows)
        self._vms = {record.vm_id: record for record in decoded}

    def get(self, vm_id: str) -> VmRecord | None:
        return self._vms.get(vm_id)

    def all(self) -> list[VmRecord]:
        return list(self._vms.values())

    def of_nic(self, nic_id: str) -> VmRecord | None:
        """The guest that has this NIC."""
        for record in self._vms.values():
            if any(nic.nic_id == nic_id for nic in record.nics):
                return record
        return None

    def update(self, vm_id: str, change: Callable[[VmRecord], VmRecord]) -> VmRecord | None:
        """Replace the record with what `change` makes of it, in one step: a job and the
        metadata service may both have something to note. None when there is no record."""
        with self._lock:
            record = self._vms.get(vm_id)
            if record is None:
                return None
            changed = change(record)
            if changed != record:
                self.save(changed)
            return changed

    def save(self, record: VmRecord) -> None:
        """Durable when this returns."""
        with self._lock, self._database.transaction() as connection:
            connection.execute(
                "INSERT INTO vm (vm_id, record) VALUES (?, ?)"
                " ON CONFLICT (vm_id) DO UPDATE SET record = excluded.record",
                (record.vm_id, msgspec.msgpack.encode(record)),
            )
            self._vms[record.vm_id] = record

    def remove(self, vm_id: str) -> None:
        with self._lock, self._database.transaction() as connection:
            connection.execute("DELETE FROM vm WHERE vm_id = ?", (vm_id,))
            connection.execute("DELETE FROM boot WHERE vm_id = ?", (vm_id,))
            self._vms.pop(vm_id, None)
        self._database.scrub()

    def scrub(self) -> None:
        """Leave no trace on the disk of what records held before."""
        self._database.scrub()

    def evidence(self, vm_id: str) -> Evidence | None:
        """What is known of the guest's first boot."""
        rows = self._database.rows("SELECT evidence FROM boot WHERE vm_id = ?", vm_id)
        return _evidence.decode(cast(bytes, rows[0][0])) if rows else None

    def set_evidence(self, vm_id: str, evidence: Evidence) -> None:
        """Durable when this returns. A guest that is gone meanwhile gets none."""
        with self._lock, self._database.transaction() as connection:
            if vm_id in self._vms:
                connection.execute(
                    "INSERT INTO boot (vm_id, evidence) VALUES (?, ?)"
                    " ON CONFLICT (vm_id) DO UPDATE SET evidence = excluded.evidence",
                    (vm_id, msgspec.msgpack.encode(evidence)),
                )

    def fact(self, name: str) -> str | None:
        rows = self._database.rows("SELECT value FROM fact WHERE name = ?", name)
        return str(rows[0][0]) if rows else None

    def set_fact(self, name: str, value: str) -> None:
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT INTO fact (name, value) VALUES (?, ?)"
                " ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                (name, value),
            )
