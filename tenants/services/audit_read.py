"""Reading chains in their order, a part at a time: memory stays the same for any length."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import connection

from tenants.database.audit import CANONICAL
from tenants.models import PORTAL_CHAIN, DeletedTenant, Tenant

AT_ONCE = 1000
"""Links that are held in memory."""

_TEXTS = ", ".join(sql for _, sql in CANONICAL)
_PART = f"""
    SELECT link.seq, link.hash, link.event_id, e.id IS NOT NULL, {_TEXTS}
    FROM tenants_auditlink link LEFT JOIN tenants_auditevent e ON e.id = link.event_id
    WHERE link.chain_id = %s AND link.seq > %s ORDER BY link.seq LIMIT %s
"""  # noqa: S608 - of our own words
_CHAINS = """
    SELECT chain_id FROM tenants_auditlink UNION SELECT chain_id FROM tenants_auditcheckpoint
    UNION SELECT chain_id FROM tenants_auditevent ORDER BY 1
"""
_UNLINKED = """
    SELECT e.id, e.created_at FROM tenants_auditevent e
    LEFT JOIN tenants_auditlink link ON link.event_id = e.id
    WHERE e.chain_id = %s AND link.event_id IS NULL ORDER BY e.created_at, e.id LIMIT 1
"""


@dataclass(frozen=True)
class ChainLink:
    """One place. `texts` is None where its event is gone."""

    seq: int
    hash: bytes
    event_id: UUID
    texts: list[str | None] | None


def chain_links(chain: UUID, *, after: int = 0) -> Iterator[ChainLink]:
    """The places of a chain after `after`, in order."""
    while True:
        rows = _rows(_PART, [chain, after, AT_ONCE])
        for seq, found, event_id, there, *texts in rows:
            yield ChainLink(seq, bytes(found), event_id, texts if there else None)
        if len(rows) < AT_ONCE:
            return
        after = rows[-1][0]


def chain_names() -> dict[UUID, str]:
    """Every chain that has ever been heard of, with the name of its MSP."""
    found = [chain for (chain,) in _rows(_CHAINS, [])]
    names = dict(DeletedTenant.objects.filter(id__in=found).values_list("id", "name"))
    names |= dict(Tenant.objects.filter(id__in=found).values_list("id", "name"))
    names[PORTAL_CHAIN] = "The portal itself"
    return {chain: names.get(chain, str(chain)) for chain in found}


def first_unlinked(chain: UUID) -> tuple[UUID, Any] | None:
    """The oldest event that has no place in its chain, with its time. There should be none."""
    rows = _rows(_UNLINKED, [chain])
    return rows[0] if rows else None


def _rows(query: str, parameters: list[Any]) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(query, parameters)
        rows: list[Any] = cursor.fetchall()
        return rows
