"""Two guests on one bridge, of which one forges frames. Real namespaces, nftables, raw sockets."""

import asyncio
import contextlib
import json
import random
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from agent.assembly import simulated_agent
from agent.host import Host
from agent.network.names import namespace_name
from agent.network.wire import SERVICE_MAC
from agent.protocol import DroppedFrames, GuestSpec, NetworkSpec, NicSpec
from agent.records import VmRecord
from agent.settings import Identity, Settings
from tests.agent.network import frames as f
from tests.agent.network.ears import Ear, Heard, Mouth, ears
from tests.agent.network.forged import (
    SERVICE4,
    SERVICE6,
    Who,
    claims_to_be_the_service,
    forged,
    honest,
    solicitation,
)
from tests.agent.network.lawful import fault, is_later_part
from tests.agent.network.namespaces import Guest, own_stack, run
from tests.agent.network.plumbing import Plumbing, document_of, new_id, nic_on

pytestmark = pytest.mark.root

GATEWAY4, GATEWAY6 = "10.9.8.1", "fd00:9::1"


@dataclass
class Scene:
    """`mouth` is the forger's; the ears are the other guest's, a machine's on the LAN, and one in
    the namespace where the other guest's metadata is served."""

    plumbing: Plumbing
    nic: NicSpec
    who: Who
    mouth: Mouth
    other: Ear
    lan: Ear
    others_metadata: Ear

    def say(self, frames: list[bytes]) -> list[Heard]:
        """What came out of it anywhere. What is not meant for one of them, both hear."""
        other, lan = self.mouth.say(frames, [self.other, self.lan])
        hosts = _own_macs()
        heard = other + [one for one in lan if one not in other]
        return [one for one in heard if one.frame[6:12] not in hosts]

    def metadata_of_the_other(self) -> list[Heard]:
        """What came to where the other guest is served."""
        heard = self.others_metadata.hear()
        return [one for one in heard if one.frame[6:12] not in _own_macs()]

    async def dropped(self) -> DroppedFrames:
        return (await self.plumbing.plumber.dropped())[self.nic.nic_id]


@pytest.fixture(autouse=True)
def _own_stack() -> Iterator[None]:
    """A network stack for the test alone: the host's filters and those of other tests would
    drop, put together or trim what is heard here."""
    with own_stack():
        # Links that come from now on say nothing of themselves.
        run("sysctl", "-qw", "net.ipv6.conf.default.disable_ipv6=1")
        yield


@contextlib.asynccontextmanager
async def scene(
    plumbing: Plumbing, lan: NetworkSpec, *, given: bool, guard: bool = True
) -> AsyncIterator[Scene]:
    network = msgspec.structs.replace(lan, gateway=GATEWAY4, gateway6=GATEWAY6)
    forger = msgspec.structs.replace(
        nic_on(network, "10.9.8.7/24" if given else None),
        address6="fd00:9::7/64" if given else None,
        guard=guard,
    )
    other = msgspec.structs.replace(nic_on(network, "10.9.8.8/24"), address6="fd00:9::8/64")
    machine = nic_on(network, None)
    # Or groups' frames would go to those alone that have asked for them.
    run("ip", "link", "set", lan.bridge or "", "type", "bridge", "mcast_snooping", "0")
    with (
        _quiet(plumbing, forger, lan) as one,
        _quiet(plumbing, other, lan) as two,
        _quiet(plumbing, machine, lan) as three,
    ):
        await plumbing.attach(forger, document_of(forger, "forger"))
        await plumbing.attach(other, document_of(other, "other"))
        metadata = (namespace_name(other.nic_id), "eth0")
        who = Who(
            mac=forger.mac,
            own4="10.9.8.7",
            own6="fd00:9::7",
            other_mac=other.mac,
            other4="10.9.8.8",
            other6="fd00:9::8",
            gateway4=GATEWAY4,
            gateway6=GATEWAY6,
            given=given,
        )
        mouth = Mouth(one.name, who.mac, who.own4)
        with ears((two.name, "eth0"), (three.name, "eth0"), metadata) as opened:
            yield Scene(plumbing, forger, who, mouth, *opened)
        mouth.close()


def _own_macs() -> set[bytes]:
    """Of the host's links and its services', whose kernel asks for multicast now and then."""
    links = json.loads(run("ip", "-j", "link"))
    return {f.mac_bytes(link["address"]) for link in links} | {f.mac_bytes(SERVICE_MAC)}


@contextlib.contextmanager
def _quiet(plumbing: Plumbing, nic: NicSpec, lan: NetworkSpec) -> Iterator[Guest]:
    """A guest whose kernel says nothing of itself."""
    with plumbing.guest(nic, lan.bridge or "") as guest:
        guest.run("sysctl", "-qw", "net.ipv6.conf.eth0.disable_ipv6=1")
        guest.run("ip", "link", "set", "eth0", "arp", "off")
        yield guest


