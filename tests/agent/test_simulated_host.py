"""A simulated host is a real agent on a real link, and behaves as a host does."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent.assembly import simulated_agent
from agent.enrolment import enrol
from agent.protocol import (
    DeleteVm,
    DiskSpec,
    OpenStream,
    RebootVm,
    ResizeVm,
    Screenshot,
    ShutdownVm,
    Snapshot,
    StartVm,
    StopVm,
    StreamRefused,
    TakeScreenshot,
    VmChanged,
)
from agent.service import Agent
from agent.settings import Settings
from agent.usage import UsageMeter
from tests.agent.fake_portal import FakePortal, fake_portal
from tests.agent.specs import GIB, create_vm, new_id


@pytest.fixture
async def portal() -> AsyncIterator[FakePortal]:
    async with fake_portal() as running:
        yield running


@contextlib.asynccontextmanager
async def simulated(portal: FakePortal, folder: Path, pace: float = 0.02) -> AsyncIterator[Agent]:
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


async def test_a_vm_is_made_configured_stopped_resized_started_and_deleted(portal, tmp_path):
    async with simulated(portal, tmp_path) as agent:
        host = agent.host.settings.identity.hypervisor_id
        job = create_vm()

        made = await portal.outcome(await portal.job(host, job))
        assert made.error is None
        assert made.vm.power == "running"
        assert made.vm.nics[0].addresses == ["10.77.0.10/24"]
        await portal.wait(VmChanged, lambda one: one.vm is not None and one.vm.cloud_init == "done")

        down = await portal.outcome(await portal.job(host, ShutdownVm(vm_id=job.vm_id)))
        assert (down.error, down.vm.power) == (None, "off")
        disks = [DiskSpec(disk_id=job.disks[0].disk_id, size=8 * GIB)]
        resize = ResizeVm(vm_id=job.vm_id, vcpus=2, memory_mib=512, disks=disks)
        sized = await portal.outcome(await portal.job(host, resize))
        assert (sized.vm.vcpus, sized.vm.memory_mib) == (2, 512)
        assert sized.vm.disks[0].capacity == 8 * GIB
        up = await portal.outcome(await portal.job(host, StartVm(vm_id=job.vm_id)))
        assert up.vm.power == "running"

        gone = await portal.outcome(await portal.job(host, DeleteVm(vm_id=job.vm_id)))
        assert (gone.error, gone.vm) == (None, None)
        assert agent.host.records.all() == []


async def test_a_vm_that_needs_too_much_memory_is_refused_and_leaves_nothing(portal, tmp_path):
    async with simulated(portal, tmp_path) as agent:
        host = agent.host.settings.identity.hypervisor_id
        outcome = await portal.outcome(await portal.job(host, create_vm(memory_mib=16_000_000)))
        assert outcome.error.code == "not_enough_memory"
        assert "16000000 MiB" in outcome.error.message
        assert outcome.vm is None
        assert agent.host.records.all() == []


async def test_disks_larger_than_the_host_are_refused(portal, tmp_path):
    async with simulated(portal, tmp_path) as agent:
        host = agent.host.settings.identity.hypervisor_id
        disk = DiskSpec(disk_id=new_id(), size=10**15, boot=True)
        outcome = await portal.outcome(await portal.job(host, create_vm(disks=[disk])))
        assert outcome.error.code == "not_enough_disk"


async def test_a_job_sent_twice_is_done_once(portal, tmp_path):
    async with simulated(portal, tmp_path) as agent:
        host = agent.host.settings.identity.hypervisor_id
        portal.acknowledge = False
        job_id = await portal.job(host, create_vm())
        first = await portal.outcome(job_id)
        portal.received.clear()
        await portal.job(host, create_vm(name="other"), job_id=job_id)
        assert await portal.outcome(job_id) == first
        assert [record.name for record in agent.host.records.all()] == ["web-1"]


async def test_an_outcome_is_told_on_each_link_until_it_is_acknowledged(portal, tmp_path):
    async with simulated(portal, tmp_path) as agent:
        host = agent.host.settings.identity.hypervisor_id
        portal.acknowledge = False
        job_id = await portal.job(host, StopVm(vm_id=new_id()))
        first = await portal.outcome(job_id)
        assert first.error.code == "vm_not_found"

        portal.received.clear()
        portal.acknowledge = True
        await portal.cut()
        assert await portal.outcome(job_id) == first
        for _ in range(100):
            if not agent.host.journal.job_ids():
                break
            await asyncio.sleep(0.05)
        assert agent.host.journal.job_ids() == []


async def test_deleting_what_is_gone_succeeds(portal, tmp_path):
    async with simulated(portal, tmp_path) as agent:
        host = agent.host.settings.identity.hypervisor_id
        outcome = await portal.outcome(await portal.job(host, DeleteVm(vm_id=new_id())))
        assert outcome.error is None


async def test_a_stopped_vm_cannot_be_restarted_but_is_told_what_to_do(portal, tmp_path):
    async with simulated(portal, tmp_path) as agent:
        host = agent.host.settings.identity.hypervisor_id
        job = create_vm()
        await portal.outcome(await portal.job(host, job))
        await portal.outcome(await portal.job(host, StopVm(vm_id=job.vm_id)))
        outcome = await portal.outcome(await portal.job(host, RebootVm(vm_id=job.vm_id)))
        assert "Start it instead" in outcome.error.message


async def test_guests_outlive_the_agent(portal, tmp_path):
    job = create_vm()
    async with simulated(portal, tmp_path) as agent:
        host = agent.host.settings.identity.hypervisor_id
        await portal.outcome(await portal.job(host, job))
    portal.received.clear()
    async with simulated(portal, tmp_path):
        snapshot = await portal.connected()
        assert [(vm.vm_id, vm.power) for vm in snapshot.vms] == [(job.vm_id, "running")]


async def test_a_power_cut_starts_the_guests_that_should_run(portal, tmp_path):
    always, never = create_vm(), create_vm(name="by-hand", autostart=False)
    async with simulated(portal, tmp_path) as agent:
        host = agent.host.settings.identity.hypervisor_id
        await portal.outcome(await portal.job(host, always))
        await portal.outcome(await portal.job(host, never))
        # What a power cut leaves: everything off, and another boot id at the next start.
        await agent.host.driver.force_off(always.vm_id)
        await agent.host.driver.force_off(never.vm_id)
        agent.host.records.set_fact("boot_id", "the boot before")
    portal.received.clear()
    async with simulated(portal, tmp_path) as agent:
        await portal.wait(Snapshot, lambda one: {vm.power for vm in one.vms} == {"running", "off"})
        powers = {vm.vm_id: vm.power for vm in (await agent.host.snapshot()).vms}
        assert powers == {always.vm_id: "running", never.vm_id: "off"}


async def test_a_host_enrols_again_as_itself(portal, tmp_path):
    first = await enrol(portal=portal.url, token="bj_good", data=tmp_path, name="sim-01")
    assert await enrol(portal=portal.url, token="bj_good", data=tmp_path) == first
    assert (tmp_path / "agent.json").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "keys" / "sign.key").stat().st_mode & 0o777 == 0o600


async def test_a_serial_console_is_dialled_back_and_answers(portal, tmp_path):
    async with simulated(portal, tmp_path) as agent:
        host = agent.host.settings.identity.hypervisor_id
        job = create_vm()
        await portal.outcome(await portal.job(host, job))
        stream_id = new_id()
        await portal.send(host, OpenStream(stream_id=stream_id, vm_id=job.vm_id, kind="serial"))
        stream = await portal.stream(stream_id)
        assert b"login: " in (await stream.receive(10)).data
        await stream.send_bytes(b"root\r")
        assert b"root" in (await stream.receive(10)).data
        await stream.close()


async def test_a_console_of_an_unknown_vm_is_refused(portal, tmp_path):
    async with simulated(portal, tmp_path) as agent:
        host = agent.host.settings.identity.hypervisor_id
        stream_id = new_id()
        await portal.send(host, OpenStream(stream_id=stream_id, vm_id=new_id(), kind="vnc"))
        refused = await portal.wait(StreamRefused, lambda one: one.stream_id == stream_id)
        assert refused.error.code == "vm_not_found"


async def test_its_vms_are_measured_but_have_no_screen(portal, tmp_path):
    async with simulated(portal, tmp_path) as agent:
        host = agent.host.settings.identity.hypervisor_id
        job = create_vm()
        await portal.outcome(await portal.job(host, job))
        await portal.send(host, TakeScreenshot(request_id=new_id(), vm_id=job.vm_id))
        answer = await portal.wait(Screenshot)
        assert answer.png is None
        assert "simulated" in answer.error.message
        at = [0.0]
        meter = UsageMeter(agent.host.driver, clock=lambda: at[0])
        assert await meter.measure(agent.host.records.all()) == []
        await asyncio.sleep(0.1)
        at[0] += 0.2
        (usage,) = await meter.measure(agent.host.records.all())
        assert usage.vm_id == job.vm_id
        assert 0 <= usage.cpu_percent <= 100
        assert 0 < usage.memory_used_mib <= job.memory_mib


async def test_a_screen_of_no_vm_is_refused(portal, tmp_path):
    async with simulated(portal, tmp_path) as agent:
        host = agent.host.settings.identity.hypervisor_id
        asked = new_id()
        await portal.send(host, TakeScreenshot(request_id=asked, vm_id=new_id()))
        answer = await portal.wait(Screenshot)
        assert (answer.request_id, answer.error.code) == (asked, "vm_not_found")
