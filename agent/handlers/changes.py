"""Changing a guest that exists: its size, its name."""

import msgspec

from agent.errors import JobFailedError
from agent.guests import check_memory, define_guest
from agent.handlers.registry import Report, handles
from agent.host import Host
from agent.protocol import DiskSpec, RenameVm, ResizeVm
from agent.records import VmRecord


@handles(ResizeVm)
async def vm_resize(host: Host, job: ResizeVm, report: Report) -> None:
    """Idempotent: the job names sizes, not differences."""
    record = host.record(job.vm_id)
    if job.vcpus or job.memory_mib or job.disks:
        await _must_be_off(host, job.vm_id)
    report(10, "Checking the host")
    if job.memory_mib is not None and job.memory_mib > record.memory_mib:
        await check_memory(host, job.vm_id, job.memory_mib)
    if job.disks:
        report(30, "Growing disks")
        disks = _grown(record, job)
        await host.disks.grow(job.vm_id, disks)
        record = await host.update(job.vm_id, disks=disks)
    record = await host.update(
        job.vm_id,
        vcpus=job.vcpus or record.vcpus,
        memory_mib=job.memory_mib or record.memory_mib,
        autostart=record.autostart if job.autostart is None else job.autostart,
    )
    report(80, "Changing the guest")
    await define_guest(host, record)


@handles(RenameVm)
async def vm_rename(host: Host, job: RenameVm, report: Report) -> None:
    """The domain's title changes now, the guest's hostname at its next start."""
    record = host.record(job.vm_id)
    report(20, "Renaming the guest")
    record = await host.update(
        job.vm_id,
        name=job.name,
        guest=msgspec.structs.replace(record.guest, hostname=job.hostname),
        next_guest=(
            msgspec.structs.replace(record.next_guest, hostname=job.hostname)
            if record.next_guest is not None
            else None
        ),
    )
    await define_guest(host, record)


def _grown(record: VmRecord, job: ResizeVm) -> list[DiskSpec]:
    disks = {disk.disk_id: disk for disk in record.disks}
    for wanted in job.disks:
        known = disks.get(wanted.disk_id)
        if known is not None and wanted.size < known.size:
            raise JobFailedError(
                "disk_cannot_shrink",
                f"A disk of {known.size // 2**30} GiB cannot be made smaller: its data would be "
                "cut off. Choose its present size or more.",
            )
        boot = known.boot if known is not None else False
        disks[wanted.disk_id] = msgspec.structs.replace(wanted, boot=boot)
    return list(disks.values())


async def _must_be_off(host: Host, vm_id: str) -> None:
    state = await host.driver.guest(vm_id)
    if state is not None and state.active:
        raise JobFailedError(
            "vm_must_be_off",
            "The VM is running, and its size can only be changed while it is off. Shut it down, "
            "then try again.",
        )