def _total(dropped: DroppedFrames) -> int:
    return sum(getattr(dropped, kind) for kind in dropped.__struct_fields__)


@pytest.mark.parametrize("given", [True, False])
async def test_no_forged_frame_reaches_another_guest_or_the_lan(plumbing, lan, given):
    async with scene(plumbing, lan, given=given) as on:
        frames = list(forged(on.who))
        assert len(frames) > 3000
        passed = await asyncio.to_thread(on.say, frames)
        # Parts without a first one, from the guest's own address: nothing comes of them.
        assert [one for one in passed if fault(one, on.who) or not is_later_part(one)] == []
        dropped = await on.dropped()
        assert _total(dropped) == len(frames) - len(passed)
        assert min(getattr(dropped, kind) for kind in dropped.__struct_fields__) > 0


@pytest.mark.parametrize("given", [True, False])
async def test_all_that_an_honest_guest_says_passes_and_nothing_is_counted(plumbing, lan, given):
    async with scene(plumbing, lan, given=given) as on:
        frames = [*honest(on.who), solicitation(on.who)]
        passed = await asyncio.to_thread(on.say, frames)
        assert [one.frame for one in passed] == frames
        assert await on.dropped() == DroppedFrames()


@pytest.mark.parametrize("given", [True, False])
@pytest.mark.parametrize("guard", [True, False])
async def test_nobody_is_taken_for_the_service_nor_asks_anothers(plumbing, lan, given, guard):
    async with scene(plumbing, lan, given=given, guard=guard) as on:
        frames = list(claims_to_be_the_service(on.who))
        assert await asyncio.to_thread(on.say, frames) == []
        assert await asyncio.to_thread(on.metadata_of_the_other) == []


@pytest.mark.parametrize("given", [True, False])
@pytest.mark.parametrize("seed", range(3))
async def test_frames_changed_at_random_pass_only_where_they_are_lawful(plumbing, lan, given, seed):
    chance = random.Random(seed)
    async with scene(plumbing, lan, given=given) as on:
        known = [*forged(on.who), *honest(on.who), *claims_to_be_the_service(on.who)]
        frames = [_changed(chance.choice(known), chance) for _ in range(5000)]
        passed = await asyncio.to_thread(on.say, frames)
        assert [(why, one) for one in passed if (why := fault(one, on.who))] == []
        assert await asyncio.to_thread(on.metadata_of_the_other) == []


async def test_what_the_guard_holds_back_passes_without_it(plumbing, lan):
    async with scene(plumbing, lan, given=True, guard=False) as on:
        frames = [
            f.arp(on.who.mac, sender=on.who.other4, target=on.who.gateway4),
            f.arp(on.who.other_mac, sender="10.9.8.77", target=on.who.gateway4),
        ]
        passed = await asyncio.to_thread(on.say, frames)
        assert [one.frame for one in passed] == frames
        assert on.nic.nic_id not in await plumbing.plumber.dropped()


async def test_the_lan_cannot_pose_as_the_service_either(plumbing, lan):
    async with scene(plumbing, lan, given=True) as on:
        claims = list(claims_to_be_the_service(on.who))
        heard = await asyncio.to_thread(_said_on_the_lan, plumbing, lan, on, claims)
        service4, service6 = f.ip4(SERVICE4), f.ip6(SERVICE6)
        senders = [frame[26:30] if frame[12:14] == b"\x08\0" else frame[28:32] for frame in heard]
        assert service4 not in senders
        assert [frame for frame in heard if frame[22:38] == service6] == []
        # Said about the service's address, by whomever.
        assert [
            frame for frame in heard if frame[54:55] == bytes([136]) and frame[62:78] == service6
        ] == []


def _said_on_the_lan(
    plumbing: Plumbing, lan: NetworkSpec, on: Scene, claims: list[bytes]
) -> list[bytes]:
    """What the other guest hears when a machine without a guard says `claims`."""
    with _quiet(plumbing, nic_on(lan, None), lan) as machine:
        mouth = Mouth(machine.name, "02:00:00:00:00:77", "10.9.8.77")
        [heard] = mouth.say(claims, [on.other])
        mouth.close()
    assert heard, "what does not claim the service's address comes through"
    hosts = _own_macs()
    return [one.frame for one in heard if one.frame[6:12] not in hosts]


