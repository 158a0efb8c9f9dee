"""Telling a guest something else, and letting it have its first boot again."""

import asyncio

import msgspec

from agent.documents import open_secrets
from agent.first_boot import anew
from agent.handlers.registry import Report, handles
from agent.host import Host
from agent.protocol import GuestSpec, TellVm
from agent.records import VmRecord


@handles(TellVm)
async def vm_tell(host: Host, job: TellVm, report: Report) -> None:
    """Idempotent. What was sealed stays as it is, unless there is a new instance: that one
    begins at the guest's next start, and until then nobody in the guest can read its secrets.
    """
    record = host.record(job.vm_id)
    report(20, "Writing down what the guest is told")
    known = {record.guest.instance_id}
    if record.next_guest is not None:
        known.add(record.next_guest.instance_id)
    if job.guest.instance_id not in known:
        open_secrets(host.keys, job.vm_id, job.guest.sealed_secrets)
    state = await host.driver.guest(job.vm_id)
    running = state is not None and state.active
    record = await host.change(job.vm_id, lambda now: _retold(now, job.guest, running=running))
    await asyncio.to_thread(host.records.scrub)
    report(60, "Serving it")
    await host.serve_now(record)
    if not record.over:
        await host.first_boots.expect(record)


def _retold(record: VmRecord, guest: GuestSpec, *, running: bool) -> VmRecord:
    following = record.next_guest
    if guest.instance_id == record.guest.instance_id:
        told = _told(record.guest, guest)
        return msgspec.structs.replace(record, guest=told)
    if following is not None and guest.instance_id == following.instance_id:
        return _told_both(record, following, guest)
    if running:
        return msgspec.structs.replace(record, next_guest=guest)
    return anew(record, guest)


def _told(known: GuestSpec, wanted: GuestSpec) -> GuestSpec:
    """The same instance told otherwise: its secrets are what they were."""
    return msgspec.structs.replace(wanted, sealed_secrets=known.sealed_secrets)


def _told_both(record: VmRecord, following: GuestSpec, wanted: GuestSpec) -> VmRecord:
    """A new instance waits for the next start. What is live is told to the present one too."""
    present = msgspec.structs.replace(
        record.guest,
        ssh_keys=wanted.ssh_keys,
        tags=wanted.tags,
        variables=wanted.variables,
        user_data=wanted.user_data,
        vendor_data=wanted.vendor_data,
    )
    return msgspec.structs.replace(record, guest=present, next_guest=_told(following, wanted))
