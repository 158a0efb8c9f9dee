"""The first boot's life on the host: deadlines, erasure, live changes, re-arming."""

import asyncio
import contextlib
import time
from pathlib import Path

import msgspec
import pytest

from agent.assembly import simulated_agent
from agent.database import Database
from agent.documents import open_secrets
from agent.enrolment import enrol
from agent.errors import JobFailedError
from agent.first_boot import begun, noted, sealed
from agent.keys import load_keys
from agent.protocol import (
    BootAcknowledged,
    BootReported,
    GuestSpec,
    ShutdownVm,
    StartVm,
    StopVm,
    TellVm,
    VmChanged,
    seal,
)
from agent.records import NicMemory, Records, VmRecord
from agent.settings import Settings
from metadata.control import NicStatus
from tests.agent.fake_portal import FakePortal, fake_portal
from tests.agent.specs import create_vm, nat_nic, new_id

PASSWORD = "correct horse 42"


def record_of(**changes) -> VmRecord:
    fields = {
        "vm_id": new_id(),
        "name": "web-1",
        "vcpus": 1,
        "memory_mib": 256,
        "firmware": "bios",
        "image_id": new_id(),
        "disks": [],
        "nics": [nat_nic(), nat_nic("10.77.0.11/24")],
        "guest": GuestSpec(
            instance_id="i-1", hostname="web-1", username="admin", sealed_secrets=b"sealed"
        ),
    }
    return VmRecord(**(fields | changes))


def status_of(record: VmRecord, number: int = 0, **changes) -> NicStatus:
    fields = {
        "nic_id": record.nics[number].nic_id,
        "instance_id": "i-1",
        "state": "served",
        "done": False,
        "asked_at": 100.0,
    }
    return NicStatus(**(fields | changes))


# ------------------------------------------------------------------ what records say


def test_times_stay_when_a_new_metadata_server_knows_less():
    record = record_of()
    record = noted(record, status_of(record, served_at=101.0), 200.0)
    record = noted(record, status_of(record, state="not_asked", asked_at=None), 200.0)
    assert record.nic(record.nics[0].nic_id) == NicMemory(
        state="served", asked_at=100.0, served_at=101.0
    )


def test_the_end_on_one_nic_seals_all_and_erases():
    record = record_of()
    record = noted(
        record, status_of(record, state="sealed", done=True, sealed_at=150.0, asked_at=None), 200.0
    )
    assert record.over
    assert record.guest.sealed_secrets is None
    assert [record.nic(nic.nic_id).state for nic in record.nics] == ["sealed", "sealed"]
    assert record.nic(record.nics[1].nic_id).sealed_at == 150.0


def test_what_was_seen_of_another_instance_is_not_about_this_one():
    record = record_of()
    old = status_of(record, instance_id="i-0", state="sealed", done=True)
    assert noted(record, old, 200.0) == record


def test_the_deadline_counts_from_the_first_start_alone():
    record = begun(record_of(), 1000.0)
    assert record.seal_at == 1000.0 + 7200
    assert begun(record, 5000.0) == record
    assert sealed(record, 6000.0).seal_at is None


def test_a_new_instance_begins_at_a_start():
    again = GuestSpec(instance_id="i-2", hostname="web-1", username="admin")
    record = msgspec.structs.replace(sealed(record_of(), 10.0), next_guest=again)
    record = begun(record, 2000.0)
    assert (record.guest, record.next_guest, record.over) == (again, None, False)
    assert record.nic(record.nics[0].nic_id) == NicMemory()
    assert record.started_at == 2000.0


def test_records_of_an_agent_of_before_are_read(tmp_path):
    record = record_of(cloud_init="done")
    old = msgspec.to_builtins(record) | {"metadata": {record.nics[0].nic_id: "sealed"}}
    for name in ("over", "next_guest", "started_at"):
        del old[name]
    database = Database(tmp_path / "state.db")
    with database.transaction() as connection:
        connection.execute(
            "INSERT INTO vm (vm_id, record) VALUES (?, ?)",
            (record.vm_id, msgspec.msgpack.encode(old | {"guest": record.guest})),
        )
    read = Records(database).get(record.vm_id)
    assert read.over
    assert read.nic(record.nics[0].nic_id) == NicMemory(state="sealed")
    assert begun(read, 1.0).started_at is None


# ------------------------------------------------------------------ secrets


@pytest.fixture
def keys(tmp_path):
    return load_keys(tmp_path / "keys")


def sealed_for(keys, vm_id: str, content) -> bytes:
    return seal(keys.seal_public, msgspec.msgpack.encode(content), purpose=f"vm:{vm_id}")


