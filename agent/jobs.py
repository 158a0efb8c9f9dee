"""Bringing each job to its one end, whatever dies in between."""

import asyncio
from typing import Any

import structlog

from agent.errors import JobFailedError
from agent.handlers import handler_for
from agent.host import Host
from agent.protocol import (
    JobAccepted,
    JobError,
    JobFinished,
    JobProgress,
    JobRequest,
    VmReport,
)

log = structlog.get_logger("agent.jobs")


class StepReporter:
    """Tells the portal how far one job is. Calls are cheap: only the newest is sent."""

    def __init__(self, host: Host, job_id: str) -> None:
        self._host = host
        self._job_id = job_id
        self._last: tuple[int, str] | None = None

    def __call__(self, percent: float, step: str) -> None:
        now = (max(0, min(100, int(percent))), step[:255])
        if now != self._last:
            self._last = now
            self._host.outbox.put(JobProgress(job_id=self._job_id, percent=now[0], step=now[1]))


class JobRunner:
    """Jobs of one host. Jobs on one guest run in the order they were accepted."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def request(self, request: JobRequest) -> None:
        """Take a job from the portal. One that is known is not done again."""
        journal = self._host.journal
        if await asyncio.to_thread(journal.accept, request):
            kind = type(request.arguments).__name__
            log.info(
                "job accepted", job_id=request.job_id, kind=kind, vm_id=request.arguments.vm_id
            )
            self._host.outbox.put(JobAccepted(job_id=request.job_id))
            self._spawn(request)
            return
        outcome = await asyncio.to_thread(journal.outcome, request.job_id)
        self._host.outbox.put(outcome or JobAccepted(job_id=request.job_id))

    async def acknowledged(self, job_id: str) -> None:
        """The portal has stored the outcome."""
        await asyncio.to_thread(self._host.journal.forget, job_id)

    async def resume(self) -> None:
        """Start again, from its beginning, each job that has no end yet."""
        for request in await asyncio.to_thread(self._host.journal.unfinished):
            if request.job_id not in self._tasks:
                log.info("job resumed", job_id=request.job_id)
                self._spawn(request)

    async def retell(self) -> None:
        """On a new link: say again what the portal may not have heard."""
        journal = self._host.journal
        for request in await asyncio.to_thread(journal.unfinished):
            self._host.outbox.put(JobAccepted(job_id=request.job_id))
        for outcome in await asyncio.to_thread(journal.outcomes):
            self._host.outbox.put(outcome)
        await self._host.first_boots.retell()

    async def stop(self) -> None:
        """Leave running jobs where they are: the journal has them for the next start."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def settled(self) -> None:
        """Until no job is running."""
        while self._tasks:
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def _spawn(self, request: JobRequest) -> None:
        task = asyncio.create_task(self._run(request), name=f"job {request.job_id}")
        self._tasks[request.job_id] = task
        task.add_done_callback(lambda _: self._tasks.pop(request.job_id, None))

    async def _run(self, request: JobRequest) -> None:
        host, job = self._host, request.arguments
        async with host.lock(job.vm_id):
            error = await self._perform(request)
            outcome = await asyncio.to_thread(
                host.journal.finish,
                JobFinished(job_id=request.job_id, error=error, vm=await self._report(job.vm_id)),
            )
        log.info(
            "job finished",
            job_id=request.job_id,
            kind=type(job).__name__,
            vm_id=job.vm_id,
            error=outcome.error.code if outcome.error else None,
        )
        host.outbox.put(outcome)

    async def _perform(self, request: JobRequest) -> JobError | None:
        handle: Any = handler_for(type(request.arguments))
        try:
            await handle(self._host, request.arguments, StepReporter(self._host, request.job_id))
        except JobFailedError as failure:
            return JobError(code=failure.code, message=failure.message[:2000])
        except Exception as error:
            log.exception("job failed", job_id=request.job_id)
            return JobError(
                code="internal",
                message=f"The agent met an error that it did not expect ({type(error).__name__})."
                " Try again; if it repeats, the agent's log on the host has the details under "
                f"job {request.job_id}.",
            )
        return None

    async def _report(self, vm_id: str) -> VmReport | None:
        try:
            return await self._host.report(vm_id)
        except Exception:
            # The job's end matters more than the state beside it; a snapshot follows.
            log.exception("no report", vm_id=vm_id)
            self._host.outbox.want_snapshot()
            return None
