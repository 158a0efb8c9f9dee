"""The link of a host: who gets one, and who loses it."""

import uuid
from datetime import timedelta

import pytest
from django.utils import timezone

from agent.protocol import (
    VERSION,
    Boot,
    BootAcknowledged,
    BootReported,
    JobAcknowledged,
    JobFinished,
    JobProgress,
    JobRequest,
    OpenStream,
    Refused,
    StartVm,
    VmChanged,
    VmReport,
    generate_sign_key,
)
from hypervisors.models import Hypervisor, Job, Status
from hypervisors.sockets import in_database
from tenants.actor import SYSTEM
from tests.factories import HypervisorFactory, JobFactory, VirtualMachineFactory
from tests.hypervisors.fake_agent import USAGE, FakeAgent, snapshot_of
from tests.hypervisors.links import fresh, make_host, offline, online, start_of
from tests.hypervisors.running_portal import closed_with, eventually


async def test_a_host_that_signs_is_online_with_its_facts_until_its_socket_closes(portal):
    host = await make_host(facts={}, usage={})
    async with FakeAgent(portal, host) as agent:
        await agent.open(snapshot_of(cpus=12))
        await eventually(lambda: Hypervisor.objects.get(pk=host.pk).facts)
        seen = await fresh(host)
        assert (seen.online, seen.facts["cpus"], seen.usage["cpu_percent"]) == (True, 12, 5)
        assert seen.run_id == agent.run_id
    await eventually(offline(host))
    assert (await fresh(host)).link_channel == ""


async def test_a_job_goes_down_the_link_on_commit_and_its_end_comes_back(portal):
    vm = await in_database(lambda: VirtualMachineFactory(observed_power="off"))
    host = vm.hypervisor
    async with FakeAgent(portal, host) as agent:
        await agent.open()
        job = await in_database(start_of(vm))
        request = await agent.hear(JobRequest)
        assert request.job_id == str(job.pk)
        assert request.arguments == StartVm(vm_id=str(vm.pk))
        await agent.say(JobProgress(job_id=request.job_id, percent=40, step="Starting"))
        await eventually(
            lambda: Job.objects.filter(pk=job.pk, progress=40, status="running").exists()
        )
        report = VmReport(vm_id=str(vm.pk), power="running")
        await agent.say(JobFinished(job_id=request.job_id, vm=report))
        assert (await agent.hear(JobAcknowledged)).job_id == request.job_id
        ended = await fresh(job)
        assert (ended.status, ended.progress) == (Status.SUCCEEDED, 100)
        assert (await fresh(vm)).observed_power == "running"


async def test_a_job_that_waited_is_sent_after_the_first_snapshot(portal):
    vm = await in_database(VirtualMachineFactory)
    job = await in_database(start_of(vm))
    async with FakeAgent(portal, vm.hypervisor) as agent:
        await agent.open()
        assert (await agent.hear(JobRequest)).job_id == str(job.pk)


async def test_news_of_a_first_boot_is_stored_and_acknowledged(portal):
    vm = await in_database(VirtualMachineFactory)
    boot = Boot(instance_id=str(vm.pk), verdict="failed", reason="bad_yaml", log=["a\0b"])
    async with FakeAgent(portal, vm.hypervisor) as agent:
        await agent.open()
        await agent.say(BootReported(vm_id=str(vm.pk), number=7, boot=boot))
        assert await agent.hear(BootAcknowledged) == BootAcknowledged(vm_id=str(vm.pk), number=7)
    seen = await fresh(vm)
    assert (seen.boot["reason"], seen.cloud_init) == ("bad_yaml", "failed")
    assert seen.boot["log"] == ["a\ufffdb"]


async def test_news_of_anothers_guest_is_acknowledged_and_changes_nothing(portal):
    vm, other = await in_database(lambda: (VirtualMachineFactory(), HypervisorFactory()))
    boot = Boot(instance_id=str(vm.pk), verdict="failed")
    async with FakeAgent(portal, other) as agent:
        await agent.open()
        await agent.say(BootReported(vm_id=str(vm.pk), number=1, boot=boot))
        await agent.hear(BootAcknowledged)
    assert (await fresh(vm)).boot == {}