@pytest.mark.parametrize(
    ("content", "code"),
    [
        ({"password": "a\nb"}, "password_invalid"),
        ({"password": ""}, "password_invalid"),
        ({"password": "x" * 257}, "password_invalid"),
        ({"password": 7}, "secrets_invalid"),
        ({"user_data": "x" * 70_000}, "secrets_invalid"),
        ({"user_data": "é" * 40_000}, "secrets_invalid"),
        ({"user_data": "a\0b"}, "secrets_invalid"),
        ({"password": PASSWORD, "surprise": 1}, "secrets_invalid"),
        (["password"], "secrets_invalid"),
        ("password", "secrets_invalid"),
    ],
)
def test_what_was_sealed_elsewhere_is_checked_where_it_is_opened(keys, content, code):
    vm_id = new_id()
    with pytest.raises(JobFailedError) as refusal:
        open_secrets(keys, vm_id, sealed_for(keys, vm_id, content))
    assert refusal.value.code == code
    assert str(refusal.value.message).endswith(".")
    assert PASSWORD not in refusal.value.message


@pytest.mark.parametrize("plain", [b"", b"\xc1", b"\x81\xa1\xff\xa1\xff", b"\x91" * 5000])
def test_what_is_no_message_is_no_secret(keys, plain):
    vm_id = new_id()
    with pytest.raises(JobFailedError) as refusal:
        open_secrets(keys, vm_id, seal(keys.seal_public, plain, purpose=f"vm:{vm_id}"))
    assert refusal.value.code == "secrets_invalid"


def test_what_was_sealed_for_another_vm_is_not_opened(keys):
    sealed_bytes = sealed_for(keys, new_id(), {"password": PASSWORD})
    with pytest.raises(JobFailedError) as refusal:
        open_secrets(keys, new_id(), sealed_bytes)
    assert refusal.value.code == "secrets_unreadable"


# ------------------------------------------------------------------ a whole agent


@pytest.fixture
async def portal():
    async with fake_portal() as running:
        yield running


@contextlib.asynccontextmanager
async def simulated(portal: FakePortal, folder: Path, pace: float = 0.02):
    identity = await enrol(portal=portal.url, token="bj_good", data=folder, name="sim-01")
    agent = simulated_agent(Settings(data=str(folder), identity=identity), seed=1, pace=pace)
    task = asyncio.create_task(agent.run())
    try:
        await portal.connected()
        yield agent
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await agent.stop()


def on_disk(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.glob("state.db*"))


def creation(agent, **more):
    job = create_vm()
    secrets = sealed_for(agent.host.keys, job.vm_id, {"password": PASSWORD, "user_data": None})
    guest = GuestSpec(
        instance_id=job.vm_id,
        hostname="web-1",
        username="admin",
        sealed_secrets=secrets,
        **more,
    )
    return msgspec.structs.replace(job, guest=guest), secrets


async def made(portal, agent, **more):
    host = agent.host.settings.identity.hypervisor_id
    job, secrets = creation(agent, **more)
    outcome = await portal.outcome(await portal.job(host, job))
    assert outcome.error is None
    return host, job, secrets


async def verdict(portal, wanted: str, *, instance: str | None = None) -> BootReported:
    return await portal.wait(
        BootReported,
        lambda one: one.boot.verdict == wanted and instance in (None, one.boot.instance_id),
    )


async def test_times_and_verdict_reach_the_portal_and_secrets_leave_the_disk(portal, tmp_path):
    async with simulated(portal, tmp_path) as agent:
        _, job, secrets = await made(portal, agent)
        told = await verdict(portal, "done")
        changed = await portal.wait(
            VmChanged, lambda one: one.vm is not None and one.vm.nics[0].metadata == "sealed"
        )
        nic = changed.vm.nics[0]
        assert nic.asked_at <= nic.served_at <= nic.sealed_at <= time.time()
        assert [stage.status for stage in told.boot.stages] == ["ok"] * 4
        assert agent.host.records.get(job.vm_id).guest.sealed_secrets is None
        # The whole of it: the record, the journal, and the write-ahead log of both.
        assert secrets[40:72] not in on_disk(tmp_path)


async def test_news_of_a_boot_is_told_again_until_it_is_acknowledged(portal, tmp_path):
    async with simulated(portal, tmp_path) as agent:
        host, job, _ = await made(portal, agent)
        await portal.wait(BootReported, lambda one: one.boot.datasource != "")
        portal.received.clear()
        await portal.cut()
        told = await verdict(portal, "done")
        await portal.send(host, BootAcknowledged(vm_id=job.vm_id, number=told.number))
        for _ in range(100):
            known = agent.host.records.evidence(job.vm_id)
            if known.acknowledged == known.number:
                break
            await asyncio.sleep(0.05)
        portal.received.clear()
        await portal.cut()
        await portal.connected()
        await asyncio.sleep(0.3)
        assert not any(isinstance(message, BootReported) for message in portal.received)


