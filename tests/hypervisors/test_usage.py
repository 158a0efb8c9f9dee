"""The history of usage: one row a minute, thinned out with age, and read in the reader's scope."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from agent.protocol import GuestUsage, Usage
from hypervisors.models import HostUsage, Hypervisor
from hypervisors.models.usage import MINUTE, QUARTER
from hypervisors.services import usage as service
from hypervisors.services.inventory import usage_store
from hypervisors.services.links import Link
from hypervisors.services.usage import (
    floor,
    samples_thin_out,
    usage_series,
    usage_sparks,
)
from hypervisors.tasks import thin_out_host_usage
from tests.factories import HypervisorFactory, MembershipFactory, VirtualMachineFactory
from tests.hypervisors.fake_agent import FakeAgent, snapshot_of
from tests.hypervisors.running_portal import eventually
from vms.models import VmUsage
from vms.tasks import thin_out_vm_usage

NOON = datetime(2026, 5, 4, 12, 0, 7, tzinfo=UTC)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Any:
    """`clock(minutes)` moves the time on; it starts at noon."""
    at = [NOON]
    monkeypatch.setattr(timezone, "now", lambda: at[0])

    def move(**passed: float) -> None:
        at[0] += timedelta(**passed)

    return move


@pytest.fixture
def host(db: None) -> Hypervisor:
    return HypervisorFactory(link_channel="ours")


def heard(host: Hypervisor, *guests: GuestUsage, cpu: int = 10, **figures: Any) -> None:
    link = Link(hypervisor_id=host.pk, tenant_id=host.tenant_id, channel="ours")
    values = {"memory_used_mib": 1000, "disk_used": 10**9} | figures
    usage_store(link=link, usage=Usage(cpu_percent=cpu, guests=list(guests), **values))


def sample(host: Hypervisor, at: datetime, *, span_s: int = MINUTE, cpu: float = 10) -> HostUsage:
    return HostUsage.objects.create(
        hypervisor=host, tenant=host.tenant, at=at, span_s=span_s, cpu_percent=cpu
    )


# ------------------------------------------------------------------ written


def test_a_minute_is_one_row_with_the_mean_of_what_was_said(host, clock):
    heard(host, cpu=10, net_in=100)
    clock(seconds=20)
    heard(host, cpu=20)
    clock(seconds=20)
    heard(host, cpu=60, net_in=300)
    row = HostUsage.objects.get()
    assert (row.tenant_id, row.at, row.span_s) == (host.tenant_id, NOON.replace(second=0), MINUTE)
    assert (row.cpu_percent, row.memory_used_mib, row.disk_write) == (30, 1000, None)
    clock(minutes=1)
    heard(host)
    assert HostUsage.objects.count() == 2


def test_an_agent_that_talks_without_end_fills_one_row_a_minute(host, clock):
    for _ in range(40):
        heard(host, cpu=0)
    heard(host, cpu=100)
    assert HostUsage.objects.get().cpu_percent == 0


def test_guests_are_kept_with_their_tenant(host, clock):
    vm = VirtualMachineFactory(hypervisor=host)
    heard(host, GuestUsage(vm_id=str(vm.id), cpu_percent=40, memory_used_mib=300, net_out=7))
    row = VmUsage.objects.get()
    assert (row.vm, row.tenant) == (vm, vm.tenant)
    assert (row.cpu_percent, row.memory_used_mib, row.net_out) == (40, 300, 7)


def test_a_host_speaks_of_no_guest_but_its_own(host, clock):
    elsewhere = VirtualMachineFactory()
    heard(host, GuestUsage(vm_id=str(elsewhere.id), cpu_percent=40))
    heard(host, GuestUsage(vm_id="00000000-0000-4000-8000-000000000000", cpu_percent=40))
    assert not VmUsage.objects.exists()


def test_nothing_uses_more_than_there_is_of_it(host, clock):
    vm = VirtualMachineFactory(hypervisor=host, memory_mib=1024, disks=[10])
    wild = GuestUsage(vm_id=str(vm.id), cpu_percent=100, memory_used_mib=10**6, disk_used=2**63 - 1)
    heard(host, wild, memory_used_mib=2**40, disk_used=2**63 - 1)
    guest, machine = VmUsage.objects.get(), HostUsage.objects.get()
    assert (guest.memory_used_mib, guest.disk_used) == (1024, pytest.approx(11 * 1024**3))
    assert machine.memory_used_mib == host.facts["memory_mib"]
    assert machine.disk_used == host.facts["disk_total"]


def test_the_history_goes_with_its_thing(host, clock):
    vm = VirtualMachineFactory(hypervisor=host)
    heard(host, GuestUsage(vm_id=str(vm.id), cpu_percent=40))
    vm.delete()
    assert not VmUsage.objects.exists()


async def test_over_the_link_a_busy_talker_is_kept_once_in_ten_seconds(portal):
    from hypervisors.sockets import in_database

    host = await in_database(HypervisorFactory)
    vm = await in_database(VirtualMachineFactory, hypervisor=host)
    async with FakeAgent(portal, host) as agent:
        await agent.open(snapshot_of())
        for cpu in range(5):
            guests = [GuestUsage(vm_id=str(vm.id), cpu_percent=50 + cpu)]
            usage = Usage(cpu_percent=90 + cpu, memory_used_mib=1, disk_used=1, guests=guests)
            await agent.say(usage)
        await eventually(lambda: Hypervisor.objects.get().usage["cpu_percent"] == 94)
    rows = await in_database(lambda: list(VmUsage.objects.values_list("count", flat=True)))
    assert rows == [1]


# ------------------------------------------------------------------ grown old


def test_minutes_become_quarters_and_go_after_a_day(host, clock):
    start = floor(NOON, QUARTER)
    for minute in range(30):
        sample(host, start + timedelta(minutes=minute), cpu=10 if minute < 15 else 40)
    clock(minutes=40)
    assert samples_thin_out(HostUsage) == 0
    quarters = HostUsage.objects.filter(span_s=QUARTER).order_by("at")
    assert [(row.at, row.cpu_percent) for row in quarters] == [
        (start, 10),
        (start + timedelta(minutes=15), 40),
    ]
    clock(hours=24)
    assert samples_thin_out(HostUsage) == 30
    assert HostUsage.objects.count() == 2
    clock(days=30)
    assert samples_thin_out(HostUsage) == 2


def test_thinning_out_twice_is_as_good_as_once(host, clock):
    start = floor(NOON, QUARTER)
    for minute in range(15):
        sample(host, start + timedelta(minutes=minute))
    clock(minutes=20)
    for task in (thin_out_host_usage, thin_out_host_usage, thin_out_vm_usage):
        task()
    assert HostUsage.objects.filter(span_s=QUARTER).count() == 1


def test_a_quarter_that_is_not_over_is_left_alone(host, clock):
    sample(host, floor(NOON, QUARTER))
    clock(minutes=15)
    samples_thin_out(HostUsage)
    assert not HostUsage.objects.filter(span_s=QUARTER).exists()


def test_minutes_are_not_lost_however_long_nobody_made_quarters(host, clock):
    start = floor(NOON, QUARTER) - timedelta(days=3)
    for quarter in range(4):
        sample(host, start + timedelta(minutes=15 * quarter), cpu=quarter)
    assert samples_thin_out(HostUsage) == 4
    quarters = HostUsage.objects.filter(span_s=QUARTER).order_by("at")
    assert [row.cpu_percent for row in quarters] == [0, 1, 2, 3]


def test_killed_between_its_steps_the_next_run_goes_on(host, clock, monkeypatch):
    start = floor(NOON, QUARTER) - timedelta(days=3)
    for quarter in range(4):
        sample(host, start + timedelta(minutes=15 * quarter), cpu=quarter)
    with monkeypatch.context() as short:
        # As far as one killed after its first steps came.
        short.setattr(service, "_MOST_STEPS", 2)
        short.setattr(service, "_BATCH", 1)
        assert samples_thin_out(HostUsage) == 2
    assert samples_thin_out(HostUsage) == 2
    assert HostUsage.objects.filter(span_s=QUARTER).count() == 4


# ------------------------------------------------------------------ read


def test_a_series_has_even_steps_and_gaps_where_nothing_was_heard(host, clock):
    now = floor(NOON, MINUTE)
    sample(host, now - timedelta(minutes=5), cpu=10)
    sample(host, now - timedelta(minutes=3), cpu=30)
    series = usage_series(HostUsage.objects.of([host.pk]), "1h")
    assert len(series.times) == 60
    assert {
        after - before for before, after in zip(series.times, series.times[1:], strict=False)
    } == {60}
    assert series.figures["cpu_percent"][-6:] == [10, None, 30, None, None, None]
    assert not series.empty


@pytest.mark.parametrize(("name", "points"), [("1h", 60), ("24h", 288), ("7d", 672), ("30d", 720)])
def test_every_range_is_of_a_size_that_a_page_can_draw(host, clock, name, points):
    series = usage_series(HostUsage.objects.of([host.pk]), name)
    assert len(series.times) in (points, points + 1)
    assert series.empty


def test_long_ranges_are_of_quarters_and_end_with_the_youngest_minutes(host, clock):
    sample(host, floor(NOON, QUARTER) - timedelta(days=3), span_s=QUARTER, cpu=70)
    sample(host, floor(NOON, MINUTE), cpu=5)
    figures = usage_series(HostUsage.objects.of([host.pk]), "7d").figures["cpu_percent"]
    assert [value for value in figures if value is not None] == [70, 5]
    assert figures[-1] == 5


def test_sparks_of_many_things_take_one_query(clock, db, django_assert_num_queries):
    hosts = [HypervisorFactory() for _ in range(3)]
    for number, host in enumerate(hosts[:2]):
        sample(host, floor(NOON, QUARTER) - timedelta(hours=1), span_s=QUARTER, cpu=number)
    with django_assert_num_queries(1):
        sparks = usage_sparks(HostUsage.objects.all(), [host.pk for host in hosts])
    assert set(sparks) == {hosts[0].pk, hosts[1].pk}
    assert len(sparks[hosts[1].pk]["cpu_percent"]) == 96
    assert sparks[hosts[1].pk]["cpu_percent"][-5] == 1


def test_the_api_gives_the_series_and_nothing_of_other_tenants(host, api_as):
    vm = VirtualMachineFactory(hypervisor=host)
    elsewhere = VirtualMachineFactory()
    heard(host, GuestUsage(vm_id=str(vm.id), cpu_percent=40))
    client = api_as(MembershipFactory(tenant=host.tenant, role="customer-viewer").user)
    answer = client.get(f"/api/v1/vms/{vm.id}/usage/?range=1h")
    assert answer.status_code == 200
    body = answer.json()
    assert (body["range"], body["step_s"]) == ("1h", 60)
    assert body["figures"]["cpu_percent"][-1] == 40
    assert len(body["figures"]["net_in"]) == len(body["times"])
    machine = client.get(f"/api/v1/hypervisors/{host.id}/usage/").json()
    assert machine["range"] == "24h"
    assert machine["figures"]["cpu_percent"][-1] == 10
    assert client.get(f"/api/v1/vms/{elsewhere.id}/usage/").status_code == 404
    assert client.get(f"/api/v1/hypervisors/{elsewhere.hypervisor_id}/usage/").status_code == 404


@pytest.mark.parametrize("query", ["range=2h", "range=", "ranges=1h", "range=1h%00"])
def test_a_range_that_there_is_not_is_refused_with_those_that_there_are(host, api_as, query):
    client = api_as(MembershipFactory(tenant=host.tenant).user)
    answer = client.get(f"/api/v1/hypervisors/{host.id}/usage/?{query}")
    assert answer.status_code == 400
