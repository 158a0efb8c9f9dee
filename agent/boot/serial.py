"""What a guest's serial line tells of its first boot: for guests that reach nobody.

cloud-init writes a line at the start of each stage and one at its end to the console, with the
times; warnings and tracebacks go there too. The line is the guest's: whatever it prints is text.
"""

import re

import msgspec

from agent.boot.evidence import Evidence, StageEvidence, with_lines, with_source, with_stage
from agent.boot.redaction import clean_line

MOST_UNFINISHED = 4096
"""Bytes of a line that has no end yet."""
_STAGES = {
    "init-local": "local",
    "init": "network",
    "modules:config": "config",
    "modules:final": "final",
}
_RUNNING = re.compile(
    r"Cloud-init v\. \S{1,64} running '([a-z:-]{1,20})' at .{1,64}Up \d{1,9}(?:\.\d{1,6})? seconds"
)
_FINISHED = re.compile(
    r"Cloud-init v\. \S{1,64} finished at .{1,64}Datasource (DataSource.{1,200}?)\.\s+"
    r"Up \d{1,9}(?:\.\d{1,6})? seconds"
)
_WORTH = re.compile(
    r"\[(?:WARNING|ERROR|CRITICAL)\]|Traceback \(most recent|Failed to start .*[Cc]loud"
    r"|^E: |/var/lib/cloud/instance/scripts/|cloud-init.*(?:[Ff]ailed|error)"
)
# The console's own stamp and the program's name: the same line without them is in the log.
_PREFIX = re.compile(r"^\[\s*\d{1,9}\.\d{1,6}\] [\w.-]{1,32}\[\d{1,9}\]: ")
_CRASH = re.compile(r"Kernel panic - not syncing|Give root password for maintenance|emergency mode")
# ci-info's table of devices: | name | up | address | mask | scope | hardware address |
_DEVICE = re.compile(r"ci-info: \|\s*(\S{1,15})\s*\|\s*(True|False)\s*\|\s*(\S{1,64})\s*\|")


class SerialText:
    """Pieces of a serial line's bytes become whole lines."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[str]:
        *whole, rest = (self._rest + data).replace(b"\r", b"\n").split(b"\n")
        self._rest = rest[-MOST_UNFINISHED:]
        return [line[:MOST_UNFINISHED].decode("utf-8", "replace") for line in whole if line.strip()]


def with_serial(
    known: Evidence, lines: list[str], *, now: float, secrets: frozenset[str]
) -> Evidence:
    """What these lines tell beside what is known already."""
    devices: dict[str, bool] = {}
    worth: list[str] = []
    for raw in lines:
        line = _PREFIX.sub("", clean_line(raw, secrets))
        running, finished = _RUNNING.search(line), _FINISHED.search(line)
        device = _DEVICE.search(line)
        if running and running[1] in _STAGES:
            known = _stage_began(known, _STAGES[running[1]], now)
        elif finished:
            known = _cloud_init_ended(known, finished[1], now)
        elif device and device[1] != "lo":
            devices[device[1]] = device[2] == "True" and device[3] != "."
        elif _CRASH.search(line):
            known = msgspec.structs.replace(with_source(known, "serial"), crashed=True)
            worth.append(line)
        elif _WORTH.search(line):
            worth.append(line)
    if devices:
        known = msgspec.structs.replace(known, no_network=not any(devices.values()))
    if worth:
        known = with_lines(with_source(known, "serial"), worth, secrets)
    return known


def _stage_began(known: Evidence, name: str, now: float) -> Evidence:
    known = with_source(known, "serial")
    order = list(_STAGES.values())
    for earlier in order[: order.index(name)]:
        stage = known.stages.get(earlier)
        if stage is not None and stage.ended_at is None:
            known = with_stage(known, earlier, msgspec.structs.replace(stage, ended_at=now))
    stage = known.stages.get(name, StageEvidence())
    if stage.started_at is None:
        known = with_stage(known, name, msgspec.structs.replace(stage, started_at=now))
    return known


def _cloud_init_ended(known: Evidence, datasource: str, now: float) -> Evidence:
    known = _stage_began(known, "final", now)
    stage = known.stages["final"]
    known = with_stage(
        known, "final", msgspec.structs.replace(stage, ended_at=stage.ended_at or now)
    )
    return msgspec.structs.replace(
        known, ended=True, datasource=known.datasource or datasource.strip()
    )