async def test_an_address_that_is_given_to_another_later_is_protected_from_then_on(plumbing, lan):
    async with scene(plumbing, lan, given=False) as on:
        claim = f.arp(on.who.mac, sender="10.9.8.9", target="10.9.8.9")
        assert len(await asyncio.to_thread(on.say, [claim])) == 1
        late = nic_on(on.nic.network, "10.9.8.9/24")
        with plumbing.guest(late, lan.bridge):
            await plumbing.attach(late, document_of(late, "late"))
            assert claim not in [one.frame for one in await asyncio.to_thread(on.say, [claim])]
            await plumbing.plumber.detach(late.nic_id)
        assert claim in [one.frame for one in await asyncio.to_thread(on.say, [claim])]


async def test_counters_go_on_after_the_agent_was_away(plumbing, lan):
    async with scene(plumbing, lan, given=True) as on:
        lies = [f.arp(on.who.other_mac, sender="10.9.8.7", target="10.9.8.1")] * 5
        await asyncio.to_thread(on.say, lies)
        await plumbing.restart()
        await asyncio.to_thread(on.say, lies)
        await plumbing.attach(on.nic, document_of(on.nic, "forger"))
        assert (await on.dropped()).mac == 10


async def test_what_was_dropped_is_told_with_the_guest_that_sent_it(plumbing, lan, tmp_path):
    """The plumbing is real, and the guest a machine of this test: its host says that it is off."""
    async with scene(plumbing, lan, given=True) as on:
        unguarded = msgspec.structs.replace(nic_on(lan, None), guard=False)
        forger, unplugged = _vm([on.nic, unguarded]), _vm([nic_on(lan, None)])
        host = _host_with(plumbing, tmp_path / "host", forger, unplugged)
        lies = [f.arp(on.who.other_mac, sender="10.9.8.7", target="10.9.8.1")] * 5
        lies += [f.arp(on.who.mac, sender="10.9.8.8", target="10.9.8.1")] * 3
        await asyncio.to_thread(on.say, lies)
        vms = {vm.vm_id: vm for vm in (await host.snapshot()).vms}
        expected = [DroppedFrames(mac=5, arp=3), None]
        assert [nic.dropped for nic in vms[forger.vm_id].nics] == expected
        # One that is not plumbed has counted nothing, which is not the same as nothing dropped.
        assert [nic.dropped for nic in vms[unplugged.vm_id].nics] == [None]
        # A change of the guest is told with what was counted last.
        await asyncio.to_thread(on.say, lies)
        told = await host.report(forger.vm_id)
        assert told is not None
        assert [nic.dropped for nic in told.nics] == expected
        vms = {vm.vm_id: vm for vm in (await host.snapshot()).vms}
        assert vms[forger.vm_id].nics[0].dropped == DroppedFrames(mac=10, arp=6)


async def test_rules_are_replaced_without_a_gap(plumbing, lan):
    async with scene(plumbing, lan, given=True) as on:
        lies = [f.arp(on.who.mac, sender="10.9.8.8", target="10.9.8.1")] * 200
        replacing = asyncio.create_task(_replace(plumbing, on, times=10))
        while not replacing.done():
            assert await asyncio.to_thread(on.say, lies) == []
        await replacing


async def _replace(plumbing: Plumbing, on: Scene, *, times: int) -> None:
    for _ in range(times):
        await plumbing.attach(on.nic, document_of(on.nic, "forger"))


def _changed(frame: bytes, chance: random.Random) -> bytes:
    changed = bytearray(frame)
    how: list[Callable[[], None]] = [
        lambda: changed.__setitem__(chance.randrange(len(changed)), chance.randrange(256)),
        lambda: changed.__delitem__(slice(chance.randrange(14, len(changed) + 1), None)),
        lambda: changed.extend(chance.randbytes(chance.randrange(40))),
        # Most headers are near the front.
        lambda: changed.__setitem__(chance.randrange(12, min(62, len(changed))), 0),
    ]
    for _ in range(chance.choice([1, 1, 2, 3])):
        chance.choice(how)()
        changed = changed if len(changed) > 14 else bytearray(frame)
    return bytes(changed)


def _vm(nics: list[NicSpec]) -> VmRecord:
    return VmRecord(
        vm_id=new_id(),
        name="web-1",
        vcpus=1,
        memory_mib=256,
        firmware="bios",
        image_id=new_id(),
        disks=[],
        nics=nics,
        guest=GuestSpec(instance_id=new_id(), hostname="web-1", username="admin"),
        made=True,
    )


def _host_with(plumbing: Plumbing, folder: Path, *vms: VmRecord) -> Host:
    identity = Identity(portal="http://portal", origin="portal", hypervisor_id=new_id(), name="h")
    host = simulated_agent(Settings(data=str(folder), identity=identity), seed=1, pace=0).host
    host.plumber = plumbing.plumber
    for vm in vms:
        host.records.save(vm)
    return host
