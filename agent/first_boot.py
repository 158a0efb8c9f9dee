"""The first boot's life on the host: begun, told of, over, and begun anew.

Over it is when the guest says so or when its time has passed, whatever comes first; then secrets
are erased, here first and from the metadata server next, so that a death in between errs on
sealed. The server keeps the deadline as well, should this agent be away.
"""

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec
import structlog

from agent.boot.evidence import Evidence, with_files, with_source, with_word
from agent.boot.redaction import cleaned, secret_words
from agent.boot.serial import SerialText, with_serial
from agent.boot.verdict import boot_of
from agent.documents import open_secrets
from agent.errors import JobFailedError
from agent.protocol import BootReported, GuestSpec
from agent.records import NicMemory, VmRecord
from metadata.boot_reports import BootFinal, read_report

if TYPE_CHECKING:
    from agent.host import Host
    from metadata.control import NicStatus, Reported

log = structlog.get_logger("agent.first_boot")

_LOOK_S = 3.0
_ASK_AGENT_S = 20.0
_STATUS, _RESULT = "/run/cloud-init/status.json", "/run/cloud-init/result.json"
_LAST_WORD_S = 900.0
"""So long after the seal the guest's last word is waited for."""
_RANK = {"not_asked": 0, "served": 1, "sealed": 2}
_CLOUD_INIT = {
    "waiting": "running",
    "running": "running",
    "done": "done",
    "degraded": "done",
    "failed": "failed",
}


# ------------------------------------------------------------------ what a record says then


def begun(record: VmRecord, now: float) -> VmRecord:
    """The record at a start of the guest. A new instance that was waiting begins here."""
    if record.next_guest is not None:
        record = anew(record, record.next_guest)
    if record.started_at is None and not record.over:
        record = msgspec.structs.replace(record, started_at=now)
    return record


def anew(record: VmRecord, guest: GuestSpec) -> VmRecord:
    """The record before the first boot of `guest`, another instance."""
    return msgspec.structs.replace(
        record,
        guest=guest,
        next_guest=None,
        metadata={},
        over=False,
        started_at=None,
        cloud_init="running" if record.nics else "unknown",
    )


def sealed(record: VmRecord, now: float) -> VmRecord:
    """The record after the first boot, without its secrets."""
    return msgspec.structs.replace(
        record,
        over=True,
        guest=msgspec.structs.replace(record.guest, sealed_secrets=None),
        metadata={
            nic.nic_id: msgspec.structs.replace(
                record.nic(nic.nic_id),
                state="sealed",
                sealed_at=record.nic(nic.nic_id).sealed_at or now,
            )
            for nic in record.nics
        },
    )


def noted(record: VmRecord, status: "NicStatus", now: float) -> VmRecord:
    """The record with what the metadata server saw on one NIC. A server that was started anew
    knows less than we do: what was once known stays."""
    if status.instance_id and status.instance_id != record.guest.instance_id:
        return record
    known = record.nic(status.nic_id)
    memory = NicMemory(
        state=max(known.state, status.state, key=lambda state: _RANK.get(state, 0)),
        asked_at=known.asked_at or status.asked_at,
        served_at=known.served_at or status.served_at,
        sealed_at=known.sealed_at or status.sealed_at,
        lan_dhcp=status.lan_dhcp if status.lan_dhcp != "unknown" else known.lan_dhcp,
    )
    record = msgspec.structs.replace(record, metadata={**record.metadata, status.nic_id: memory})
    if status.done:
        record = sealed(record, status.sealed_at or now)
    return record


# ------------------------------------------------------------------ keeping it


