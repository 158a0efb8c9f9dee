"""What somebody who owns the database might do to its audit log, by chance from a seed."""

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection

from tenants.database.audit import KEPT
from tenants.database.owner import as_owner
from tenants.services.audit_proof import GENESIS, event_digest, link_hash
from tenants.services.audit_read import chain_links

COLUMNS = {
    "chain_id": "gen_random_uuid()",
    "tenant_id": "CASE WHEN tenant_id IS NULL THEN gen_random_uuid() END",
    "tenant_name": "tenant_name || ' '",
    "site_id": "CASE WHEN site_id IS NULL THEN gen_random_uuid() END",
    "created_at": "created_at + interval '1 microsecond'",
    "actor_id": "CASE WHEN actor_id IS NULL THEN gen_random_uuid() END",
    "actor_kind": "CASE actor_kind WHEN 'person' THEN 'token' ELSE 'person' END",
    "actor_name": "actor_name || 'x'",
    "token_id": "CASE WHEN token_id IS NULL THEN gen_random_uuid() END",
    "credential": "'session ' || left(md5(credential), 8)",
    "ip": "CASE WHEN ip IS NULL THEN '192.0.2.250'::inet ELSE set_masklen(ip, 24) END",
    "user_agent": "user_agent || 'x'",
    "action": "action || 'd'",
    "object_kind": "object_kind || 's'",
    "object_id": "gen_random_uuid()",
    "object_name": "upper(object_name) || '.'",
    "before": "before || '{\"was\": 1}'",
    "after": "after || '{\"is\": null}'",
}
"""Another value for each column of an event, in SQL."""

WAYS = (
    "edit", "edit", "edit", "delete", "delete-link", "delete-both", "swap", "swap-places",
    "truncate", "insert", "insert-linked", "rewrite", "hash", "renumber",
)  # fmt: skip


@contextmanager
def doors_open() -> Iterator[None]:
    """The triggers are off, as only the tables' owner can: what is left is the chain."""
    _triggers("DISABLE")
    try:
        yield
    finally:
        _triggers("ENABLE")


def _triggers(word: str) -> None:
    with as_owner(), connection.cursor() as cursor:
        for table in KEPT:
            cursor.execute(f"ALTER TABLE {table} {word} TRIGGER USER")


def tamper(way: str = "", *, seed: int = 0, at: int | None = None) -> str:
    """Do one thing to the only chain there is. Answers what, in words."""
    chance = random.Random(seed)
    way = way or chance.choice(WAYS)
    chain, count = _one("SELECT chain_id, max(seq) FROM tenants_auditlink GROUP BY chain_id")
    at = at or chance.randint(1, count)
    other = chance.choice([seq for seq in range(1, count + 1) if seq != at])
    event, mate = _event(at), _event(other)
    said = f"{way} at {at}"
    if way == "edit":
        column = chance.choice(sorted(COLUMNS))
        said += f" of {column}"
        _do(f"UPDATE tenants_auditevent SET {column} = {COLUMNS[column]} WHERE id = %s", event)  # noqa: S608
    elif way == "delete":
        _do("DELETE FROM tenants_auditevent WHERE id = %s", event)
    elif way == "delete-link":
        _do("DELETE FROM tenants_auditlink WHERE event_id = %s", event)
    elif way == "delete-both":
        _do("DELETE FROM tenants_auditlink WHERE event_id = %s", event)
        _do("DELETE FROM tenants_auditevent WHERE id = %s", event)
    elif way == "swap":
        said += f" and {other}"
        _swap("id", "tenants_auditevent", "id", event, mate)
    elif way == "swap-places":
        said += f" and {other}"
        _do("UPDATE tenants_auditlink SET seq = -seq WHERE seq IN (%s, %s)", at, other)
        _do("UPDATE tenants_auditlink SET seq = %s WHERE seq = %s", at, -other)
        _do("UPDATE tenants_auditlink SET seq = %s WHERE seq = %s", other, -at)
    elif way == "truncate":
        _do("DELETE FROM tenants_auditevent WHERE id IN "
            "(SELECT event_id FROM tenants_auditlink WHERE seq >= %s)", at)  # fmt: skip
        _do("DELETE FROM tenants_auditlink WHERE seq >= %s", at)
    elif way in ("insert", "insert-linked"):
        _insert(chain, event, at if way == "insert-linked" else None)
    elif way == "rewrite":
        _do("UPDATE tenants_auditevent SET actor_name = 'somebody else' WHERE id = %s", event)
        _recompute(chain)
    elif way == "hash":
        _do("UPDATE tenants_auditlink SET hash = sha256(hash) WHERE seq = %s", at)
    elif way == "renumber":
        _do("UPDATE tenants_auditlink SET seq = -seq - 1 WHERE seq >= %s", at)
        _do("UPDATE tenants_auditlink SET seq = -seq WHERE seq < 0")
    return said


def _insert(chain: Any, like: Any, place: int | None) -> None:
    """A forged event; with a place of its own among the others, and all hashes made to fit."""
    columns = ", ".join(column for column in COLUMNS)
    [forged] = _one(
        f"INSERT INTO tenants_auditevent (id, {columns}) "  # noqa: S608
        f"SELECT gen_random_uuid(), {columns} FROM tenants_auditevent WHERE id = %s RETURNING id",
        like,
    )
    if place is not None:
        _do("UPDATE tenants_auditlink SET seq = -seq - 1 WHERE seq >= %s", place)
        _do("UPDATE tenants_auditlink SET seq = -seq WHERE seq < 0")
        _do("INSERT INTO tenants_auditlink (event_id, chain_id, seq, hash) VALUES (%s, %s, %s, %s)",
            forged, chain, place, hashlib.sha256(b"").digest())  # fmt: skip
        _recompute(chain)


def _recompute(chain: Any) -> None:
    """What a careful forger does: every hash is made to fit what stands there now."""
    head = GENESIS
    for link in list(chain_links(chain)):
        assert link.texts is not None
        head = link_hash(str(chain), link.seq, head, event_digest(link.texts))
        _do("UPDATE tenants_auditlink SET hash = %s WHERE seq = %s", head, link.seq)


def _swap(column: str, table: str, key: str, one: Any, other: Any) -> None:
    third = "ffffffff-ffff-4fff-bfff-ffffffffffff"
    for new, old in ((third, one), (one, other), (other, third)):
        _do(f"UPDATE {table} SET {column} = %s WHERE {key} = %s", new, old)  # noqa: S608


def _event(seq: int) -> Any:
    return _one("SELECT event_id FROM tenants_auditlink WHERE seq = %s", seq)[0]


def _one(query: str, *values: Any) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(query, values)
        return cursor.fetchone()


def _do(query: str, *values: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(query, values)
