"""What guests that are not there would have used: waves of a pace of their own."""

import math
import random

from agent.drivers.base import GuestCounters, GuestState

_GIB = 1024**3
_MIB = 1024**2


class Wave:
    """A rate that swings around a mean. Its integral is known, so a counter made of it needs
    no memory and goes on after a restart of the process."""

    def __init__(self, pick: random.Random, mean: float) -> None:
        self._mean = mean
        self._swing = mean * pick.uniform(0.3, 0.9)
        self._period_s = pick.uniform(1500, 9000)
        self._phase = pick.uniform(0, math.tau)

    def at(self, seconds: float) -> float:
        """The rate at this moment."""
        return self._mean + self._swing * math.sin(
            math.tau * seconds / self._period_s + self._phase
        )

    def until(self, seconds: float) -> float:
        """The integral: it only grows, as the swing is less than the mean."""
        angle = math.tau * seconds / self._period_s + self._phase
        return self._mean * seconds - self._swing * self._period_s / math.tau * math.cos(angle)


def simulated_counters(guest: GuestState, now: float) -> GuestCounters:
    """The counters of this guest at `now`, seconds since the epoch: the same for the same."""
    pick = random.Random(guest.vm_id)  # noqa: S311
    cpu = Wave(pick, guest.vcpus * pick.uniform(0.03, 0.5))
    memory = Wave(pick, guest.memory_mib * pick.uniform(0.2, 0.5))
    read, written, received, sent = (
        Wave(pick, most * _MIB * pick.uniform(0.02, 1)) for most in (4, 2, 1, 0.5)
    )
    return GuestCounters(
        cpu_s=cpu.until(now),
        memory_used_mib=round(memory.at(now)),
        disk_used=round(pick.uniform(0.6, 3) * _GIB),
        disk_read=round(read.until(now)),
        disk_written=round(written.until(now)),
        net_in=round(received.until(now)),
        net_out=round(sent.until(now)),
    )
