"""Removing guests."""

from agent.guests import forget_guest
from agent.handlers.registry import Report, handles
from agent.host import Host
from agent.protocol import DeleteVm


@handles(DeleteVm)
async def vm_delete(host: Host, job: DeleteVm, report: Report) -> None:
    """Idempotent: deleting what is gone succeeds."""
    record = host.records.get(job.vm_id)
    if record is None:
        return
    report(20, "Keeping the disks" if job.keep_disks else "Removing the guest and its disks")
    await forget_guest(host, record, keep_disks=job.keep_disks)
