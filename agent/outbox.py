"""What the agent has to say, bounded by design: only the newest word about each thing.

While the link is down nothing piles up: a new link starts with a full snapshot and the
journal's outcomes, so whatever else waited is dropped.
"""

import asyncio

from agent.protocol import (
    BootReported,
    FromAgent,
    JobAccepted,
    JobFinished,
    JobProgress,
    Screenshot,
    StreamRefused,
    VmChanged,
)

_MAX_REFUSALS = 64
_MAX_SCREENSHOTS = 4


class Outbox:
    """Messages that wait for the link. Used from the event loop only."""

    def __init__(self) -> None:
        self._accepted: dict[str, JobAccepted] = {}
        self._progress: dict[str, JobProgress] = {}
        self._changes: dict[str, VmChanged] = {}
        self._finished: dict[str, JobFinished] = {}
        self._boots: dict[str, BootReported] = {}
        self._refusals: list[StreamRefused] = []
        self._screenshots: list[Screenshot] = []
        self._wake = asyncio.Event()
        self.snapshot_wanted = False

    def put(self, message: FromAgent) -> None:
        """Say this, unless something newer about the same thing comes first."""
        match message:
            case JobAccepted():
                self._accepted[message.job_id] = message
            case JobProgress():
                self._progress[message.job_id] = message
            case JobFinished():
                self._progress.pop(message.job_id, None)
                self._finished[message.job_id] = message
            case VmChanged():
                self._changes[message.vm_id] = message
            case BootReported():
                self._boots[message.vm_id] = message
            case StreamRefused():
                self._refusals = [*self._refusals[-_MAX_REFUSALS:], message]
            case Screenshot():
                self._screenshots = [*self._screenshots[1 - _MAX_SCREENSHOTS :], message]
            case _:
                raise TypeError(f"{type(message).__name__} does not go through the outbox")
        self._wake.set()

    def want_snapshot(self) -> None:
        """Ask the link for a full snapshot: something changed that has no message."""
        self.snapshot_wanted = True
        self._wake.set()

    def clear(self) -> None:
        """Forget what waits: the snapshot of a new link says it all."""
        self.take()
        self.snapshot_wanted = False

    def take(self) -> list[FromAgent]:
        """Everything that waits, in an order in which an end never comes before its
        acceptance."""
        waiting: list[FromAgent] = [
            *self._accepted.values(),
            *self._progress.values(),
            *self._changes.values(),
            *self._finished.values(),
            *self._boots.values(),
            *self._refusals,
            *self._screenshots,
        ]
        for part in (self._accepted, self._progress, self._changes, self._finished, self._boots):
            part.clear()
        self._refusals, self._screenshots = [], []
        self._wake.clear()
        return waiting

    async def wait(self) -> None:
        """Until there is something to take or a snapshot is wanted."""
        await self._wake.wait()
