"""How much room a host has. Neither memory nor disk is promised twice."""

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from django.db.models import Sum

from hypervisors.models import Hypervisor, Job, Network
from tenants.errors import RuleError
from tenants.models import Site
from vms.models import Disk, VirtualMachine

GIB = 1024**3
HOST_MEMORY_RESERVE_MIB = 512
"""Left to the host itself."""
HOST_DISK_RESERVE = 1 * GIB


class NotEnoughMemoryError(RuleError):
    code = "not_enough_memory"
    status = 409


class NotEnoughDiskError(RuleError):
    code = "not_enough_disk"
    status = 409


class NoHostFitsError(RuleError):
    code = "no_host_fits"
    status = 409


@dataclass(frozen=True, kw_only=True)
class HostCapacity:
    """What is free on a host: MiB of memory, bytes of disk. None: the host has not said."""

    memory_free_mib: int | None
    disk_free: int | None


def host_capacity(hypervisor: Hypervisor, *, without: VirtualMachine | None = None) -> HostCapacity:
    """Memory that no VM has been promised, and disk likewise: what VMs' disks may still grow
    by counts as taken. `without` leaves one VM out, to see what it could grow to."""
    vms = VirtualMachine.objects.filter(hypervisor=hypervisor)
    if without is not None:
        vms = vms.exclude(pk=without.pk)
    return HostCapacity(
        memory_free_mib=_memory_free(hypervisor, vms.values_list("id", "memory_mib")),
        disk_free=_disk_free(hypervisor, without),
    )


def _memory_free(hypervisor: Hypervisor, vms: Iterable[tuple[uuid.UUID, int]]) -> int | None:
    total = hypervisor.facts.get("memory_mib")
    if total is None:
        return None
    # A resize under way will want what it asked for, though the row still says the old size.
    wanted = {
        job.subject_id: int(job.arguments.get("memory_mib") or 0)
        for job in Job.objects.active().filter(hypervisor=hypervisor, kind="vm.resize")
    }
    used = sum(max(memory, wanted.get(vm_id, 0)) for vm_id, memory in vms)
    return int(total) - used - HOST_MEMORY_RESERVE_MIB


def _disk_free(hypervisor: Hypervisor, without: VirtualMachine | None) -> int | None:
    total = hypervisor.facts.get("disk_total")
    if total is None:
        return None
    disks = Disk.objects.filter(vm__hypervisor=hypervisor)
    if without is not None:
        disks = disks.exclude(vm=without)
    sums = disks.aggregate(size=Sum("size_gib"), allocated=Sum("observed_allocation"))
    growth = max((sums["size"] or 0) * GIB - (sums["allocated"] or 0), 0)
    return int(total) - int(hypervisor.usage.get("disk_used", 0)) - growth - HOST_DISK_RESERVE


def must_fit(
    hypervisor: Hypervisor, capacity: HostCapacity, *, memory_mib: int, disk_gib: int
) -> None:
    """Raises NotEnoughMemoryError, NotEnoughDiskError."""
    free = capacity.memory_free_mib
    if free is not None and memory_mib > free:
        raise NotEnoughMemoryError(
            f"{hypervisor.name} has {max(free, 0)} MiB of memory left, and {memory_mib} MiB were "
            "asked for. Give the VM less, or choose another host.",
            field="memory_mib",
        )
    disk_free = capacity.disk_free
    if disk_free is not None and disk_gib * GIB > disk_free:
        raise NotEnoughDiskError(
            f"{hypervisor.name} has {max(disk_free, 0) // GIB} GiB of disk left, and {disk_gib} "
            "GiB were asked for. Make the disks smaller, or choose another host.",
            field="disks",
        )


def site_choose_host(
    *,
    site: Site,
    memory_mib: int,
    disks_gib: Sequence[int],
    networks: Sequence[Network] = (),
) -> Hypervisor:
    """The online host of `site` with room for this and the most memory free. `networks`
    that were asked for by name pin the host they are on. Raises NoHostFitsError."""
    hosts = Hypervisor.objects.filter(site=site).online()
    pinned = {network.hypervisor_id for network in networks}
    if pinned:
        hosts = hosts.filter(pk__in=pinned)
    best: tuple[int, Hypervisor] | None = None
    for host in hosts.order_by("name"):
        capacity = host_capacity(host)
        try:
            must_fit(host, capacity, memory_mib=memory_mib, disk_gib=sum(disks_gib))
        except (NotEnoughMemoryError, NotEnoughDiskError):
            continue
        free = capacity.memory_free_mib or 0
        if best is None or free > best[0]:
            best = (free, host)
    if best is None or len(pinned) > 1:
        raise NoHostFitsError(
            f"No host at {site.name} is online with {memory_mib} MiB of memory and "
            f"{sum(disks_gib)} GiB of disk to spare. Look at the site's hosts, or make the VM "
            "smaller.",
            field="site",
        )
    return best[1]