class FirstBoots:
    """All first boots of this host's guests: their states, deadlines and verdicts."""

    def __init__(self, host: "Host") -> None:
        self._host = host
        self._turn = asyncio.Lock()
        self._secrets: dict[str, frozenset[str]] = {}
        """Words to keep out of logs. In memory alone, and not for long."""
        self._serial: dict[str, tuple[SerialText, int]] = {}
        self._ask_agent_at: dict[str, float] = {}
        self._over_since: dict[str, float] = {}
        self._serving: set[asyncio.Task[None]] = set()

    # ---- what happens

    async def begin(self, record: VmRecord) -> VmRecord:
        """At each start of a guest that was off. Raises JobFailedError."""
        host = self._host
        changed = await host.change(record.vm_id, lambda known: begun(known, time.time()))
        self._serial.pop(record.vm_id, None)
        if changed.over:
            await asyncio.to_thread(host.disks.remove_serial, record.vm_id)
        else:
            await self.expect(changed)
        return changed

    async def expect(self, record: VmRecord) -> None:
        """From now on the portal shows the boot of this instance."""
        if record.nics:
            await self._learn(record, lambda known: known)

    async def adopt(self, record: VmRecord) -> VmRecord:
        """A guest that runs already, started by an agent that counted no time."""
        record = await self._host.change(record.vm_id, _counted)
        if not record.over:
            await self.expect(record)
        return record

    async def saw_nic(self, status: "NicStatus") -> None:
        """The metadata service saw something on a NIC."""
        host = self._host
        record = host.records.of_nic(status.nic_id)
        if record is None:
            return
        self._words(record)
        # No lock of the guest: a running job on it, above all its creation, must not delay
        # this.
        changed = await asyncio.to_thread(
            host.records.update, record.vm_id, lambda known: noted(known, status, time.time())
        )
        if changed is None:
            return
        if changed.over and not record.over:
            await asyncio.to_thread(host.records.scrub)
        if changed != record:
            log.info(
                "metadata",
                vm_id=record.vm_id,
                nic_id=status.nic_id,
                state=status.state,
                done=status.done,
            )
        other = status.instance_id and status.instance_id != changed.guest.instance_id
        if not other:
            late = changed.over and not record.over and _is_late(record)
            await self._learn(changed, lambda known: _with_status(known, status, late=late))
        if changed != record:
            await host.publish(record.vm_id)

    async def heard(self, report: "Reported") -> None:
        """A guest said something about its first boot."""
        record = self._host.records.of_nic(report.nic_id)
        if record is None or report.instance_id != record.guest.instance_id:
            return
        secrets = self._words(record)
        await self._learn(record, lambda known: with_word(known, report.word, secrets))

    async def acknowledged(self, vm_id: str, number: int) -> None:
        """The portal has stored this news."""
        async with self._turn:
            known = await asyncio.to_thread(self._host.records.evidence, vm_id)
            if known is not None and number > known.acknowledged:
                known = msgspec.structs.replace(known, acknowledged=min(number, known.number))
                await asyncio.to_thread(self._host.records.set_evidence, vm_id, known)

    async def retell(self) -> None:
        """On a new link: what the portal may not have heard."""
        for record in self._host.records.all():
            known = await asyncio.to_thread(self._host.records.evidence, record.vm_id)
            if known is not None and known.acknowledged < known.number:
                self._tell(record.vm_id, known)

    # ---- what time brings

    async def run(self) -> None:
        """Until cancelled: deadlines, serial lines, guest agents."""
        while True:
            for record in self._host.records.all():
                try:
                    await self._look(record)
                except Exception:
                    log.exception("a first boot cannot be looked at", vm_id=record.vm_id)
            self._forget_the_gone()
            await asyncio.sleep(_LOOK_S)

    def _forget_the_gone(self) -> None:
        records = self._host.records.all()
        guests = {record.vm_id for record in records}
        instances = {record.guest.instance_id for record in records}
        for kept, alive in (
            (self._serial, guests),
            (self._ask_agent_at, guests),
            (self._secrets, instances),
            (self._over_since, instances),
        ):
            for gone in set(kept) - alive:
                del kept[gone]

    async def _look(self, record: VmRecord) -> None:
        now = time.time()
        if not record.made:
            return
        instance = record.guest.instance_id
        if record.over:
            since = self._over_since.setdefault(instance, now)
            if now - since > _LAST_WORD_S:
                self._secrets.pop(instance, None)
                self._serial.pop(record.vm_id, None)
            elif record.vm_id in self._serial:
                await self._read_serial(record)
                await self._ask_agent(record)
            return
        if record.seal_at is not None and record.seal_at <= now:
            await self.end(record)
            return
        await self._read_serial(record)
        if record.vm_id in self._host.plumbed:
            await self._ask_agent(record)

    async def end(self, record: VmRecord) -> None:
        """The time for the first boot has passed: nothing secret is served any more."""
        host = self._host
        log.info("the time for the first boot has passed", vm_id=record.vm_id)
        self._words(record)
        changed = await asyncio.to_thread(
            host.records.update, record.vm_id, lambda known: sealed(known, time.time())
        )
        await asyncio.to_thread(host.records.scrub)
        if changed is None:
            return
        await self._learn(
            changed, lambda known: msgspec.structs.replace(known, overdue=not known.home)
        )
        await host.publish(record.vm_id)
        # In a task: a job that holds the guest must not put off the others' deadlines.
        task = asyncio.create_task(self._serve_again(record.vm_id))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _serve_again(self, vm_id: str) -> None:
        try:
            await self._host.serve_again(vm_id)
        except Exception:
            # The server has the deadline itself, and every start of the guest or the agent
            # serves what the record says.
            log.exception("a sealed guest could not be told of", vm_id=vm_id)

    async def _ask_agent(self, record: VmRecord) -> None:
        """The guest agent, now and then, where the guest has said no last word itself."""
        now = time.monotonic()
        if now < self._ask_agent_at.get(record.vm_id, 0.0):
            return
        self._ask_agent_at[record.vm_id] = now + _ASK_AGENT_S
        known = await asyncio.to_thread(self._host.records.evidence, record.vm_id)
        if known is None or known.told:
            return
        try:
            files = await self._host.driver.guest_files(record.vm_id, [_STATUS, _RESULT])
        except JobFailedError:
            return
        if not files:
            return
        body = {"status": _loaded(files.get(_STATUS)), "result": _loaded(files.get(_RESULT))}
        word = read_report(msgspec.json.encode(body), now=time.time())
        if isinstance(word, BootFinal):
            secrets = self._words(record)
            errors = {name: cleaned(told, secrets) for name, told in word.errors.items()}
            final = msgspec.structs.replace(word, errors=errors)
            ended = _RESULT in files
            await self._learn(record, lambda known: with_files(known, final, ended=ended))

    async def _read_serial(self, record: VmRecord) -> None:
        text, offset = self._serial.get(record.vm_id, (SerialText(), 0))
        data, offset = await asyncio.to_thread(self._host.disks.read_serial, record.vm_id, offset)
        self._serial[record.vm_id] = text, offset
        lines = text.feed(data) if data else []
        if lines:
            secrets = self._words(record)
            await self._learn(
                record, lambda known: with_serial(known, lines, now=time.time(), secrets=secrets)
            )

    # ---- what is known

    async def _learn(self, record: VmRecord, change: Callable[[Evidence], Evidence]) -> None:
        """Add to what is known of the guest's first boot; tell it if that is news."""
        host = self._host
        async with self._turn:
            before = await asyncio.to_thread(host.records.evidence, record.vm_id)
            known = before
            if before is None and record.over:
                return  # configured before anybody took notes
            if known is None or known.instance_id != record.guest.instance_id:
                number = known.number if known is not None else 0
                known = Evidence(
                    instance_id=record.guest.instance_id,
                    identity=record.guest.identity,
                    number=number,
                    acknowledged=number,
                )
            changed = change(known)
            if changed == before:
                return
            if before is None or boot_of(changed) != boot_of(before):
                changed = msgspec.structs.replace(changed, number=known.number + 1)
            await asyncio.to_thread(host.records.set_evidence, record.vm_id, changed)
        if changed.number != known.number:
            await self._note_verdict(record, changed)
            self._tell(record.vm_id, changed)

    async def _note_verdict(self, record: VmRecord, known: Evidence) -> None:
        said = _CLOUD_INIT[boot_of(known).verdict]
        if said == record.cloud_init or not record.nics:
            return
        host = self._host
        changed = await asyncio.to_thread(
            host.records.update,
            record.vm_id,
            lambda now: (
                msgspec.structs.replace(now, cloud_init=said)
                if now.guest.instance_id == known.instance_id
                else now
            ),
        )
        if changed is not None:
            await host.publish(record.vm_id)

    def _tell(self, vm_id: str, known: Evidence) -> None:
        self._host.outbox.put(BootReported(vm_id=vm_id, number=known.number, boot=boot_of(known)))

    def _words(self, record: VmRecord) -> frozenset[str]:
        """What must not show in the guest's log lines."""
        instance = record.guest.instance_id
        if instance not in self._secrets and not record.over:
            try:
                opened = open_secrets(self._host.keys, record.vm_id, record.guest.sealed_secrets)
            except JobFailedError:
                return frozenset()
            self._secrets[instance] = secret_words(opened.password, opened.user_data)
        return self._secrets.get(instance, frozenset())


def _loaded(content: bytes | None) -> object:
    """JSON that a guest wrote. What is none is nothing."""
    try:
        return msgspec.json.decode(content or b"null")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _counted(record: VmRecord) -> VmRecord:
    if record.started_at is not None or record.over:
        return record
    return msgspec.structs.replace(record, started_at=time.time())


def _is_late(record: VmRecord) -> bool:
    return record.seal_at is not None and record.seal_at <= time.time()


def _with_status(known: Evidence, status: "NicStatus", *, late: bool) -> Evidence:
    if status.asked_at is not None or status.state == "served":
        known = msgspec.structs.replace(known, asked=True)
    if status.reported_at is not None:
        known = with_source(msgspec.structs.replace(known, home=True, asked=True), "phone_home")
    if late and not known.home:
        # The server kept the deadline while nobody else did.
        known = msgspec.structs.replace(known, overdue=True)
    return known