@pytest.mark.parametrize("status", [Status.SENT, Status.RUNNING])
async def test_a_job_the_journal_does_not_know_is_sent_again_under_its_id(portal, status):
    """The portal died between taking a job and sending it, or the host's disk was replaced."""
    vm = await in_database(VirtualMachineFactory)
    job = await in_database(
        lambda: JobFactory(
            hypervisor=vm.hypervisor, subject_id=vm.id, status=status, sent_at=timezone.now()
        )
    )
    async with FakeAgent(portal, vm.hypervisor) as agent:
        await agent.open()
        request = await agent.hear(JobRequest)
        assert request.job_id == str(job.pk)
        await agent.do(request)
        await agent.hear(JobAcknowledged)
    assert (await fresh(job)).status == Status.SUCCEEDED


async def test_a_job_in_the_journal_is_not_sent_again(portal):
    vm = await in_database(VirtualMachineFactory)
    job = await in_database(
        lambda: JobFactory(
            hypervisor=vm.hypervisor,
            subject_id=vm.id,
            status=Status.SENT,
            sent_at=timezone.now(),
        )
    )
    async with FakeAgent(portal, vm.hypervisor) as agent:
        await agent.open(snapshot_of(jobs=[str(job.pk)]))
        assert await agent.silent()


async def test_a_job_sent_again_whose_vm_is_gone_fails_with_a_reason(portal):
    host = await make_host()
    job = await in_database(
        lambda: JobFactory(hypervisor=host, status=Status.SENT, sent_at=timezone.now())
    )
    async with FakeAgent(portal, host) as agent:
        await agent.open()
        await eventually(lambda: Job.objects.filter(pk=job.pk, status=Status.FAILED).exists())
    assert (await fresh(job)).error_code == "obsolete"


async def test_an_end_that_is_told_twice_is_acknowledged_twice_and_counted_once(portal):
    vm = await in_database(VirtualMachineFactory)
    async with FakeAgent(portal, vm.hypervisor) as agent:
        await agent.open()
        job = await in_database(start_of(vm))
        request = await agent.hear(JobRequest)
        await agent.do(request)
        await agent.hear(JobAcknowledged)
        events = await in_database(job.events.count)
        await agent.say(JobFinished(job_id=request.job_id))
        assert (await agent.hear(JobAcknowledged)).job_id == request.job_id
        assert await in_database(job.events.count) == events


async def test_a_late_word_about_a_lost_job_wins(portal):
    vm = await in_database(VirtualMachineFactory)
    job = await in_database(
        lambda: JobFactory(hypervisor=vm.hypervisor, subject_id=vm.id, status=Status.LOST)
    )
    async with FakeAgent(portal, vm.hypervisor) as agent:
        await agent.open(snapshot_of(jobs=[str(job.pk)]))
        await agent.say(JobFinished(job_id=str(job.pk)))
        await agent.hear(JobAcknowledged)
    assert (await fresh(job)).status == Status.SUCCEEDED


async def test_a_change_behind_our_back_shows_within_two_seconds(portal):
    vm = await in_database(lambda: VirtualMachineFactory(observed_power="running"))
    running = VmReport(vm_id=str(vm.pk), power="running")
    async with FakeAgent(portal, vm.hypervisor) as agent:
        await agent.open(snapshot_of(running))
        off = VmReport(vm_id=str(vm.pk), power="off")
        await agent.say(VmChanged(vm_id=str(vm.pk), vm=off))
        await eventually(
            lambda: type(vm).objects.filter(pk=vm.pk, observed_power="off").exists(), seconds=2
        )


# ------------------------------------------------------------------ who gets no link


async def test_a_wrong_key_is_refused_with_a_sentence(portal):
    host = await make_host()
    private, _ = generate_sign_key()
    async with FakeAgent(portal, host, private=private) as agent:
        await agent.hello()
        refused = await agent.hear(Refused)
        assert refused.code == "signature"
        assert "Enrol it again" in refused.message
        assert (await closed_with(agent.socket))[0] == 4403
    assert not (await fresh(host)).online


async def test_a_signature_for_another_portal_is_refused(portal):
    host = await make_host()
    async with FakeAgent(portal, host, origin="https://elsewhere.example") as agent:
        await agent.hello()
        assert (await agent.hear(Refused)).code == "signature"


async def test_a_signature_over_an_earlier_nonce_is_refused(portal):
    host = await make_host()
    async with FakeAgent(portal, host) as agent:
        first = await agent.hello()
    async with FakeAgent(portal, host) as thief:
        await thief.hello(nonce=first.nonce)
        assert (await thief.hear(Refused)).code == "signature"


