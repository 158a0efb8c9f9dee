"""How busy the guests are: rates, from counters that only grow."""

import asyncio
import time
from collections.abc import Callable

import structlog

from agent.drivers.base import GuestCounters, GuestDriver
from agent.errors import JobFailedError
from agent.protocol import GuestUsage
from agent.records import VmRecord

log = structlog.get_logger("agent.usage")

EVERY_S = 35.0
"""With a heartbeat of 20 s every second one: each minute on the clock has a value then."""
_PATIENCE_S = 5.0
_MOST_RATE = 10**12
_MOST_BYTES = 2**63 - 1
_MOST_MIB = 1_000_000


class UsageMeter:
    """Measures all guests of a host at once, no more often than each EVERY_S."""

    def __init__(self, driver: GuestDriver, clock: Callable[[], float] = time.monotonic) -> None:
        self._driver = driver
        self._clock = clock
        self._at = 0.0
        self._before: dict[str, GuestCounters] = {}
        self._asked: asyncio.Task[dict[str, GuestCounters]] | None = None
        self._new = True
        """Somebody has no value yet: the next question need not wait."""

    async def measure(self, records: list[VmRecord]) -> list[GuestUsage]:
        """The guests' usage since the measurement before; empty where none is due."""
        now = self._clock()
        passed = now - self._at
        if passed < EVERY_S and not self._new:
            return []
        by_id = {record.vm_id: record for record in records if record.made}
        counters = await self._ask(set(by_id))
        if counters is None:
            return []
        before, self._before, self._at = self._before, counters, now
        self._new = bool(counters.keys() - before.keys())
        usages = (
            _usage(by_id[vm_id], before[vm_id], counters[vm_id], passed)
            for vm_id in counters.keys() & before.keys()
        )
        return [usage for usage in usages if usage is not None]

    async def _ask(self, vm_ids: set[str]) -> dict[str, GuestCounters] | None:
        """None where there is no answer. A QEMU that hangs holds libvirt's answer back for as
        long: the heartbeat does not wait for that, and nobody asks a second time meanwhile."""
        if self._asked is None:
            self._asked = asyncio.create_task(self._driver.counters(vm_ids))
        asked = self._asked
        await asyncio.wait([asked], timeout=_PATIENCE_S)
        if not asked.done():
            log.warning("guests are not measured", reason="no answer yet")
            return None
        self._asked = None
        try:
            return {vm_id: found for vm_id, found in asked.result().items() if vm_id in vm_ids}
        except JobFailedError as error:
            log.debug("guests are not measured", reason=error.message)
            return None


def _usage(
    record: VmRecord, before: GuestCounters, now: GuestCounters, seconds: float
) -> GuestUsage | None:
    """None where the guest was started anew in between, and its counters with it."""
    pairs = (
        (before.cpu_s, now.cpu_s),
        (before.disk_read, now.disk_read),
        (before.disk_written, now.disk_written),
        (before.net_in, now.net_in),
        (before.net_out, now.net_out),
    )
    if seconds <= 0 or any(after < earlier for earlier, after in pairs):
        return None
    cpu, *rates = [(after - earlier) / seconds for earlier, after in pairs]
    read, written, received, sent = (min(round(rate), _MOST_RATE) for rate in rates)
    memory = now.memory_used_mib
    return GuestUsage(
        vm_id=record.vm_id,
        cpu_percent=min(100, round(100 * cpu / max(record.vcpus, 1))),
        memory_used_mib=None if memory is None else min(memory, _MOST_MIB),
        disk_used=min(now.disk_used, _MOST_BYTES),
        disk_read=read,
        disk_write=written,
        net_in=received,
        net_out=sent,
    )
