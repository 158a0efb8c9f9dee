"""NICs of a guest that exists: adding one, taking one away, other addresses for one."""

import contextlib

import msgspec
import structlog

from agent.drivers.base import NicDefinition
from agent.errors import JobFailedError
from agent.guests import define_guest, plumb_guest, remove_unused_networks
from agent.handlers.registry import Report, handles
from agent.host import Host
from agent.network.names import tap_name
from agent.nics import check_nic
from agent.protocol import AttachNic, ChangeNic, DetachNic, NicSpec
from agent.records import VmRecord

log = structlog.get_logger("agent.handlers")

MOST_NICS = 8


@handles(AttachNic)
async def nic_attach(host: Host, job: AttachNic, report: Report) -> None:
    """The guest has the NIC when this returns, with its metadata served on it; after a failure
    nothing of it is left. Idempotent: the record says whether an earlier try came to its end.
    """
    nic, record = job.nic, host.record(job.vm_id)
    report(5, "Checking the NIC")
    check_nic(nic)
    _check_room(record, nic)
    bridge = await host.plumber.ensure_network(nic.network)
    if nic.nic_id not in _ids(record):
        # Last, so that what is missing of it yet keeps no other NIC waiting.
        record = await host.update(
            job.vm_id, nics=[*record.nics, nic], joining=[*record.joining, nic.nic_id]
        )
    try:
        report(30, "Adding the NIC")
        await define_guest(host, record)
        state = await host.driver.guest(job.vm_id)
        if state is not None and state.active:
            definition = NicDefinition(
                mac=nic.mac, tap=tap_name(nic.nic_id), bridge=bridge, mtu=nic.network.mtu
            )
            # Its cable stays out until its wire is made: it has no moment without its rules.
            await host.driver.attach_nic(job.vm_id, definition)
            report(60, "Joining it to its metadata")
            await plumb_guest(host, record)
            await host.driver.set_cable(job.vm_id, nic.mac, plugged=True)
        joining = [one for one in record.joining if one != nic.nic_id]
        await host.update(job.vm_id, joining=joining)
        host.problems.pop(job.vm_id, None)
    except Exception:
        if nic.nic_id in record.joining:
            await _take_back(host, record, nic)
        raise


@handles(DetachNic)
async def nic_detach(host: Host, job: DetachNic, report: Report) -> None:
    """Idempotent: taking away what is gone succeeds."""
    record = host.record(job.vm_id)
    nic = next((one for one in record.nics if one.nic_id == job.nic_id), None)
    state = await host.driver.guest(job.vm_id)
    active = state is not None and state.active
    if nic is not None:
        report(20, "Taking the NIC out")
        if active:
            await _unplug(host, record, nic)
        await host.plumber.detach(nic.nic_id)
        await host.update(
            job.vm_id,
            nics=[one for one in record.nics if one.nic_id != nic.nic_id],
            joining=[one for one in record.joining if one != nic.nic_id],
            metadata={one: seen for one, seen in record.metadata.items() if one != nic.nic_id},
        )
        await remove_unused_networks(host, record)
    report(70, "Telling the guest's other NICs")
    record = host.record(job.vm_id)
    await define_guest(host, record)
    if active:
        await plumb_guest(host, record)
    host.problems.pop(job.vm_id, None)


@handles(ChangeNic)
async def nic_change(host: Host, job: ChangeNic, report: Report) -> None:
    """Idempotent: the job says how the NIC is to be. What it says of its network counts for the
    guest's other NICs on it too."""
    record = host.record(job.vm_id)
    before = next((one for one in record.nics if one.nic_id == job.nic.nic_id), None)
    if before is None:
        raise JobFailedError(
            "nic_not_found", "The VM has no such NIC on this host any more. Look at the VM's page."
        )
    check_nic(job.nic)
    _check_same(before, job.nic)
    report(20, "Changing the NIC")
    await host.plumber.ensure_network(job.nic.network)
    record = await host.update(job.vm_id, nics=[_changed(one, job.nic) for one in record.nics])
    await define_guest(host, record)
    state = await host.driver.guest(job.vm_id)
    if state is not None and state.active:
        report(60, "Telling the guest")
        await plumb_guest(host, record)


def _ids(record: VmRecord) -> set[str]:
    return {nic.nic_id for nic in record.nics}


def _check_room(record: VmRecord, nic: NicSpec) -> None:
    others = [one for one in record.nics if one.nic_id != nic.nic_id]
    if any(one.mac == nic.mac for one in others):
        raise JobFailedError("internal", f"The VM has a NIC with the MAC {nic.mac} already.")
    if len(others) >= MOST_NICS:
        raise JobFailedError("internal", f"A VM has at most {MOST_NICS} NICs. Remove one first.")


def _check_same(before: NicSpec, after: NicSpec) -> None:
    """What a guest cannot be told without another NIC."""
    if (before.mac, before.network.network_id) != (after.mac, after.network.network_id):
        raise JobFailedError(
            "internal",
            "A NIC keeps its MAC and its network. Add one on the other network, and remove this.",
        )


def _changed(nic: NicSpec, changed: NicSpec) -> NicSpec:
    if nic.nic_id == changed.nic_id:
        return changed
    if nic.network.network_id == changed.network.network_id:
        return msgspec.structs.replace(nic, network=changed.network)
    return nic


async def _unplug(host: Host, record: VmRecord, nic: NicSpec) -> None:
    await host.driver.set_cable(record.vm_id, nic.mac, plugged=False)
    try:
        await host.driver.detach_nic(record.vm_id, nic.mac)
    except Exception:
        with contextlib.suppress(JobFailedError):
            await host.driver.set_cable(record.vm_id, nic.mac, plugged=True)
        raise


async def _take_back(host: Host, record: VmRecord, nic: NicSpec) -> None:
    """Leave nothing of a NIC that could not be added. What fails here is tried again at the next
    start of the guest, whose definition is made anew then."""
    try:
        # First its cable: should the guest keep the NIC, it leads nowhere.
        await host.driver.set_cable(record.vm_id, nic.mac, plugged=False)
        await host.driver.detach_nic(record.vm_id, nic.mac)
    except JobFailedError as error:
        log.warning("the NIC stays in the guest", vm_id=record.vm_id, reason=error.message)
    try:
        await host.plumber.detach(nic.nic_id)
        record = await host.update(
            record.vm_id,
            nics=[one for one in record.nics if one.nic_id != nic.nic_id],
            joining=[one for one in record.joining if one != nic.nic_id],
        )
        await define_guest(host, record)
        await remove_unused_networks(
            host, msgspec.structs.replace(record, nics=[*record.nics, nic])
        )
    except Exception:
        log.exception("clean-up failed", vm_id=record.vm_id)
