"""The moments of a first boot, as a guest's serial console tells them."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tests.bench.figures import median

# In the order in which they happen.
MARKS = {
    "kernel": re.compile(r"Linux version \d"),
    "systemd": re.compile(r"systemd\[1\]: systemd .* running in system mode"),
    "cloud-init-local": re.compile(r"Cloud-init v\. \S+ running 'init-local'"),
    "cloud-init-network": re.compile(r"Cloud-init v\. \S+ running 'init'"),
    "cloud-init-config": re.compile(r"Cloud-init v\. \S+ running 'modules:config'"),
    "cloud-init-final": re.compile(r"Cloud-init v\. \S+ running 'modules:final'"),
    "finished": re.compile(r"Cloud-init v\. \S+ finished at"),
}

Moments = dict[str, float]


@dataclass(frozen=True)
class Boot:
    """One first boot. On a busy machine `cpu_seconds`, what QEMU took until cloud-init had
    finished, says more than the clock."""

    moments: Moments
    cpu_seconds: float


def moments(lines: Iterable[tuple[float, str]]) -> Moments:
    """When each mark was first seen, in the seconds that `lines` carry."""
    found: Moments = {}
    for moment, line in lines:
        for name, pattern in MARKS.items():
            if name not in found and pattern.search(line):
                found[name] = moment
    return found


def medians(rounds: Iterable[Mapping[str, float]]) -> Moments:
    """The median of each moment that every round has."""
    every = list(rounds)
    shared = [name for name in every[0] if all(name in one for one in every)]
    return {name: median([one[name] for one in every]) for name in shared}


def spans(moments: Mapping[str, float]) -> Moments:
    """Seconds between each moment and the one before it; the first counts from zero.

    Moments that are not in time's order (the console's lines arrive in bursts) give zero.
    """
    before = 0.0
    result: Moments = {}
    for name, moment in moments.items():
        result[name] = max(moment - before, 0.0)
        before = max(before, moment)
    return result
