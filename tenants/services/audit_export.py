"""Whole chains as files, with what proves them; and checking such a file by itself.

JSON lines. Each chain begins with a line that says where it starts, then a line for each place,
then its checkpoints:

    {"type": "basalt-audit-chain", "version": 1, "chain": …, "name": …, "after": 0, "hash": "00…"}
    {"type": "event", "seq": 1, "hash": …, "event": {…}}
    {"type": "place", "seq": 2, "hash": …, "digest": …}
    {"type": "basalt-audit-checkpoint", …, "signature": …}

A `place` is an event that is left out, as it is another customer's: its digest says nothing of
it, and lets the chain be followed across it.
"""

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO
from uuid import UUID

from django.utils import timezone

from tenants.models import AuditCheckpoint
from tenants.services.audit_checkpoints import (
    Checkpoint,
    CheckpointUnreadableError,
    checkpoints_in,
    stored,
)
from tenants.services.audit_proof import (
    FIELDS,
    GENESIS,
    as_json,
    event_digest,
    from_json,
    link_hash,
)
from tenants.services.audit_read import chain_links, chain_names
from tenants.services.audit_verify import ChainReport, Problem

CHAIN_TYPE = "basalt-audit-chain"
_TENANT = FIELDS.index("tenant")
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


@dataclass(frozen=True)
class Start:
    """Where a chain begins: after this place, whose hash was this."""

    after: int
    hash: bytes


def chain_start(chain: UUID) -> Start:
    """The end of what was archived and removed, or nothing."""
    row = AuditCheckpoint.objects.filter(chain_id=chain, anchor=True).order_by("-seq").first()
    return Start(row.seq, bytes(row.hash)) if row else Start(0, GENESIS)


def export_lines(
    *, tenant: UUID | None = None, chains: list[UUID] | None = None, until: int | None = None
) -> Iterator[str]:
    """All chains, or `chains`; of events only those of `tenant`; up to the number `until`."""
    for chain, name in chain_names().items():
        if chains is None or chain in chains:
            yield from _chain_lines(chain, name, tenant, until)


def _chain_lines(chain: UUID, name: str, tenant: UUID | None, until: int | None) -> Iterator[str]:
    start = chain_start(chain)
    yield _line(
        {"type": CHAIN_TYPE, "version": 1, "chain": str(chain), "name": name,
         "after": start.after, "hash": start.hash.hex(), "at": timezone.now().isoformat()}
    )  # fmt: skip
    last = start.after
    for link in chain_links(chain, after=start.after):
        if link.texts is None or (until is not None and link.seq > until):
            break
        place: dict[str, Any] = {"seq": link.seq, "hash": link.hash.hex()}
        if tenant is None or link.texts[_TENANT] == str(tenant):
            yield _line({"type": "event", **place, "event": as_json(link.texts)})
        else:
            yield _line({"type": "place", **place, "digest": event_digest(link.texts).hex()})
        last = link.seq
    for row in AuditCheckpoint.objects.filter(chain_id=chain, seq__lte=last).iterator():
        yield stored(row).as_line()


def export_csv(file: TextIO, *, tenant: UUID | None = None) -> None:
    """The same events as a table, with their places and hashes. It is for people: what proves
    the events is the other format."""
    writer = csv.writer(file)
    writer.writerow(["seq", "hash", *FIELDS])
    for chain in chain_names():
        for link in chain_links(chain, after=chain_start(chain).after):
            if link.texts is not None and (tenant is None or link.texts[_TENANT] == str(tenant)):
                event = as_json(link.texts) | {
                    name: link.texts[FIELDS.index(name)] for name in ("before", "after")
                }
                cells = [_harmless(event[name]) for name in FIELDS]
                writer.writerow([link.seq, link.hash.hex(), *cells])


def _harmless(value: Any) -> str:
    # https://owasp.org/www-community/attacks/CSV_Injection
    text = "" if value is None else str(value)
    return "'" + text if text.startswith(_FORMULA) else text


def _line(said: dict[str, Any]) -> str:
    return json.dumps(said, ensure_ascii=False)


# ------------------------------------------------------------------ checking a file


def file_verify(
    path: Path, *, checkpoints: list[Checkpoint], trusted: frozenset[str]
) -> list[ChainReport]:
    """An export by itself, without the database. Raises CheckpointUnreadableError, OSError."""
    given = [one.checked(trusted) for one in [*checkpoints_in(path), *checkpoints]]
    reports: dict[str, ChainReport] = {}
    said_last = ""
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                said = json.loads(line)
                kind = said["type"]
                if kind == CHAIN_TYPE:
                    said_last = said["chain"]
                    reports[said_last] = _begun(said, given)
                elif kind in ("event", "place"):
                    report = reports[said_last]
                    if report.problem is None:
                        report.problem = _follow(report, said, given)
            except (ValueError, KeyError, TypeError) as error:
                raise CheckpointUnreadableError(
                    f"Line {number} of {path} is not of an export of Basalt's audit log."
                ) from error
    for report in reports.values():
        later = [one for one in given if one.chain == report.chain and one.seq > report.last]
        if later and report.problem is None:
            seq = report.last + 1
            report.problem = Problem(
                "truncated", seq, None,
                f"The file ends before event {seq:,}, and a checkpoint knows {later[0].seq:,}.",
            )  # fmt: skip
    return list(reports.values())


def _begun(said: dict[str, Any], given: list[Checkpoint]) -> ChainReport:
    report = ChainReport(
        chain=UUID(said["chain"]),
        name=said["name"],
        last=said["after"],
        hash=bytes.fromhex(said["hash"]),
    )
    if report.last == 0 and report.hash == GENESIS:
        return report
    for one in given:
        if (one.chain, one.seq, one.hash) == (report.chain, report.last, report.hash):
            report.checkpoint = one
            return report
    report.problem = Problem(
        "deleted", report.last, None,
        f"The file begins after event {report.last:,}, and no signed anchor says why.",
    )  # fmt: skip
    return report


def _follow(report: ChainReport, said: dict[str, Any], given: list[Checkpoint]) -> Problem | None:
    seq = report.last + 1
    if said["seq"] != seq:
        return Problem("deleted", seq, None, f"Event {seq:,} is missing.")
    whole = said["type"] == "event"
    digest = event_digest(from_json(said["event"])) if whole else bytes.fromhex(said["digest"])
    found = link_hash(str(report.chain), seq, report.hash, digest)
    if found.hex() != said["hash"]:
        return Problem("edited", seq, None, f"Event {seq:,} was changed.")
    for one in given:
        if (one.chain, one.seq) == (report.chain, seq):
            if one.hash != found:
                since = report.checkpoint.seq + 1 if report.checkpoint else 1
                return Problem(
                    "rewritten", since, None,
                    f"The checkpoint of {one.at:%Y-%m-%d %H:%M} UTC does not know event {seq:,} "
                    f"as it is. From event {since:,} on, nothing is vouched for.",
                )  # fmt: skip
            report.checkpoint = one
    report.last, report.hash, report.events = seq, found, report.events + int(whole)
    return None
