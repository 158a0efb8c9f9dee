"""The running agent: its parts put together, and kept in step with what happens."""

import asyncio
import contextlib
import uuid
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

import structlog

from agent import __version__
from agent.errors import JobFailedError
from agent.guests import forget_guest, plumb_guest, start_guest, stop_guest, unplumb_guest
from agent.host import Host
from agent.jobs import JobRunner
from agent.link import Link
from agent.records import VmRecord
from agent.screens import Screens
from agent.streams import ConsoleStreams

if TYPE_CHECKING:
    from metadata.control import NicStatus, Reported

log = structlog.get_logger("agent.service")

_SHUTDOWN_S = 20.0
_FIRST_CONNECTION_S = 30.0
_DAY_S = 24 * 3600.0


class Agent:
    """One host's agent. `run` works until it is cancelled or `stop` is called."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.runner = JobRunner(host)
        self.streams = ConsoleStreams(host)
        self.screens = Screens(host)
        self.link = Link(
            host=host,
            runner=self.runner,
            streams=self.streams,
            screens=self.screens,
            run_id=str(uuid.uuid4()),
        )
        self._adopted = asyncio.Event()
        self._changes: dict[str, asyncio.Task[None]] = {}
        self._background: set[asyncio.Task[None]] = set()
        self._stopping = False

    async def run(self) -> None:
        """Start everything, and keep the link until cancelled."""
        host = self.host
        log.info(
            "agent starts", version=__version__, hypervisor_id=host.settings.identity.hypervisor_id
        )
        try:
            await host.plumber.start()
        except Exception as error:
            log.exception("networks are not available")
            host.problems["network"] = (
                f"The agent cannot make networks on this host: {error} VMs with a NIC cannot "
                "start until this is put right and the agent is restarted."
            )
        await host.driver.start(
            on_change=self.guest_changed,
            on_connected=self._connected,
            on_lost=host.outbox.want_snapshot,
        )
        self._spawn(self._resume())
        self._spawn(self._keep_house())
        self._spawn(host.first_boots.run())
        await self.link.run()

    async def stop(self) -> None:
        """End in order. Guests and their metadata go on, unless the settings say to stop
        them with the agent."""
        self._stopping = True
        await self.runner.stop()
        await self.streams.stop()
        await self.screens.stop()
        for task in [*self._background, *self._changes.values()]:
            task.cancel()
        stop_guests = self.host.settings.stop_guests_on_exit
        if stop_guests:
            await self._stop_guests()
        await self.host.plumber.stop(terminate_server=stop_guests)
        await self.host.driver.stop()
        log.info("agent stopped")

    # ------------------------------------------------------------------ coming up

    async def _resume(self) -> None:
        """Jobs that a crash cut off wait a moment for libvirt: after a power cut it often
        starts later than the agent, and that is no reason to fail them."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._adopted.wait(), _FIRST_CONNECTION_S)
        await self.runner.resume()

    async def _keep_house(self) -> None:
        """Once a day, give back the disk space that images take which nobody uses."""
        while True:
            try:
                await asyncio.to_thread(self.host.images.forget_seldom_used)
            except OSError:
                log.exception("images cannot be tidied up")
            await asyncio.sleep(_DAY_S)

    async def _connected(self) -> None:
        """After each connection to libvirt: adopt what runs, then start what should."""
        try:
            await self._adopt()
        except JobFailedError as error:
            log.warning("adoption was cut off", reason=error.message)
        finally:
            self._adopted.set()
            self.host.outbox.want_snapshot()

    async def _adopt(self) -> None:
        host = self.host
        await self._sweep()
        states = await host.driver.guests()
        unfinished = {
            request.arguments.vm_id for request in await asyncio.to_thread(host.journal.unfinished)
        }
        for record in host.records.all():
            state = states.get(record.vm_id)
            if not record.made and record.vm_id not in unfinished:
                await self._guarded(record, "clean-up", forget_guest(host, record))
            elif state is not None and state.active:
                adopted = await host.first_boots.adopt(record)
                await self._guarded(record, "plumbing", plumb_guest(host, adopted))
            else:
                await self._guarded(record, "unplumbing", unplumb_guest(host, record))
        await self._start_after_boot(unfinished)

    async def _sweep(self) -> None:
        records = self.host.records.all()
        nics = {nic.nic_id for record in records for nic in record.nics}
        networks = {nic.network.network_id for record in records for nic in record.nics}
        try:
            removed = await self.host.plumber.sweep(keep_nics=nics, keep_networks=networks)
        except Exception:
            log.exception("sweep failed")
            return
        if removed:
            log.warning("removed what no guest needs any more", removed=removed)

    async def _start_after_boot(self, unfinished: set[str]) -> None:
        """Start the guests that a power cut, or our own stop, has switched off."""
        records = self.host.records
        now = self.host.probe.boot_id()
        before = await asyncio.to_thread(records.fact, "boot_id")
        booted = before is not None and before != now
        for record in records.all():
            wanted = record.start_again or (booted and record.autostart)
            if wanted and record.made and record.vm_id not in unfinished:
                log.info("starting guest", vm_id=record.vm_id, host_booted=booted)
                await self._guarded(record, "start", start_guest(self.host, record))
        await asyncio.to_thread(records.set_fact, "boot_id", now)

    async def _guarded(self, record: VmRecord, what: str, work: Coroutine[Any, Any, None]) -> None:
        try:
            async with self.host.lock(record.vm_id):
                await work
        except Exception as error:
            log.exception(f"{what} failed", vm_id=record.vm_id)
            self.host.problems[record.vm_id] = f"VM “{record.name}”: {what} failed. {error}"
        else:
            self.host.problems.pop(record.vm_id, None)

    # ------------------------------------------------------------------ what happens

    def guest_changed(self, vm_id: str) -> None:
        """A lifecycle event: report at once, then put the NICs in step."""
        if self._stopping or self.host.records.get(vm_id) is None:
            return
        before = self._changes.get(vm_id)
        task = asyncio.create_task(self._follow(vm_id, before))
        self._changes[vm_id] = task

        def done(ended: asyncio.Task[None]) -> None:
            if self._changes.get(vm_id) is ended:
                del self._changes[vm_id]

        task.add_done_callback(done)

    def nic_state(self, status: "NicStatus") -> None:
        """The metadata service saw something on a NIC."""
        self._spawn(self.host.first_boots.saw_nic(status))

    def boot_report(self, report: "Reported") -> None:
        """A guest said something about its first boot."""
        self._spawn(self.host.first_boots.heard(report))

    async def _follow(self, vm_id: str, before: "asyncio.Task[None] | None") -> None:
        host = self.host
        await host.publish(vm_id)
        if before is not None:
            await asyncio.gather(before, return_exceptions=True)
        if vm_id in host.starting:
            return
        async with host.lock(vm_id):
            record = host.records.get(vm_id)
            state = await host.driver.guest(vm_id)
            if record is None or state is None:
                return
            if not state.active and vm_id in host.plumbed:
                await unplumb_guest(host, record)
            elif state.active and vm_id not in host.plumbed:
                log.info("a guest was started by somebody else", vm_id=vm_id)
                await plumb_guest(host, record)

    # ------------------------------------------------------------------ going down

    async def _stop_guests(self) -> None:
        """Shut guests down politely, then firmly; remember them; take the network away."""
        host = self.host
        try:
            states = await host.driver.guests()
        except JobFailedError as error:
            log.warning("guests cannot be stopped", reason=error.message)
            return
        running = [
            record
            for record in host.records.all()
            if record.vm_id in states and states[record.vm_id].active
        ]
        await asyncio.gather(*(self._stop_guest(record) for record in running))
        for record in host.records.all():
            with contextlib.suppress(Exception):
                await unplumb_guest(host, record)
        try:
            await host.plumber.sweep(keep_nics=set(), keep_networks=set())
        except Exception:
            log.exception("networks were left behind")

    async def _stop_guest(self, record: VmRecord) -> None:
        host = self.host
        try:
            await host.update(record.vm_id, start_again=record.made)
            with contextlib.suppress(JobFailedError):
                await host.driver.ask_shutdown(record.vm_id)
                if await host.driver.wait_off(record.vm_id, timeout_s=_SHUTDOWN_S):
                    return
            await stop_guest(host, record)
        except Exception:
            log.exception("a guest was not stopped", vm_id=record.vm_id)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
