"""The portal's process is killed (SIGKILL) while a host works for it."""

import asyncio
import os
import socket
import sys
import urllib.request
from pathlib import Path

import pytest
from django.db import connection

from hypervisors.models import Hypervisor, Job, Status
from hypervisors.services.jobs import job_create
from hypervisors.services.join_tokens import join_token_create
from hypervisors.sockets import in_database
from tenants.actor import SYSTEM
from tests.factories import SiteFactory
from tests.hypervisors.running_portal import eventually
from tests.hypervisors.test_simulated_agent import AgentProcess, create_on, ended, the_host
from vms.models import VirtualMachine

pytestmark = pytest.mark.cluster
ROOT = Path(__file__).parents[2]


class PortalProcess:
    """uvicorn, as in production, on the test's database."""

    def __init__(self):
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"

    async def start(self):
        database = connection.settings_dict
        address = f"postgresql:///{database['NAME']}?user={database['USER']}"
        self.process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "uvicorn", "portal.asgi:application", "--port", str(self.port)),
            *("--ws", "websockets-sansio", "--lifespan", "off"),
            cwd=ROOT,
            env={
                **os.environ,
                "DATABASE_URL": f"{address}&host={database['HOST']}&port={database['PORT']}",
                "BASALT_ORIGIN": self.url,
                "DJANGO_SETTINGS_MODULE": "tests.settings",
            },
        )
        for _ in range(200):
            try:
                await asyncio.to_thread(urllib.request.urlopen, f"{self.url}/install")
            except OSError:
                await asyncio.sleep(0.1)
            else:
                return

    async def kill(self):
        self.process.kill()
        await self.process.wait()


@pytest.fixture
async def portal_process(transactional_db):
    process = PortalProcess()
    await process.start()
    yield process
    await process.kill()


@pytest.fixture
async def agent_process(portal_process, tmp_path):
    site = await in_database(SiteFactory)
    _, token = await in_database(join_token_create, actor=SYSTEM, site=site)
    process = AgentProcess(portal_process, tmp_path / "hosts")
    await process.start(token)
    yield process
    await process.kill()


async def test_a_creation_under_way_ends_once_when_the_portal_is_back(
    portal_process, agent_process
):
    host = await eventually(the_host, seconds=20)
    vm, job = await in_database(create_on, host, "survivor")
    await eventually(lambda: Job.objects.exclude(status="queued").filter(pk=job.pk).exists())
    await portal_process.kill()
    await asyncio.sleep(1)
    # Nobody was there to hear the end, or to mark the host as offline.
    assert (await in_database(Hypervisor.objects.get, pk=host.pk)).online
    await portal_process.start()
    done = await eventually(ended(job), seconds=40)
    assert (done.status, done.error_message) == (Status.SUCCEEDED, "")
    events = await in_database(lambda: list(done.events.values_list("status", flat=True)))
    assert events.count("succeeded") == 1
    assert events.count("sent") == 1
    assert await in_database(lambda: VirtualMachine.objects.filter(pk=vm.pk, state="ready").count())
    assert (await in_database(the_host)).clone_seen_at is None


async def test_a_job_committed_while_no_portal_ran_is_done_after_its_start(
    portal_process, agent_process
):
    host = await eventually(the_host, seconds=20)
    vm, job = await in_database(create_on, host, "first")
    await eventually(ended(job), seconds=30)
    await portal_process.kill()
    stop = await in_database(
        lambda: job_create(
            actor=SYSTEM, hypervisor=host, kind="vm.stop", subject_id=vm.pk, subject_name="first"
        )
    )
    await portal_process.start()
    done = await eventually(ended(stop), seconds=40)
    assert done.status == Status.SUCCEEDED
    await eventually(lambda: VirtualMachine.objects.filter(pk=vm.pk, observed_power="off").exists())
