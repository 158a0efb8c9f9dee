"""Small pictures of guests' screens, one at a time."""

import asyncio

import structlog

from agent.errors import JobFailedError
from agent.host import Host
from agent.pictures import PictureError, thumbnail
from agent.protocol import JobError, Screenshot, TakeScreenshot

log = structlog.get_logger("agent.screens")

_MOST_WAITING = 16
_PATIENCE_S = 10.0


class Screens:
    """Takes what the portal asks for, in turn: a host with many guests stays idle."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._turn = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._working: set[asyncio.Task[bytes]] = set()

    def take(self, request: TakeScreenshot) -> None:
        """Begin; the picture, or why there is none, goes to the portal as Screenshot."""
        task = asyncio.create_task(self._run(request), name=f"screen {request.vm_id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        """Forget what waits."""
        tasks = [*self._tasks, *self._working]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, request: TakeScreenshot) -> None:
        try:
            answer = Screenshot(request_id=request.request_id, png=await self._picture(request))
        except JobFailedError as failure:
            error = JobError(code=failure.code, message=failure.message[:2000])
            answer = Screenshot(request_id=request.request_id, error=error)
        self._host.outbox.put(answer)

    async def _picture(self, request: TakeScreenshot) -> bytes:
        if len(self._working) >= _MOST_WAITING:
            raise JobFailedError("busy", "This host is taking many pictures: try again soon.")
        self._host.record(request.vm_id)
        work = asyncio.create_task(self._in_turn(request.vm_id))
        # A QEMU that hangs keeps the turn, and with it one thread, but no more than one.
        self._working.add(work)
        work.add_done_callback(self._working.discard)
        await asyncio.wait([work], timeout=_PATIENCE_S)
        if not work.done():
            raise JobFailedError("busy", "The VM's screen did not answer in time.")
        return work.result()

    async def _in_turn(self, vm_id: str) -> bytes:
        async with self._turn:
            screen = await self._host.driver.screenshot(vm_id)
            try:
                return await asyncio.to_thread(thumbnail, screen)
            except PictureError as error:
                log.warning("no picture", vm_id=vm_id, reason=str(error))
                raise JobFailedError(
                    "screen_unknown", "The VM's screen has a form that can't be shown small."
                ) from error
