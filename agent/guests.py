"""Starting and stopping guests together with their NICs."""

import asyncio

import structlog

from agent.drivers.base import GuestDefinition, NicDefinition
from agent.errors import JobFailedError
from agent.host import Host
from agent.network.names import tap_name
from agent.protocol import NetworkSpec
from agent.records import VmRecord

log = structlog.get_logger("agent.guests")

_HOST_RESERVE_MIB = 256
"""Memory that guests never get: the host's own kernel, libvirt and this agent."""
_QEMU_OVERHEAD_MIB = 64


async def check_memory(host: Host, vm_id: str, memory_mib: int) -> None:
    """Whether the host can carry this guest now. Raises JobFailedError `not_enough_memory`.

    Counts what running guests were promised, not what they have touched so far: a guest
    that fills its memory later must not push another one out.
    """
    total, available = host.probe.memory_mib()
    committed = await host.driver.committed_memory_mib(without=vm_id)
    free = max(0, min(available, total - _HOST_RESERVE_MIB - committed))
    needed = memory_mib + _QEMU_OVERHEAD_MIB
    if needed > free:
        raise JobFailedError(
            "not_enough_memory",
            f"The VM needs {memory_mib} MiB of memory (and {_QEMU_OVERHEAD_MIB} MiB to run it), "
            f"and the host has {free} MiB of its {total} MiB left. Give the VM less memory, or "
            "shut down another VM on this host.",
        )


async def define_guest(host: Host, record: VmRecord) -> None:
    """Make networks and bring the hypervisor's definition to what the record says."""
    nics = [
        NicDefinition(
            mac=nic.mac,
            tap=tap_name(nic.nic_id),
            bridge=await host.plumber.ensure_network(nic.network),
            mtu=nic.network.mtu,
        )
        for nic in record.nics
    ]
    await host.driver.define(
        GuestDefinition(
            vm_id=record.vm_id,
            hypervisor_id=host.settings.identity.hypervisor_id,
            name=record.name,
            vcpus=record.vcpus,
            memory_mib=record.memory_mib,
            firmware=record.firmware,
            nvram=host.disks.nvram(record.vm_id),
            disks=host.disks.definitions(record.vm_id, record.disks),
            nics=nics,
            identity=record.guest.identity,
        )
    )


async def start_guest(host: Host, record: VmRecord) -> None:
    """Have the guest running, its NICs plumbed before its first instruction. Idempotent.

    A failure leaves the guest off. Raises JobFailedError.
    """
    state = await host.driver.guest(record.vm_id)
    if state is not None and state.power in ("running", "shutting_down"):
        await plumb_guest(host, record)
        return
    host.starting.add(record.vm_id)
    try:
        if state is None or not state.active:
            await check_memory(host, record.vm_id, record.memory_mib)
            await define_guest(host, record)
            await host.driver.start_paused(record.vm_id)
        await plumb_guest(host, record)
        await host.driver.resume(record.vm_id)
    except Exception:
        await stop_guest(host, record)
        raise
    finally:
        host.starting.discard(record.vm_id)
    host.problems.pop(record.vm_id, None)
    if record.start_again:
        await host.update(record.vm_id, start_again=False)


async def plumb_guest(host: Host, record: VmRecord) -> None:
    """Join each NIC of a guest that has its taps to its metadata service. Idempotent."""
    for nic in record.nics:
        await host.plumber.ensure_network(nic.network)
        document = await host.compose(record, nic)
        await host.plumber.attach(nic=nic, tap=tap_name(nic.nic_id), document=document)
    host.plumbed.add(record.vm_id)


async def unplumb_guest(host: Host, record: VmRecord) -> None:
    """Take away what `plumb_guest` made. Idempotent."""
    for nic in record.nics:
        await host.plumber.detach(nic.nic_id)
    host.plumbed.discard(record.vm_id)


async def stop_guest(host: Host, record: VmRecord) -> None:
    """Force the guest off, and take its NICs away. Idempotent."""
    await host.driver.force_off(record.vm_id)
    await unplumb_guest(host, record)


async def forget_guest(host: Host, record: VmRecord, *, keep_disks: bool = False) -> None:
    """Remove the guest from the host: the record goes last, so that a cut-off try is
    finished by the next one. Idempotent."""
    await stop_guest(host, record)
    await host.driver.undefine(record.vm_id)
    if keep_disks:
        await host.disks.keep(
            record.vm_id,
            name=record.name,
            note={
                "vm_id": record.vm_id,
                "name": record.name,
                "image": record.image_id,
                "firmware": record.firmware,
                "vcpus": record.vcpus,
                "memory_mib": record.memory_mib,
                "disks": [
                    {"disk_id": disk.disk_id, "size": disk.size, "boot": disk.boot}
                    for disk in record.disks
                ],
            },
        )
    await host.disks.remove(record.vm_id)
    await asyncio.to_thread(host.records.remove, record.vm_id)
    host.problems.pop(record.vm_id, None)
    await remove_unused_networks(host, record)


async def remove_unused_networks(host: Host, gone: VmRecord) -> None:
    """Remove the NAT networks of a removed guest that no other guest here is on."""
    used = {nic.network.network_id for record in host.records.all() for nic in record.nics}
    networks: dict[str, NetworkSpec] = {nic.network.network_id: nic.network for nic in gone.nics}
    for network_id, network in networks.items():
        if network.kind == "nat" and network_id not in used:
            await host.plumber.remove_network(network_id)
