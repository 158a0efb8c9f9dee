"""Usage is measured from counters, at a bounded pace, and never holds up the heartbeat."""

import asyncio

import msgspec
import pytest

from agent.drivers.base import GuestCounters, GuestState
from agent.drivers.libvirt.counters import read_counters
from agent.drivers.simulated.usage import simulated_counters
from agent.errors import JobFailedError
from agent.facts import HostProbe
from agent.protocol import GuestUsage, ProtocolError, Usage, decode_from_agent, encode
from agent.records import VmRecord
from agent.usage import EVERY_S, UsageMeter
from tests.agent.specs import create_vm, new_id


def record(**changes):
    job = create_vm()
    fields = {
        "vm_id": job.vm_id,
        "name": job.name,
        "vcpus": 2,
        "memory_mib": 512,
        "firmware": "bios",
        "image_id": new_id(),
        "disks": [],
        "nics": [],
        "guest": job.guest,
        "made": True,
    }
    return VmRecord(**(fields | changes))


def counters(**changes):
    fields = {
        "cpu_s": 100.0,
        "memory_used_mib": 200,
        "disk_used": 10**9,
        "disk_read": 0,
        "disk_written": 0,
        "net_in": 0,
        "net_out": 0,
    }
    return GuestCounters(**(fields | changes))


class Guests:
    """The one question a meter asks, with a clock that the test moves."""

    def __init__(self, **found):
        self.found, self.now, self.asked = found, 1000.0, 0
        self.meter = UsageMeter(self, clock=lambda: self.now)

    async def counters(self, vm_ids):
        self.asked += 1
        return dict(self.found)


async def test_rates_are_what_was_used_since_the_measurement_before():
    one = record()
    guests = Guests(**{one.vm_id: counters()})
    assert await guests.meter.measure([one]) == []
    guests.now += 40
    guests.found[one.vm_id] = counters(
        cpu_s=120.0, disk_read=4000, disk_written=8000, net_in=400, net_out=800
    )
    assert await guests.meter.measure([one]) == [
        GuestUsage(
            vm_id=one.vm_id,
            # 20 of the 80 seconds that two processors had.
            cpu_percent=25,
            memory_used_mib=200,
            disk_used=10**9,
            disk_read=100,
            disk_write=200,
            net_in=10,
            net_out=20,
        )
    ]


async def test_guests_are_asked_for_no_more_often_than_needed():
    one = record()
    guests = Guests(**{one.vm_id: counters()})
    await guests.meter.measure([one])
    guests.now += 20
    # A guest without a value yet need not wait for its turn.
    assert len(await guests.meter.measure([one])) == 1
    guests.now += EVERY_S - 1
    assert await guests.meter.measure([one]) == []
    assert guests.asked == 2


async def test_a_guest_that_was_started_anew_has_no_value_rather_than_a_wrong_one():
    one = record()
    guests = Guests(**{one.vm_id: counters(cpu_s=500.0)})
    await guests.meter.measure([one])
    guests.now += 40
    guests.found[one.vm_id] = counters(cpu_s=1.0)
    assert await guests.meter.measure([one]) == []


async def test_guests_of_others_and_unfinished_ones_are_not_reported():
    half = record(made=False)
    guests = Guests(**{half.vm_id: counters(), new_id(): counters()})
    for _ in range(2):
        assert await guests.meter.measure([half, record()]) == []
        guests.now += 40


async def test_an_answer_that_does_not_come_holds_nothing_up_and_is_asked_for_once(monkeypatch):
    monkeypatch.setattr("agent.usage._PATIENCE_S", 0.01)
    release = asyncio.Event()
    asked = []

    class Hanging:
        async def counters(self, vm_ids):
            asked.append(vm_ids)
            await release.wait()
            raise JobFailedError("libvirt_down", "gone")

    meter = UsageMeter(Hanging())
    assert await meter.measure([record()]) == []
    assert await meter.measure([record()]) == []
    assert len(asked) == 1
    release.set()


def test_libvirts_words_become_counters():
    fields = {
        "cpu.time": 5_000_000_000,
        "balloon.current": 524288,
        "balloon.available": 500_000,
        "balloon.usable": 300_000,
        "balloon.rss": 700_000,
        "block.count": 2,
        "block.0.rd.bytes": 1,
        "block.1.rd.bytes": 2,
        "block.0.wr.bytes": 3,
        "block.0.physical": 4,
        "net.count": 1,
        "net.0.rx.bytes": 5,
        "net.0.tx.bytes": 6,
    }
    assert read_counters(fields) == counters(
        cpu_s=5.0,
        memory_used_mib=200_000 // 1024,
        disk_used=4,
        disk_read=3,
        disk_written=3,
        net_in=5,
        net_out=6,
    )
    # Without the guest's own word: what QEMU holds, which is more than the guest was given.
    del fields["balloon.usable"]
    assert read_counters(fields).memory_used_mib == 512


def test_a_simulated_guests_counters_only_grow_and_stay_plausible():
    guest = GuestState(vm_id=new_id(), power="running", vcpus=2, memory_mib=1024)
    before = simulated_counters(guest, 1_700_000_000.0)
    for minute in range(1, 600):
        now = simulated_counters(guest, 1_700_000_000.0 + minute * 60)
        assert 0 < now.cpu_s - before.cpu_s <= 2 * 60
        assert now.disk_read >= before.disk_read
        assert now.net_in >= before.net_in
        assert 0 < now.memory_used_mib <= 1024
        before = now


def test_this_host_knows_its_rates(tmp_path):
    usage = HostProbe(tmp_path).usage()
    assert usage.net_in is not None
    assert usage.net_in >= 0


def test_a_portal_of_before_understands_the_usage_of_today():
    class Before(msgspec.Struct, tag="Usage"):
        cpu_percent: int
        memory_used_mib: int
        disk_used: int
        load1: float = 0.0

    one = GuestUsage(vm_id=new_id(), cpu_percent=1)
    data = encode(Usage(cpu_percent=5, memory_used_mib=1, disk_used=1, guests=[one]))
    assert msgspec.msgpack.decode(data, type=Before).cpu_percent == 5
    plain = msgspec.msgpack.encode(Before(cpu_percent=5, memory_used_mib=1, disk_used=1))
    assert decode_from_agent(plain).guests == []


@pytest.mark.parametrize(
    "wrong",
    [{"cpu_percent": 101}, {"cpu_percent": -1}, {"disk_read": 10**13}, {"memory_used_mib": -5}],
)
def test_values_out_of_range_do_not_decode(wrong):
    fields = {"vm_id": new_id(), "cpu_percent": 1} | wrong
    data = msgspec.msgpack.encode(
        {
            "type": "Usage",
            "cpu_percent": 1,
            "memory_used_mib": 1,
            "disk_used": 1,
            "guests": [fields],
        }
    )
    with pytest.raises(ProtocolError):
        decode_from_agent(data)
