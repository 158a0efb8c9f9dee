"""Sockets with the first wall gone: what their own filters would have left out, PostgreSQL
leaves out."""

import asyncio
import hashlib
import json
from datetime import timedelta

import pytest
from django.utils import timezone

from agent.protocol import JobAcknowledged, JobFinished, VmChanged
from consoles.models import ConsoleTicket
from consoles.services.tickets import TicketInvalidError, console_ticket_redeem
from hypervisors.models import Hypervisor, Job, Status
from hypervisors.sockets import in_database
from tenants.scope import NOTHING
from tenants.services.live import live_publish
from tests.consoles.test_streams import _session
from tests.factories import JobFactory, MembershipFactory, VirtualMachineFactory
from tests.hypervisors.conftest import portal  # noqa: F401 - a fixture
from tests.hypervisors.fake_agent import FakeAgent, snapshot_of
from tests.policy.matrix import no_first_wall
from vms.models import VirtualMachine


@pytest.fixture
def open_to_all():
    with no_first_wall():
        yield


async def test_a_live_page_hears_of_its_own_tenants_alone(portal, open_to_all):  # noqa: F811
    ours, theirs = [await in_database(VirtualMachineFactory) for _ in range(2)]
    user = (await in_database(lambda: MembershipFactory(tenant=ours.tenant))).user
    headers = await in_database(_session, user)
    async with portal.websocket("/live/", additional_headers=headers, origin=portal.url) as live:
        heard = []
        # The page is told nothing when it is connected: ask until its own news comes.
        while not heard:
            for vm in (theirs, ours):
                await in_database(live_publish, tenant_id=vm.tenant_id, kind="vm", object_id=vm.pk)
            try:
                async with asyncio.timeout(0.3):
                    heard.append(json.loads(await live.recv()))
            except TimeoutError:
                continue
        assert [event["id"] for event in heard] == [str(ours.pk)]


@pytest.mark.django_db
def test_a_ticket_for_another_tenants_vm_opens_nothing(open_to_all):
    ours, theirs = VirtualMachineFactory(), VirtualMachineFactory()
    user = MembershipFactory(tenant=ours.tenant, role="customer-operator").user
    for vm in (ours, theirs):
        ConsoleTicket.objects.create(
            tenant=vm.tenant,
            vm=vm,
            user=user,
            kind="vnc",
            hash=hashlib.sha256(vm.name.encode()).hexdigest(),
            expires_at=timezone.now() + timedelta(seconds=10),
        )
    with NOTHING:
        assert console_ticket_redeem(user=user, secret=ours.name).vm == ours
        with pytest.raises(TicketInvalidError):
            console_ticket_redeem(user=user, secret=theirs.name)


async def test_a_host_that_may_speak_of_any_job_and_vm_moves_only_its_own_tenants(
    portal,  # noqa: F811
    monkeypatch,
):
    ours, theirs = [await in_database(VirtualMachineFactory) for _ in range(2)]
    jobs = [
        await in_database(
            lambda vm=vm: JobFactory(
                hypervisor=vm.hypervisor, subject_id=vm.pk, status=Status.RUNNING
            )
        )
        for vm in (theirs, ours)
    ]
    # As if somebody had forgotten that a host speaks for itself alone.
    monkeypatch.setattr(
        "hypervisors.services.jobs._locked",
        lambda _host, job_id: Job.objects.select_for_update().filter(pk=job_id).first(),
    )
    monkeypatch.setattr(
        "vms.services.observing._locked",
        lambda _host: VirtualMachine.objects.select_for_update(of=("self",)),
    )
    async with FakeAgent(portal, ours.hypervisor) as agent:
        await agent.open(snapshot_of(jobs=[str(job.pk) for job in jobs]))
        for vm in (theirs, ours):
            await agent.say(VmChanged(vm_id=str(vm.pk), vm=None))
        for job in jobs:
            await agent.say(JobFinished(job_id=str(job.pk)))
        for _ in jobs:
            await agent.hear(JobAcknowledged)
    rows = {vm.pk: await in_database(VirtualMachine.objects.get, pk=vm.pk) for vm in (ours, theirs)}
    assert rows[ours.pk].state == VirtualMachine.State.MISSING
    assert rows[theirs.pk].state == VirtualMachine.State.READY
    ended = [(await in_database(Job.objects.get, pk=job.pk)).status for job in jobs]
    assert ended == [Status.RUNNING, Status.SUCCEEDED]
    assert await in_database(Hypervisor.objects.filter(pk=theirs.hypervisor_id).exists)
