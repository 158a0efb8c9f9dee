"""What is known of one first boot so far. Each source adds what it knows; none takes away."""

import msgspec

from agent.boot.redaction import cleaned
from metadata.boot_reports import BootEvent, BootFinal, BootWord

STAGES = ("local", "network", "config", "final")
MOST_LINES = 200
MOST_ERRORS = 16
_MOST_MODULES = 64
_RANK = {"": 0, "SUCCESS": 1, "WARN": 2, "FAIL": 3}


class StageEvidence(msgspec.Struct, frozen=True, kw_only=True):
    """Times in seconds since the Unix epoch, by the host's clock. `result` is cloud-init's word."""

    started_at: float | None = None
    ended_at: float | None = None
    seconds: float | None = None
    """By the guest's own clock: better than the difference of the two."""
    result: str = ""
    errors: list[str] = []


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """One first boot of one guest, kept until its next."""

    instance_id: str
    identity: str = "openstack"
    number: int = 0
    """Counts up with each change that the portal shall hear of."""
    acknowledged: int = 0
    sources: list[str] = []
    asked: bool = False
    datasource: str = ""
    stages: dict[str, StageEvidence] = {}
    modules: dict[str, str] = {}
    """Results that are not good, by "stage/module"."""
    lines: list[str] = []
    ended: bool = False
    """cloud-init came to its end, good or bad."""
    told: bool = False
    """The guest said its last word: what its later boots report is not about this one."""
    home: bool = False
    """The guest said so by phone_home."""
    overdue: bool = False
    no_network: bool = False
    crashed: bool = False
    """The guest's kernel or cloud-init itself broke down."""


def with_word(known: Evidence, word: BootWord, secrets: frozenset[str]) -> Evidence:
    """What the guest reported to the metadata service."""
    if known.told:
        return known
    if isinstance(word, BootEvent):
        return _with_event(known, word)
    return _with_final(known, word, secrets)


def _with_event(known: Evidence, event: BootEvent) -> Evidence:
    known = with_source(known, "reports")
    if event.module:
        name = f"{event.stage}/{event.module.replace('_', '-')}"
        if event.kind == "start" or event.result == "SUCCESS":
            return known
        if name not in known.modules and len(known.modules) >= _MOST_MODULES:
            return known
        return msgspec.structs.replace(known, modules={**known.modules, name: event.result})
    stage = known.stages.get(event.stage, StageEvidence())
    if event.kind == "start":
        stage = msgspec.structs.replace(stage, started_at=stage.started_at or event.at)
    else:
        stage = msgspec.structs.replace(
            stage, ended_at=stage.ended_at or event.at, result=_worse(stage.result, event.result)
        )
    return with_stage(known, event.stage, stage)


def _with_final(known: Evidence, final: BootFinal, secrets: frozenset[str]) -> Evidence:
    known = msgspec.structs.replace(with_source(known, "result"), told=True)
    for name in STAGES:
        seconds, errors = final.seconds.get(name), final.errors.get(name, [])
        if seconds is None and not errors:
            continue
        stage = known.stages.get(name, StageEvidence())
        told = [*stage.errors, *cleaned(errors, secrets)][:MOST_ERRORS]
        known = with_stage(
            known,
            name,
            msgspec.structs.replace(
                stage,
                seconds=seconds if seconds is not None else stage.seconds,
                errors=told,
                result=_worse(stage.result, "FAIL" if told else "SUCCESS"),
            ),
        )
    known = with_lines(known, final.lines, secrets)
    return msgspec.structs.replace(
        known, ended=True, datasource=final.datasource or known.datasource
    )


def with_files(known: Evidence, final: BootFinal, *, ended: bool) -> Evidence:
    """What the guest agent read of cloud-init's own files. It says no more than the guest's last
    word would, and comes where that does not."""
    if known.told or not (final.seconds or final.errors or final.datasource):
        return known
    before = known
    known = with_source(_with_final(known, final, frozenset()), "agent")
    if "result" not in before.sources:
        known = msgspec.structs.replace(
            known, sources=[source for source in known.sources if source != "result"]
        )
    return msgspec.structs.replace(known, told=ended, ended=before.ended or ended)


def with_source(known: Evidence, source: str) -> Evidence:
    if source in known.sources:
        return known
    return msgspec.structs.replace(known, sources=[*known.sources, source])


def with_stage(known: Evidence, name: str, stage: StageEvidence) -> Evidence:
    return msgspec.structs.replace(known, stages={**known.stages, name: stage})


def with_lines(known: Evidence, lines: list[str], secrets: frozenset[str]) -> Evidence:
    """More lines of the log: the same is kept once, and the first ones matter most."""
    room = MOST_LINES - len(known.lines)
    new = [line for line in dict.fromkeys(cleaned(lines, secrets)) if line not in known.lines]
    return msgspec.structs.replace(known, lines=[*known.lines, *new[: max(room, 0)]])


def _worse(one: str, other: str) -> str:
    return max(one, other, key=lambda result: _RANK.get(result, 0))
