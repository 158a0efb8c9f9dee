"""The agent itself, with a simulated machine under it, against the portal itself."""

import asyncio
import sys
from pathlib import Path

import pytest

from consoles.services.tickets import console_ticket_create
from hypervisors.models import ENDED, Hypervisor, Job, Status
from hypervisors.services.join_tokens import join_token_create
from hypervisors.sockets import in_database
from tenants.actor import SYSTEM, Actor
from tests.factories import SSH_KEY, ImageVersionFactory, MembershipFactory, SiteFactory
from tests.hypervisors.running_portal import eventually
from vms.models import VirtualMachine
from vms.services.creation import VmRequest, vm_create

ROOT = Path(__file__).parents[2]


class AgentProcess:
    """`python -m agent simulate`, with one host."""

    def __init__(self, portal, data):
        self.portal, self.data = portal, data

    async def start(self, token):
        self.process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "agent", "simulate", "--portal", self.portal.url),
            *("--token", token, "--data", str(self.data)),
            cwd=ROOT,
        )

    async def kill(self):
        self.process.kill()
        await self.process.wait()


@pytest.fixture
async def agent(portal, tmp_path):
    site = await in_database(SiteFactory)
    _, token = await in_database(join_token_create, actor=SYSTEM, site=site)
    running = AgentProcess(portal, tmp_path / "hosts")
    running.token = token
    await running.start(token)
    yield running
    await running.kill()


def the_host():
    return Hypervisor.objects.filter(online=True).exclude(facts={}).first()


def create_on(host, name):
    version = ImageVersionFactory()
    request = VmRequest(
        name=name,
        image=version.image,
        vcpus=1,
        memory_mib=512,
        disks_gib=[10],
        username="debian",
        ssh_keys=[SSH_KEY],
    )
    return vm_create(actor=SYSTEM, hypervisor=host, request=request)


def ended(job):
    """A question whose answer is the job, once it has ended."""
    return Job.objects.filter(pk=job.pk, status__in=ENDED).first


async def test_it_enrols_connects_and_makes_a_vm(agent):
    host = await eventually(the_host, seconds=20)
    assert host.facts["accelerator"] == "simulated"
    vm, job = await in_database(create_on, host, "first")
    done = await eventually(ended(job), seconds=30)
    assert (done.status, done.error_message) == (Status.SUCCEEDED, "")
    await eventually(
        lambda: VirtualMachine.objects.filter(pk=vm.pk, observed_power="running").exists()
    )


async def test_killed_in_the_middle_of_a_creation_it_ends_it_once_after_its_restart(agent):
    host = await eventually(the_host, seconds=20)
    vm, job = await in_database(create_on, host, "second")
    await eventually(lambda: Job.objects.exclude(status="queued").filter(pk=job.pk).exists())
    await agent.kill()
    await agent.start(agent.token)
    done = await eventually(ended(job), seconds=40)
    events = await in_database(lambda: list(done.events.values_list("status", flat=True)))
    assert sum(status in ("succeeded", "failed") for status in events) == 1
    there = await in_database(lambda: VirtualMachine.objects.filter(pk=vm.pk).exists())
    assert there == (done.status == Status.SUCCEEDED)
    assert (await in_database(the_host)).clone_seen_at is None


async def test_its_console_opens_by_ticket_and_carries_bytes(agent, portal):
    host = await eventually(the_host, seconds=20)
    vm, job = await in_database(create_on, host, "talker")
    await eventually(ended(job), seconds=30)
    user = await in_database(lambda: MembershipFactory(tenant=vm.tenant).user)
    _, secret = await in_database(
        console_ticket_create,
        actor=Actor(user=user),
        vm=await in_database(VirtualMachine.objects.select_related("hypervisor").get, pk=vm.pk),
        kind="serial",
    )
    async with portal.websocket(f"/console/{secret}/", origin=portal.url) as page:
        async with asyncio.timeout(10):
            greeting = await page.recv()
            await page.send(b"\r")
        assert isinstance(greeting, bytes)
        assert greeting
