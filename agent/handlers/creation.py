"""Making a guest: image, disks, network, first start."""

import structlog

from agent.documents import open_secrets
from agent.errors import JobFailedError
from agent.guests import check_memory, forget_guest, start_guest
from agent.handlers.registry import Report, handles
from agent.host import Host
from agent.nics import check_nic
from agent.protocol import CreateVm
from agent.records import VmRecord

log = structlog.get_logger("agent.handlers")

# The share of the work that is done when each step begins, in percent. Downloads dwarf
# the rest when they happen; a cached image makes the bar jump over them.
_CHECK, _IMAGE, _DISKS, _NETWORK, _START = 2, 5, 80, 88, 92


@handles(CreateVm)
async def vm_create(host: Host, job: CreateVm, report: Report) -> None:
    """The guest runs when this returns; after a failure nothing of it is left.

    Idempotent: the guest's record says whether an earlier try came to its end, and each
    step finds what that try has made.
    """
    known = host.records.get(job.vm_id)
    if known is not None and known.made:
        await start_guest(host, known)
        return
    # Before anything is written: a host whose libvirt is down has nothing to clean up.
    await host.driver.guest(job.vm_id)
    record = _record(job)
    await host.save(record)
    try:
        await _make(host, job, record, report)
        # Inside the try: a guest whose end cannot be written down counts as not made.
        await host.update(job.vm_id, made=True)
    except Exception as failure:
        await _clean_up(host, record, failure)
        raise


async def _make(host: Host, job: CreateVm, record: VmRecord, report: Report) -> None:
    report(_CHECK, "Checking the host")
    _check_arguments(job)
    open_secrets(host.keys, job.vm_id, job.guest.sealed_secrets)
    await check_memory(host, job.vm_id, job.memory_mib)
    await host.disks.check_space(job.vm_id, job.disks, job.image)

    def downloading(share: float) -> None:
        report(_IMAGE + share * (_DISKS - _IMAGE), f"Downloading the image {int(share * 100)} %")

    report(_IMAGE, "Checking the image")
    await host.images.ensure(job.image, progress=downloading)
    report(_DISKS, "Making disks")
    await host.disks.make(job.vm_id, job.disks, job.image)
    report(_NETWORK, "Connecting the network")
    for nic in job.nics:
        await host.plumber.ensure_network(nic.network)
    report(_START, "Starting the guest")
    await start_guest(host, record)


async def _clean_up(host: Host, record: VmRecord, failure: Exception) -> None:
    """Leave nothing half-made. What cannot be removed now is named, and the next start of
    the agent tries again: the record still says that the guest was never made."""
    try:
        await forget_guest(host, record)
    except Exception as error:
        log.exception("clean-up failed", vm_id=record.vm_id)
        raise JobFailedError(
            getattr(failure, "code", "internal"),
            f"{failure} Removing what was made so far failed as well ({error}); the agent "
            "tries that again at its next start.",
        ) from failure


def _record(job: CreateVm) -> VmRecord:
    return VmRecord(
        vm_id=job.vm_id,
        name=job.name,
        vcpus=job.vcpus,
        memory_mib=job.memory_mib,
        firmware=job.firmware,
        image_id=job.image.version_id,
        disks=job.disks,
        nics=job.nics,
        guest=job.guest,
        autostart=job.autostart,
        cloud_init="running" if job.nics else "unknown",
    )


def _check_arguments(job: CreateVm) -> None:
    """What types cannot say. The portal checks too; the host does not rely on it.

    Raises JobFailedError.
    """
    if sum(disk.boot for disk in job.disks) != 1:
        raise JobFailedError("internal", "A VM needs exactly one boot disk.")
    ids = [disk.disk_id for disk in job.disks] + [nic.nic_id for nic in job.nics]
    macs = [nic.mac for nic in job.nics]
    if len(set(ids)) < len(ids) or len(set(macs)) < len(macs):
        raise JobFailedError("internal", "Two disks or NICs of the VM have the same id or MAC.")
    for nic in job.nics:
        check_nic(nic)