async def test_a_guest_that_never_reports_is_sealed_when_its_time_is_over(portal, tmp_path):
    """A pace that no boot ends in: as if the guest said nothing."""
    async with simulated(portal, tmp_path, pace=0.02) as agent:
        agent.host.plumber._pace = 10_000
        _, job, secrets = await made(portal, agent, first_boot_s=60)
        await agent.host.change(
            job.vm_id, lambda known: msgspec.structs.replace(known, started_at=time.time() - 61)
        )
        told = await verdict(portal, "failed")
        assert told.boot.reason == "no_datasource"
        record = agent.host.records.get(job.vm_id)
        assert (record.over, record.cloud_init) == (True, "failed")
        assert secrets[40:72] not in on_disk(tmp_path)


async def test_the_deadline_passes_for_a_guest_that_is_off_and_over_a_restart(portal, tmp_path):
    async with simulated(portal, tmp_path, pace=0.02) as agent:
        agent.host.plumber._pace = 10_000
        host, job, _ = await made(portal, agent, first_boot_s=60)
        await portal.outcome(await portal.job(host, StopVm(vm_id=job.vm_id)))
        await agent.host.change(
            job.vm_id, lambda known: msgspec.structs.replace(known, started_at=time.time() - 61)
        )
        await agent.stop()
    portal.received.clear()
    async with simulated(portal, tmp_path) as agent:
        await verdict(portal, "failed")
        record = agent.host.records.get(job.vm_id)
        assert record.over
        assert record.guest.sealed_secrets is None


async def test_keys_are_changed_without_a_word_about_secrets(portal, tmp_path):
    async with simulated(portal, tmp_path) as agent:
        host, job, _ = await made(portal, agent)
        await verdict(portal, "done")
        wanted = GuestSpec(
            instance_id=job.vm_id, hostname="web-1", username="admin", ssh_keys=["ssh-rsa NEW"]
        )
        told = await portal.outcome(await portal.job(host, TellVm(vm_id=job.vm_id, guest=wanted)))
        assert told.error is None
        record = agent.host.records.get(job.vm_id)
        assert record.guest.ssh_keys == ["ssh-rsa NEW"]
        assert (record.over, record.next_guest) == (True, None)


async def test_a_password_is_reset_at_the_next_start_and_not_before(portal, tmp_path):
    async with simulated(portal, tmp_path) as agent:
        host, job, _ = await made(portal, agent)
        await verdict(portal, "done")
        again = GuestSpec(
            instance_id=new_id(),
            hostname="web-1",
            username="admin",
            sealed_secrets=sealed_for(agent.host.keys, job.vm_id, {"password": "another one 43"}),
        )
        told = await portal.outcome(await portal.job(host, TellVm(vm_id=job.vm_id, guest=again)))
        assert told.error is None
        record = agent.host.records.get(job.vm_id)
        assert (record.guest.instance_id, record.over) == (job.vm_id, True)
        assert record.next_guest == again

        await portal.outcome(await portal.job(host, ShutdownVm(vm_id=job.vm_id)))
        await portal.outcome(await portal.job(host, StartVm(vm_id=job.vm_id)))
        await verdict(portal, "done", instance=again.instance_id)
        record = agent.host.records.get(job.vm_id)
        assert (record.guest.instance_id, record.next_guest) == (again.instance_id, None)
        assert record.guest.sealed_secrets is None
        assert again.sealed_secrets[40:72] not in on_disk(tmp_path)


async def test_a_guest_that_is_off_waits_for_its_new_first_boot_at_once(portal, tmp_path):
    async with simulated(portal, tmp_path) as agent:
        host, job, _ = await made(portal, agent)
        await verdict(portal, "done")
        await portal.outcome(await portal.job(host, StopVm(vm_id=job.vm_id)))
        again = GuestSpec(instance_id=new_id(), hostname="web-1", username="admin")
        told = await portal.outcome(await portal.job(host, TellVm(vm_id=job.vm_id, guest=again)))
        assert [nic.metadata for nic in told.vm.nics] == ["not_asked"]
        await verdict(portal, "waiting", instance=again.instance_id)


async def test_secrets_that_cannot_be_opened_change_nothing(portal, tmp_path):
    async with simulated(portal, tmp_path) as agent:
        host, job, _ = await made(portal, agent)
        before = agent.host.records.get(job.vm_id).guest.instance_id
        again = GuestSpec(
            instance_id=new_id(), hostname="web-1", username="admin", sealed_secrets=b"x" * 80
        )
        told = await portal.outcome(await portal.job(host, TellVm(vm_id=job.vm_id, guest=again)))
        assert told.error.code == "secrets_unreadable"
        record = agent.host.records.get(job.vm_id)
        assert (record.guest.instance_id, record.next_guest) == (before, None)


async def test_a_creation_with_secrets_for_another_host_leaves_nothing(portal, tmp_path):
    async with simulated(portal, tmp_path) as agent:
        host = agent.host.settings.identity.hypervisor_id
        guest = GuestSpec(
            instance_id="i-1", hostname="web-1", username="admin", sealed_secrets=b"x" * 80
        )
        outcome = await portal.outcome(await portal.job(host, create_vm(guest=guest)))
        assert outcome.error.code == "secrets_unreadable"
        assert agent.host.records.all() == []
