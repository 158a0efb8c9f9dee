"""Archiving old events: a file that proves itself, a signed anchor, and then they go.

Only the owner of the tables can, and only through the door that the trigger leaves (the setting
`basalt.audit_door`): see tenants.database.audit.
"""

import os
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from uuid import UUID

from django.db import connection, transaction

from tenants.database.owner import as_owner
from tenants.errors import RuleError
from tenants.models import AuditEvent, AuditLink
from tenants.services.audit_checkpoints import checkpoint_make, keys_trusted
from tenants.services.audit_export import chain_start, export_lines, file_verify
from tenants.services.audit_read import chain_names

_FIRST_TO_STAY = """
    SELECT min(link.seq) FROM tenants_auditlink link
    JOIN tenants_auditevent e ON e.id = link.event_id
    WHERE link.chain_id = %s AND link.seq > %s AND e.created_at >= %s
"""


class ArchiveError(RuleError):
    """The archive could not be made, or does not prove what it should: nothing was removed."""

    code = "audit_archive"


@dataclass(frozen=True)
class Pruned:
    """Events up to `until` left the database for `path`."""

    chain: UUID
    name: str
    events: int
    until: int
    path: Path


def audit_prune(*, before: datetime, folder: Path) -> list[Pruned]:
    """Archive the events of every chain that are older than `before`, and remove them.

    A chain's oldest events go up to the first that is young enough, so that no gap is left.
    Raises ArchiveError, ImproperlyConfigured where nobody says how to be the owner.
    """
    pruned = []
    for chain, name in chain_names().items():
        until = _last_to_go(chain, before)
        if until is not None:
            pruned.append(_prune(chain, name, until, folder))
    return pruned


def _last_to_go(chain: UUID, before: datetime) -> int | None:
    start = chain_start(chain).after
    with connection.cursor() as cursor:
        cursor.execute(_FIRST_TO_STAY, [chain, start, before])
        (first,) = cursor.fetchone()
    if first is None:
        last = AuditLink.objects.filter(chain_id=chain).order_by("-seq").first()
        first = last.seq + 1 if last else 0
    return first - 1 if first - 1 > start else None


def _prune(chain: UUID, name: str, until: int, folder: Path) -> Pruned:
    path = folder / f"audit-{chain}-to-{until:012}.jsonl"
    link = AuditLink.objects.get(chain_id=chain, seq=until)
    start = chain_start(chain)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            for line in export_lines(chains=[chain], until=until):
                file.write(line + "\n")
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError as error:
        raise ArchiveError(f"{path} is there already. Move it away, then try again.") from error
    [report] = file_verify(path, checkpoints=[], trusted=keys_trusted())
    if report.problem or (report.last, report.hash) != (until, bytes(link.hash)):
        said = report.problem.sentence if report.problem else "It ends elsewhere."
        raise ArchiveError(f"The archive {path} does not prove its events. {said}")
    with as_owner(), transaction.atomic():
        anchor = checkpoint_make(chain, name, until, bytes(link.hash), anchor=True)
        _remove(chain, until)
    with path.open("a") as file:
        file.write(anchor.as_line() + "\n")
    return Pruned(chain, name, until - start.after, until, path)


def _remove(chain: UUID, until: int) -> None:
    gone = AuditLink.objects.filter(chain_id=chain, seq__lte=until)
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL basalt.audit_door = 'prune'")
    AuditEvent.objects.filter(id__in=gone.values("event_id")).delete()
    # The last link stays: the next event goes on from its number and its hash.
    gone.filter(seq__lt=until).delete()
