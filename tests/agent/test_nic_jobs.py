"""Jobs that add, remove and change a NIC: their steps, their repetition, and death in between.

The agent is a real one on a simulated host; what the guest would have in its slots is kept here.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent import nics
from agent.assembly import simulated_agent
from agent.enrolment import enrol
from agent.errors import JobFailedError
from agent.host import Host
from agent.protocol import AttachNic, ChangeNic, DetachNic, JobFinished, NetworkSpec, StopVm
from agent.service import Agent
from agent.settings import Settings
from metadata.control import NicStatus
from tests.agent.fake_portal import FakePortal, fake_portal
from tests.agent.specs import create_vm, nat_nic, new_id

STEPS = ["ensure_network", "define", "attach_nic", "attach", "set_cable"]
STEPS_BACK = ["set_cable", "detach_nic", "detach", "define"]


class Slots:
    """NICs of one running guest by MAC, with whether the cable is in; and what was wired."""

    def __init__(self) -> None:
        self.cables: dict[str, bool] = {}
        self.wired: list[str] = []
        self.stop_at = ""
        self.refuse: JobFailedError | None = None
        self.reached = asyncio.Event()

    def watch(self, host: Host) -> None:
        for part, name in (
            (host.plumber, "ensure_network"),
            (host.driver, "define"),
            (host.driver, "attach_nic"),
            (host.plumber, "attach"),
            (host.driver, "set_cable"),
            (host.driver, "detach_nic"),
            (host.plumber, "detach"),
        ):
            setattr(part, name, self._watched(name, getattr(part, name)))

    def _watched(self, name: str, method: Any) -> Any:
        async def watched(*arguments: Any, **named: Any) -> Any:
            if name == self.stop_at:
                self.reached.set()
                await asyncio.Event().wait()
            answer = await method(*arguments, **named)
            self._note(name, arguments, named)
            return answer

        return watched

    def _note(self, name: str, arguments: Any, named: Any) -> None:
        if name == "attach_nic":
            if self.refuse is not None:
                raise self.refuse
            self.cables.setdefault(arguments[1].mac, False)
        elif name == "detach_nic":
            self.cables.pop(arguments[1], None)
        elif name == "set_cable" and arguments[1] in self.cables:
            self.cables[arguments[1]] = named["plugged"]
        elif name == "attach":
            self.wired.append(named["nic"].nic_id)
        elif name == "detach":
            self.wired = [one for one in self.wired if one != arguments[0]]


@pytest.fixture
async def portal() -> AsyncIterator[FakePortal]:
    async with fake_portal() as running:
        yield running


@pytest.fixture
def slots() -> Slots:
    return Slots()


@contextlib.asynccontextmanager
async def running(portal: FakePortal, folder: Path, slots: Slots) -> AsyncIterator[Agent]:
    identity = await enrol(portal=portal.url, token="bj_good", data=folder, name="sim-01")
    agent = simulated_agent(Settings(data=str(folder), identity=identity), seed=1, pace=0.01)
    slots.watch(agent.host)
    task = asyncio.create_task(agent.run())
    try:
        await portal.connected()
        yield agent
    finally:
        # Only the step that was under way dies.
        slots.stop_at = ""
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await agent.stop()


async def ask(portal: FakePortal, agent: Agent, job: Any) -> JobFinished:
    host = agent.host.settings.identity.hypervisor_id
    return await portal.outcome(await portal.job(host, job))


async def test_a_running_guest_gets_a_nic_and_all_its_nics_are_told(portal, tmp_path, slots):
    async with running(portal, tmp_path, slots) as agent:
        vm, nic = create_vm(), nat_nic("10.77.0.20/24")
        await ask(portal, agent, vm)
        slots.wired.clear()
        for _ in range(2):
            added = await ask(portal, agent, AttachNic(vm_id=vm.vm_id, nic=nic))
            assert added.error is None
            assert [one.nic_id for one in added.vm.nics] == [vm.nics[0].nic_id, nic.nic_id]
            assert added.vm.nics[1].lan_dhcp == "given"
        assert slots.cables == {nic.mac: True}
        assert set(slots.wired) == {vm.nics[0].nic_id, nic.nic_id}
        assert agent.host.record(vm.vm_id).joining == []


async def test_a_guest_that_is_off_has_the_nic_at_its_next_start(portal, tmp_path, slots):
    async with running(portal, tmp_path, slots) as agent:
        vm, nic = create_vm(), nat_nic("10.77.0.20/24")
        await ask(portal, agent, vm)
        await ask(portal, agent, StopVm(vm_id=vm.vm_id))
        added = await ask(portal, agent, AttachNic(vm_id=vm.vm_id, nic=nic))
        assert (added.error, len(added.vm.nics)) == (None, 2)
        assert slots.cables == {}
        gone = await ask(portal, agent, DetachNic(vm_id=vm.vm_id, nic_id=vm.nics[0].nic_id))
        assert [one.nic_id for one in gone.vm.nics] == [nic.nic_id]


async def test_a_nic_that_the_guest_has_no_slot_for_leaves_nothing(portal, tmp_path, slots):
    async with running(portal, tmp_path, slots) as agent:
        vm, nic = create_vm(), nat_nic("10.77.0.20/24")
        await ask(portal, agent, vm)
        slots.refuse = JobFailedError("no_free_slot", "No slot is left.")
        refused = await ask(portal, agent, AttachNic(vm_id=vm.vm_id, nic=nic))
        assert refused.error.code == "no_free_slot"
        assert [one.nic_id for one in refused.vm.nics] == [vm.nics[0].nic_id]
        assert nic.nic_id not in slots.wired
        record = agent.host.record(vm.vm_id)
        assert (record.nics, record.joining) == (vm.nics, [])


@pytest.mark.parametrize("step", STEPS)
async def test_an_agent_that_dies_while_it_adds_a_nic_ends_it_when_it_is_back(
    portal, tmp_path, slots, step
):
    vm, nic = create_vm(), nat_nic("10.77.0.20/24")
    async with running(portal, tmp_path, slots) as agent:
        await ask(portal, agent, vm)
        slots.stop_at = step
        host = agent.host.settings.identity.hypervisor_id
        job_id = await portal.job(host, AttachNic(vm_id=vm.vm_id, nic=nic))
        await asyncio.wait_for(slots.reached.wait(), 10)
    async with running(portal, tmp_path, slots) as agent:
        assert (await portal.outcome(job_id)).error is None
        assert slots.cables == {nic.mac: True}
        record = agent.host.record(vm.vm_id)
        assert (record.nics, record.joining) == ([*vm.nics, nic], [])
        assert vm.vm_id not in agent.host.problems


@pytest.mark.parametrize("step", STEPS_BACK)
async def test_an_agent_that_dies_while_it_removes_a_nic_ends_it_when_it_is_back(
    portal, tmp_path, slots, step
):
    vm, nic = create_vm(), nat_nic("10.77.0.20/24")
    async with running(portal, tmp_path, slots) as agent:
        await ask(portal, agent, vm)
        await ask(portal, agent, AttachNic(vm_id=vm.vm_id, nic=nic))
        slots.stop_at = step
        host = agent.host.settings.identity.hypervisor_id
        job_id = await portal.job(host, DetachNic(vm_id=vm.vm_id, nic_id=nic.nic_id))
        await asyncio.wait_for(slots.reached.wait(), 10)
    async with running(portal, tmp_path, slots) as agent:
        assert (await portal.outcome(job_id)).error is None
        assert slots.cables == {}
        assert nic.nic_id not in slots.wired
        assert agent.host.record(vm.vm_id).nics == vm.nics


async def test_a_changed_nic_is_told_and_its_network_counts_for_the_others_on_it(
    portal, tmp_path, slots
):
    async with running(portal, tmp_path, slots) as agent:
        network = new_id()
        first, second = nat_nic("10.77.0.10/24", network), nat_nic("10.77.0.11/24", network)
        vm = create_vm(nics=[first, second])
        await ask(portal, agent, vm)
        asked = msgspec.structs.replace(first.network, dns=["9.9.9.9"], mtu=1400)
        wish = msgspec.structs.replace(first, network=asked, address="10.77.0.50/24", guard=False)
        slots.wired.clear()
        done = await ask(portal, agent, ChangeNic(vm_id=vm.vm_id, nic=wish))
        assert (done.error, done.vm.nics[0].addresses) == (None, ["10.77.0.50/24"])
        record = agent.host.record(vm.vm_id)
        assert record.nics[0] == wish
        assert record.nics[1] == msgspec.structs.replace(second, network=asked)
        assert slots.wired == [first.nic_id, second.nic_id]


async def test_who_gives_the_lease_is_told_as_the_guest_shows_it(portal, tmp_path, slots):
    async with running(portal, tmp_path, slots) as agent:
        lan = NetworkSpec(network_id=new_id(), kind="bridge", bridge="br0")
        nic = msgspec.structs.replace(nat_nic(None), network=lan)
        vm = create_vm(nics=[nic])
        await ask(portal, agent, vm)
        seen: dict[str, list[str]] = {}

        async def addresses(vm_id: str) -> dict[str, list[str]]:
            return seen

        agent.host.driver.addresses = addresses
        for said, has, expected in (
            ("unknown", [], "unknown"),
            ("silent", ["169.254.10.1/16"], "silent"),
            ("unknown", ["169.254.10.1/16", "2001:db8::7/64"], "silent"),
            ("unknown", ["192.168.1.7/24"], "site"),
            ("site", [], "site"),
        ):
            agent.nic_state(NicStatus(nic_id=nic.nic_id, state="served", done=False, lan_dhcp=said))
            seen[nic.mac] = has
            await asyncio.sleep(0.1)
            report = await agent.host.report(vm.vm_id)
            assert report.nics[0].lan_dhcp == expected


async def test_a_nic_whose_frames_do_not_pass_the_bridge_is_not_added(
    portal, tmp_path, slots, monkeypatch
):
    (tmp_path / "links" / "br0").mkdir(parents=True)
    (tmp_path / "links" / "br0" / "mtu").write_text("1500\n")
    monkeypatch.setattr(nics, "_LINKS", tmp_path / "links")
    async with running(portal, tmp_path / "agent", slots) as agent:
        vm = create_vm()
        await ask(portal, agent, vm)
        lan = NetworkSpec(network_id=new_id(), kind="bridge", bridge="br0", mtu=9000)
        nic = msgspec.structs.replace(nat_nic(None), network=lan)
        refused = await ask(portal, agent, AttachNic(vm_id=vm.vm_id, nic=nic))
        assert refused.error.code == "mtu_too_big"
        smaller = msgspec.structs.replace(nic, network=msgspec.structs.replace(lan, mtu=1500))
        added = await ask(portal, agent, AttachNic(vm_id=vm.vm_id, nic=smaller))
        assert added.error is None


async def test_a_change_that_would_be_another_nic_is_refused(portal, tmp_path, slots):
    async with running(portal, tmp_path, slots) as agent:
        vm = create_vm()
        await ask(portal, agent, vm)
        other = msgspec.structs.replace(vm.nics[0], mac="52:54:00:00:00:09")
        refused = await ask(portal, agent, ChangeNic(vm_id=vm.vm_id, nic=other))
        assert "keeps its MAC" in refused.error.message
        unknown = await ask(portal, agent, ChangeNic(vm_id=vm.vm_id, nic=nat_nic()))
        assert unknown.error.code == "nic_not_found"
        assert agent.host.record(vm.vm_id).nics == vm.nics


@pytest.mark.parametrize(
    "change",
    [
        {"address": "10.78.0.9/24"},
        {"address": "nonsense"},
        {"address6": "fd00:9::5/64"},
    ],
)
async def test_a_nic_with_an_address_of_elsewhere_is_not_added(portal, tmp_path, slots, change):
    async with running(portal, tmp_path, slots) as agent:
        vm = create_vm()
        await ask(portal, agent, vm)
        network = msgspec.structs.replace(
            vm.nics[0].network, subnet6="fd00:8::/64", gateway6="fd00:8::1"
        )
        nic = msgspec.structs.replace(nat_nic(), network=network, **change)
        refused = await ask(portal, agent, AttachNic(vm_id=vm.vm_id, nic=nic))
        assert refused.error is not None
        assert agent.host.record(vm.vm_id).nics == vm.nics