async def test_a_host_that_was_removed_is_told_so(portal):
    host = await make_host()
    await in_database(lambda: Hypervisor.objects.filter(pk=host.pk).delete())
    async with FakeAgent(portal, host) as agent:
        await agent.hello()
        assert (await agent.hear(Refused)).code == "not_enrolled"


@pytest.mark.parametrize("version", [-1, VERSION - 2, VERSION + 1])
async def test_an_agent_of_another_protocol_is_told_to_update(portal, version):
    host = await make_host()
    async with FakeAgent(portal, host, protocol=version) as agent:
        await agent.hello()
        refused = await agent.hear(Refused)
        assert refused.code == "protocol"
        assert "Install the agent again" in refused.message


async def test_who_does_not_sign_in_time_is_closed(portal, monkeypatch):
    monkeypatch.setattr("hypervisors.consumers.AgentConsumer.handshake_s", 0.2)
    host = await make_host()
    async with FakeAgent(portal, host) as agent:
        assert (await closed_with(agent.socket))[0] == 4408


# ------------------------------------------------------------------ two links of one host


async def test_the_same_run_replaces_its_own_old_link_at_once(portal):
    host = await make_host()
    run_id = str(uuid.uuid4())
    async with FakeAgent(portal, host, run_id=run_id) as old:
        await old.open()
        async with FakeAgent(portal, host, run_id=run_id) as new:
            await new.open()
            assert (await closed_with(old.socket))[0] == 4409
            await new.say(USAGE)
            assert await new.silent()
            seen = await fresh(host)
            assert seen.online
            assert seen.clone_seen_at is None


async def test_a_cloned_disk_is_noticed_and_refused_while_the_first_goes_on(portal):
    host = await make_host()
    async with FakeAgent(portal, host) as first:
        await first.open()
        await eventually(online(host))
        async with FakeAgent(portal, host) as clone:
            await clone.hello()
            await first.hear(OpenStream)
            await first.say(USAGE)
            refused = await clone.hear(Refused)
            assert refused.code == "identity_in_use"
            assert "cloned" in refused.message
        assert (await fresh(host)).clone_seen_at is not None
        await first.say(USAGE)
        assert await first.silent()
        assert (await fresh(host)).run_id == first.run_id


async def test_a_restarted_agent_takes_over_from_a_socket_that_is_dead(portal, monkeypatch):
    """The host lost its power: its old socket looks open, but nobody answers there."""
    monkeypatch.setattr("hypervisors.consumers.AgentConsumer.rival_alive_s", 0.3)
    host = await make_host()
    async with FakeAgent(portal, host) as dead:
        await dead.open()
        await eventually(online(host))
        async with FakeAgent(portal, host) as restarted:
            await restarted.open()
            assert (await closed_with(dead.socket))[0] == 4409
            seen = await fresh(host)
            assert (seen.run_id, seen.clone_seen_at) == (restarted.run_id, None)


async def test_a_link_whose_portal_process_was_killed_is_taken_over(portal):
    """Its row says online on a channel that nobody reads any more."""
    host = await in_database(
        lambda: HypervisorFactory(link_channel="specific.dead!dead", last_seen_at=timezone.now())
    )
    async with FakeAgent(portal, host) as agent:
        await agent.open()
        await eventually(lambda: Hypervisor.objects.filter(run_id=agent.run_id).exists())
    assert (await fresh(host)).clone_seen_at is None


async def test_a_host_that_was_silent_for_its_lease_needs_no_question(portal):
    host = await in_database(
        lambda: HypervisorFactory(
            link_channel="specific.dead!dead", last_seen_at=timezone.now() - timedelta(minutes=5)
        )
    )
    async with FakeAgent(portal, host) as agent:
        await agent.open()
        assert await agent.silent(seconds=0.2)


async def test_a_link_of_a_removed_host_is_ended(portal):
    from hypervisors.services.hypervisors import hypervisor_remove

    host = await make_host()
    async with FakeAgent(portal, host) as agent:
        await agent.open()
        await eventually(online(host))
        await in_database(hypervisor_remove, actor=SYSTEM, hypervisor=host)
        assert (await agent.hear(Refused)).code == "not_enrolled"
