"""Starting, stopping and restarting guests."""

from agent.errors import JobFailedError
from agent.guests import start_guest, stop_guest, unplumb_guest
from agent.handlers.registry import Report, handles
from agent.host import Host
from agent.protocol import RebootVm, ShutdownVm, StartVm, StopVm


@handles(StartVm)
async def vm_start(host: Host, job: StartVm, report: Report) -> None:
    """Idempotent: starting a running guest succeeds."""
    record = host.record(job.vm_id)
    report(20, "Starting the guest")
    await start_guest(host, record)


@handles(ShutdownVm)
async def vm_shutdown(host: Host, job: ShutdownVm, report: Report) -> None:
    """Idempotent: shutting down a guest that is off succeeds."""
    record = host.record(job.vm_id)
    state = await host.driver.guest(job.vm_id)
    if state is not None and state.active:
        report(20, "Asking the guest to shut down")
        await host.driver.ask_shutdown(job.vm_id)
        if not await host.driver.wait_off(job.vm_id, timeout_s=job.timeout_s):
            raise JobFailedError(
                "guest_did_not_stop",
                f"The guest did not shut down within {job.timeout_s} s. It may still be "
                "starting, or wait for a person: look at its console. Force off stops it at "
                "once, and may lose what it has not saved.",
            )
    await unplumb_guest(host, record)


@handles(StopVm)
async def vm_stop(host: Host, job: StopVm, report: Report) -> None:
    """Idempotent: stopping a guest that is off succeeds."""
    record = host.record(job.vm_id)
    report(20, "Switching the guest off")
    await stop_guest(host, record)


@handles(RebootVm)
async def vm_reboot(host: Host, job: RebootVm, report: Report) -> None:
    """Restart the guest. A job that was cut off restarts it once more, which is harmless."""
    host.record(job.vm_id)
    state = await host.driver.guest(job.vm_id)
    if state is None or state.power != "running":
        raise JobFailedError(
            "vm_must_be_on", "The VM is not running, so it cannot be restarted. Start it instead."
        )
    report(20, "Restarting the guest")
    if job.force:
        await host.driver.reset(job.vm_id)
    else:
        await host.driver.ask_reboot(job.vm_id)
