"""What hostile agents reach over a link: nothing of others."""

import contextlib
import uuid

import pytest
from websockets.exceptions import ConnectionClosed

from agent.protocol import (
    VERSION,
    Hello,
    JobAcknowledged,
    JobFinished,
    JobProgress,
    JobRequest,
    VmChanged,
    VmReport,
)
from hypervisors.models import Hypervisor, Job, Status
from hypervisors.sockets import in_database
from tests.factories import JobFactory, VirtualMachineFactory
from tests.hypervisors.fake_agent import USAGE, FakeAgent, snapshot_of
from tests.hypervisors.links import fresh, make_host, offline, online, start_of
from tests.hypervisors.running_portal import closed_with, eventually


async def test_words_about_another_hosts_job_change_nothing_and_are_acknowledged(portal):
    host = await make_host()
    theirs = await in_database(lambda: JobFactory(status=Status.RUNNING))
    unknown = str(uuid.uuid4())
    async with FakeAgent(portal, host) as agent:
        await agent.open()
        for job_id in (str(theirs.pk), unknown):
            await agent.say(JobProgress(job_id=job_id, percent=99, step="mine"))
            await agent.say(JobFinished(job_id=job_id))
            assert (await agent.hear(JobAcknowledged)).job_id == job_id
    seen = await fresh(theirs)
    assert (seen.status, seen.progress) == (Status.RUNNING, 0)


async def test_words_about_another_hosts_vm_change_nothing(portal):
    host = await make_host()
    theirs = await in_database(lambda: VirtualMachineFactory(observed_power="running"))
    report = VmReport(vm_id=str(theirs.pk), power="off")
    async with FakeAgent(portal, host) as agent:
        await agent.open(snapshot_of(report))
        await agent.say(VmChanged(vm_id=str(theirs.pk), vm=report))
        await agent.say(JobFinished(job_id=str(uuid.uuid4()), vm=report))
        await agent.hear(JobAcknowledged)
    assert (await fresh(theirs)).observed_power == "running"


@pytest.mark.parametrize(
    "garbage",
    [b"", b"\x00", b"\xff" * 500, b"\x81\xa4type\xa5Hello", b"\xc1", b"\x91" * 4000, "text"],
)
async def test_garbage_closes_the_link_and_nothing_else(portal, garbage):
    host = await make_host()
    async with FakeAgent(portal, host) as agent:
        await agent.open()
        await eventually(online(host))
        await agent.socket.send(garbage)
        assert (await closed_with(agent.socket))[0] == 4400
    await eventually(offline(host))
    async with FakeAgent(portal, host) as again:
        await again.open()
        await eventually(online(host))


async def test_a_second_hello_is_no_way_to_become_another_host(portal):
    host, other = await make_host(), await make_host()
    async with FakeAgent(portal, host) as agent:
        await agent.open()
        await agent.say(
            Hello(
                hypervisor_id=str(other.pk),
                protocol=VERSION,
                signature=bytes(64),
                run_id=agent.run_id,
                agent_version="x",
            )
        )
        assert (await closed_with(agent.socket))[0] == 4400
    assert not (await fresh(other)).online


async def test_a_long_message_before_the_handshake_is_not_read(portal):
    host = await make_host()
    async with FakeAgent(portal, host) as agent:
        await agent.socket.send(bytes(5000))
        assert (await closed_with(agent.socket))[0] == 1009


async def test_a_message_over_the_limit_closes_the_link(portal):
    host = await make_host()
    async with FakeAgent(portal, host) as agent:
        await agent.open()
        with contextlib.suppress(ConnectionClosed):
            await agent.socket.send(bytes(8 * 1024**2 + 1))
        assert (await closed_with(agent.socket))[0] == 1009


async def test_nul_and_infinity_do_not_cost_the_host_its_link(portal):
    host = await make_host()
    async with FakeAgent(portal, host) as agent:
        await agent.open(snapshot_of(cpu_model="a\x00b", problems=["bad\x00disk"]))
        await agent.say(type(USAGE)(cpu_percent=1, memory_used_mib=1, disk_used=1, load1=1e400))
        await eventually(lambda: Hypervisor.objects.get(pk=host.pk).usage["cpu_percent"] == 1)
        seen = await fresh(host)
        assert seen.facts["cpu_model"] == "a\ufffdb"


async def test_progress_of_one_step_is_not_written_for_every_percent(portal):
    vm = await in_database(VirtualMachineFactory)
    async with FakeAgent(portal, vm.hypervisor) as agent:
        await agent.open()
        job = await in_database(start_of(vm))
        request = await agent.hear(JobRequest)
        for percent in range(1, 90):
            await agent.say(
                JobProgress(job_id=request.job_id, percent=percent, step="Downloading the image")
            )
        await agent.say(JobFinished(job_id=str(uuid.uuid4())))
        await agent.hear(JobAcknowledged)
        assert (await fresh(job)).progress < 30
        await agent.say(JobProgress(job_id=request.job_id, percent=90, step="Starting"))
        await eventually(lambda: Job.objects.filter(pk=job.pk, progress=90).exists())
