"""SIGKILL at any step of a job: the next start brings it to its one end."""

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent.database import Database
from agent.journal import Journal
from agent.protocol import DeleteVm, JobFinished, JobProgress, Snapshot
from tests.agent.fake_portal import FakePortal, fake_portal
from tests.agent.specs import create_vm

ROOT = Path(__file__).parents[2]


@pytest.fixture
async def portal() -> AsyncIterator[FakePortal]:
    async with fake_portal() as running:
        yield running


@contextlib.asynccontextmanager
async def agent_process(portal: FakePortal, folder: Path) -> AsyncIterator[subprocess.Popen]:
    module = [sys.executable, "-m", "tests.agent.simulated_process"]
    arguments = [*module, portal.url, str(folder), "0.3"]
    process = await asyncio.to_thread(subprocess.Popen, arguments, cwd=ROOT)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize(
    "step",
    [
        "Downloading the image 3",
        "Making disks",
        "Starting the guest",
    ],
)
async def test_a_creation_that_is_killed_ends_once(portal, tmp_path, step):
    job = create_vm()
    async with agent_process(portal, tmp_path) as process:
        await portal.connected()
        host = next(iter(portal.hosts))
        job_id = await portal.job(host, job)
        await portal.wait(JobProgress, lambda one: one.step.startswith(step))
        process.kill()
        process.wait()
    assert not [one for one in portal.received if isinstance(one, JobFinished)]
    portal.received.clear()

    async with agent_process(portal, tmp_path):
        outcome = await portal.outcome(job_id)
        assert outcome.error is None
        assert outcome.vm.power == "running"
        # The portal asks again in its doubt: nothing is made twice.
        await portal.job(host, job, job_id=job_id)
        await asyncio.sleep(0.5)
        ends = [one for one in portal.received if isinstance(one, JobFinished)]
        assert {one.job_id for one in ends} == {job_id}
        assert all(one.error is None for one in ends)


async def test_a_deletion_that_is_killed_ends_and_leaves_nothing(portal, tmp_path):
    job = create_vm()
    async with agent_process(portal, tmp_path) as process:
        await portal.connected()
        host = next(iter(portal.hosts))
        await portal.outcome(await portal.job(host, job))
        deletion = await portal.job(host, DeleteVm(vm_id=job.vm_id))
        await portal.wait(JobProgress, lambda one: one.job_id == deletion)
        process.kill()
        process.wait()
    portal.received.clear()
    async with agent_process(portal, tmp_path):
        assert (await portal.outcome(deletion)).error is None
        # A second job's end says that the first one's acknowledgement was read.
        await portal.outcome(await portal.job(host, DeleteVm(vm_id=job.vm_id)))
    portal.received.clear()
    async with agent_process(portal, tmp_path):
        snapshot = await portal.wait(Snapshot)
        assert snapshot.vms == []
        assert deletion not in snapshot.jobs


def test_what_the_journal_has_accepted_survives_a_kill(tmp_path):
    writer = f"""
import sys, time, uuid
from pathlib import Path
from agent.database import Database
from agent.journal import Journal
from agent.protocol import JobRequest, StopVm
journal = Journal(Database(Path({str(tmp_path / "state.db")!r})))
while True:
    job_id = str(uuid.uuid4())
    journal.accept(JobRequest(job_id=job_id, deadline=1.0, arguments=StopVm(vm_id=job_id)))
    print(job_id, flush=True)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", writer], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    told = [process.stdout.readline().strip() for _ in range(25)]
    process.kill()
    told += process.stdout.read().split()
    process.wait()

    written = Journal(Database(tmp_path / "state.db")).job_ids()
    # The last line may have been cut in the middle by the kill.
    assert [job_id for job_id in told if len(job_id) == 36 and job_id not in written] == []
