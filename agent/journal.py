"""The journal of jobs: what was asked, and how it ended, until the portal has stored it.

A job is in here before the agent says "accepted", so whatever dies afterwards, the next
start brings the job to its one end. Secrets are in it only as the portal sealed them.
"""

import time
from typing import Any, cast

import msgspec

from agent.database import Database
from agent.protocol import JobFinished, JobRequest

_request = msgspec.msgpack.Decoder(JobRequest)
_outcome = msgspec.msgpack.Decoder(JobFinished)
_encode = msgspec.msgpack.Encoder().encode


class Journal:
    """Jobs by id. Every method is one durable step."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def accept(self, request: JobRequest) -> bool:
        """Write the job down. False when its id is known already: nothing changes then."""
        with self._database.transaction() as connection:
            cursor = connection.execute(
                "INSERT OR IGNORE INTO job (job_id, vm_id, request, accepted_at)"
                " VALUES (?, ?, ?, ?)",
                (request.job_id, request.arguments.vm_id, _encode(request), time.time()),
            )
            return cursor.rowcount == 1

    def finish(self, outcome: JobFinished) -> JobFinished:
        """Write the job's end. The first end stands: a second one is answered with it."""
        with self._database.transaction() as connection:
            connection.execute(
                # The arguments are not needed any more, and hold sealed secrets.
                "UPDATE job SET outcome = ?, request = x'' WHERE job_id = ? AND outcome IS NULL",
                (_encode(outcome), outcome.job_id),
            )
        self._database.scrub()
        return self.outcome(outcome.job_id) or outcome

    def outcome(self, job_id: str) -> JobFinished | None:
        """The job's end, or None while it has none or is not known."""
        rows = self._database.rows(
            "SELECT outcome FROM job WHERE job_id = ? AND outcome IS NOT NULL", job_id
        )
        return _outcome.decode(cast(bytes, rows[0][0])) if rows else None

    def unfinished(self) -> list[JobRequest]:
        """Accepted jobs without an end, in the order they were accepted."""
        rows = self._database.rows("SELECT request FROM job WHERE outcome IS NULL ORDER BY rowid")
        return [_request.decode(cast(bytes, row[0])) for row in rows]

    def outcomes(self) -> list[JobFinished]:
        """Ends that the portal has not acknowledged, oldest first."""
        rows = self._database.rows(
            "SELECT outcome FROM job WHERE outcome IS NOT NULL ORDER BY rowid"
        )
        return [_outcome.decode(cast(bytes, row[0])) for row in rows]

    def job_ids(self) -> list[str]:
        """Every job that the portal has not acknowledged."""
        rows: list[Any] = self._database.rows("SELECT job_id FROM job ORDER BY rowid")
        return [row[0] for row in rows]

    def forget(self, job_id: str) -> None:
        """The portal has stored the outcome. A job still running is not forgotten."""
        with self._database.transaction() as connection:
            connection.execute(
                "DELETE FROM job WHERE job_id = ? AND outcome IS NOT NULL", (job_id,)
            )
