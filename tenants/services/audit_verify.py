"""Is the audit log still what it was? Reads every chain from its beginning, and says where not."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from uuid import UUID

from django.utils import timezone

from tenants.models import AuditCheckpoint, AuditVerification
from tenants.services.audit_checkpoints import (
    Checkpoint,
    CheckpointUnreadableError,
    keys_trusted,
    stored,
)
from tenants.services.audit_proof import GENESIS, event_digest, link_hash
from tenants.services.audit_read import ChainLink, chain_links, chain_names, first_unlinked


@dataclass(frozen=True)
class Problem:
    """The first thing that is wrong with a chain.

    `seq`: the first event that can't be trusted; None where it has no number. `kind`: edited,
    deleted, truncated, rewritten, inserted, forged-checkpoint.
    """

    kind: str
    seq: int | None
    event_id: UUID | None
    sentence: str


@dataclass
class ChainReport:
    """What came of reading one chain. `last` is the last event that is vouched for."""

    chain: UUID
    name: str
    events: int = 0
    last: int = 0
    hash: bytes = GENESIS
    checkpoint: Checkpoint | None = None
    """The last one that agreed."""
    problem: Problem | None = None


@dataclass
class _Marks:
    """The checkpoints of one chain, in the order of their numbers, as they are come to."""

    waiting: list[Checkpoint] = field(default_factory=list)
    anchor: Checkpoint | None = None

    def at(self, seq: int) -> Iterator[Checkpoint]:
        while self.waiting and self.waiting[0].seq <= seq:
            yield self.waiting.pop(0)


def audit_verify(
    *, checkpoints: Iterable[Checkpoint] = (), trusted: Iterable[str] | None = None
) -> list[ChainReport]:
    """Every chain, against itself, the checkpoints in the database and those handed over.

    A chain that was written anew from some event on agrees with itself: only a checkpoint that
    whoever did it could not replace gives it away.
    """
    keys = frozenset(trusted) if trusted is not None else keys_trusted()
    names = chain_names()
    given: dict[UUID, list[Checkpoint]] = {}
    for checkpoint in checkpoints:
        given.setdefault(checkpoint.chain, []).append(checkpoint)
        names.setdefault(checkpoint.chain, checkpoint.name)
    return [
        chain_verify(chain, name, checkpoints=given.get(chain, ()), trusted=keys)
        for chain, name in names.items()
    ]


def chain_verify(
    chain: UUID, name: str, *, checkpoints: Iterable[Checkpoint], trusted: Iterable[str]
) -> ChainReport:
    """One chain. Memory does not grow with its length, only with its checkpoints."""
    report = ChainReport(chain=chain, name=name)
    rows = AuditCheckpoint.objects.filter(chain_id=chain)
    try:
        marks = _marks([*map(stored, rows), *checkpoints], trusted)
    except CheckpointUnreadableError as error:
        report.problem = Problem("forged-checkpoint", None, None, str(error))
        return report
    begin = marks.anchor
    if begin is not None:
        report.last, report.hash, report.checkpoint = begin.seq, begin.hash, begin
    report.problem = (
        walked(report, chain_links(chain, after=report.last), marks)
        or _truncated(report, marks)
        or _inserted(chain)
    )
    return report


def walked(report: ChainReport, links: Iterable[ChainLink], marks: _Marks) -> Problem | None:
    """Follow the links from where the report stands; the first that does not fit ends it."""
    for link in links:
        seq = report.last + 1
        if link.seq != seq:
            return Problem("deleted", seq, None, f"Event {seq:,} was deleted.")
        if link.texts is None:
            return Problem("deleted", seq, link.event_id, f"Event {seq:,} was deleted.")
        digest = event_digest(link.texts)
        found = link_hash(str(report.chain), seq, report.hash, digest)
        if found != link.hash:
            return Problem(
                "edited", seq, link.event_id,
                f"Event {seq:,} was changed, or is not the one that stood there.",
            )  # fmt: skip
        # Before anything is vouched for: up to the mark before this one, all agreed.
        for mark in marks.at(seq):
            if mark.hash != found:
                since = report.checkpoint.seq + 1 if report.checkpoint else 1
                return Problem(
                    "rewritten", since, None,
                    f"Events were written anew: the checkpoint of {mark.at:%Y-%m-%d %H:%M} UTC "
                    f"does not know event {seq:,} as it is. From event {since:,} on, nothing is "
                    "vouched for.",
                )  # fmt: skip
            report.checkpoint = mark
        report.last, report.hash = seq, found
        report.events += 1
    return None


def _marks(all_of_them: Iterable[Checkpoint], trusted: Iterable[str]) -> _Marks:
    """Raises CheckpointUnreadableError for one that nobody trusted signed."""
    checked = sorted((one.checked(trusted) for one in all_of_them), key=lambda one: one.seq)
    anchor = max((one for one in checked if one.anchor), key=lambda one: one.seq, default=None)
    begin = anchor.seq if anchor else 0
    return _Marks([one for one in checked if one.seq > begin], anchor)


def _truncated(report: ChainReport, marks: _Marks) -> Problem | None:
    if not marks.waiting:
        return None
    last, seq = marks.waiting[-1], report.last + 1
    return Problem(
        "truncated", seq, None,
        f"Event {seq:,} and those after it were deleted: the checkpoint of "
        f"{last.at:%Y-%m-%d %H:%M} UTC knows {last.seq:,} events.",
    )  # fmt: skip


def _inserted(chain: UUID) -> Problem | None:
    found = first_unlinked(chain)
    if found is None:
        return None
    event_id, when = found
    return Problem(
        "inserted", None, event_id,
        f"The event {event_id} of {when:%Y-%m-%d %H:%M} UTC was put in beside the chain.",
    )  # fmt: skip


def verification_store(reports: Iterable[ChainReport]) -> None:
    """Keep what came of it, for the page."""
    for report in reports:
        AuditVerification.objects.update_or_create(
            chain_id=report.chain,
            defaults={
                "name": report.name,
                "events": report.events,
                "seq": report.last,
                "problem": report.problem.sentence if report.problem else "",
                "checked_at": timezone.now(),
            },
        )
