"""The arithmetic of the audit chain, without the database: events to bytes to hashes.

    event   SHA-256( ["basalt-audit-event-1", "field", null, "field" …] )
    link    SHA-256( "basalt-audit-link-1,<chain>,<seq>," previous-hash event-hash )

An event is a JSON array of texts, in UTF-8, written as PostgreSQL and Python write it: ", " between
items, and no escapes but those that JSON needs.

Before the first link the previous hash is 32 zero bytes. The fields and their order are those of
tenants.database.audit.CANONICAL, whose triggers compute the same.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from tenants.database.audit import CANONICAL, EVENT_MARK, LINK_MARK

FIELDS = tuple(name for name, _ in CANONICAL)
GENESIS = bytes(32)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def event_digest(texts: Sequence[str | None]) -> bytes:
    """Of one event, by the texts of its fields in the order of FIELDS."""
    written = json.dumps([EVENT_MARK, *texts], ensure_ascii=False)
    return hashlib.sha256(written.encode()).digest()


def link_hash(chain: str, seq: int, before: bytes, digest: bytes) -> bytes:
    """Of one place in a chain. `before` is the hash of the place before it."""
    return hashlib.sha256(f"{LINK_MARK},{chain},{seq},".encode() + before + digest).digest()


# ------------------------------------------------------------------ events in files


def as_json(texts: Sequence[str | None]) -> dict[str, Any]:
    """An event for a line of an export: times as ISO 8601, addresses bare, JSON as JSON."""
    event: dict[str, Any] = dict(zip(FIELDS, texts, strict=True))
    event["at"] = time_of(int(event["at"])).isoformat()
    if event["ip"] is not None:
        event["ip"] = event["ip"].removesuffix("/128" if ":" in event["ip"] else "/32")
    event["before"], event["after"] = json.loads(event["before"]), json.loads(event["after"])
    return event


def from_json(event: Mapping[str, Any]) -> list[str | None]:
    """The texts of an event that `as_json` wrote. Raises KeyError, TypeError, ValueError."""
    texts = {name: event[name] for name in FIELDS}
    texts["at"] = str(microseconds(datetime.fromisoformat(texts["at"])))
    if texts["ip"] is not None and "/" not in texts["ip"]:
        texts["ip"] += "/128" if ":" in texts["ip"] else "/32"
    # PostgreSQL's own way of writing jsonb, with keys in the order in which they were read.
    for name in ("before", "after"):
        texts[name] = json.dumps(texts[name], ensure_ascii=False, separators=(", ", ": "))
    for name, text in texts.items():
        if text is not None and not isinstance(text, str):
            raise TypeError(f"{name} is not a text")
    return list(texts.values())


def time_of(microseconds_since_1970: int) -> datetime:
    return _EPOCH + timedelta(microseconds=microseconds_since_1970)


def microseconds(when: datetime) -> int:
    """Since 1970, exactly."""
    return (when - _EPOCH) // timedelta(microseconds=1)
