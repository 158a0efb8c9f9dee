"""The agent's one small database: its journal of jobs and the guests it answers for."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

_SCHEMA = """
CREATE TABLE IF NOT EXISTS job (
    job_id      TEXT PRIMARY KEY,
    vm_id       TEXT NOT NULL,
    request     BLOB NOT NULL,
    outcome     BLOB,
    accepted_at REAL NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS vm (
    vm_id  TEXT PRIMARY KEY,
    record BLOB NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS boot (
    vm_id    TEXT PRIMARY KEY,
    evidence BLOB NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS fact (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT;
"""


class Database:
    """SQLite with a write-ahead log. A committed transaction survives a power cut.

    Calls block for the length of a disk flush, so the event loop calls from a thread; the
    lock lets any thread do so. The agent is the only program that opens the file.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = Lock()
        self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        path.chmod(0o600)
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = FULL")
        self._connection.execute("PRAGMA cache_size = -256")
        self._connection.execute("PRAGMA secure_delete = ON")
        self._connection.executescript(_SCHEMA)

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """One durable change, or none."""
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def scrub(self) -> None:
        """Have what was deleted or replaced before gone from the disk. `secure_delete` writes
        zeros over it in the database; its copies in the write-ahead log go with this.

        Blocks for a few milliseconds. The disk itself may keep what it has written over.
        """
        with self._lock:
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def rows(self, query: str, *parameters: object) -> list[tuple[object, ...]]:
        """All rows of one query."""
        with self._lock:
            return self._connection.execute(query, parameters).fetchall()

    def close(self) -> None:
        with self._lock:
            self._connection.close()
