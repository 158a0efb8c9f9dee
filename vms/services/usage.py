"""What hosts measure of their guests, kept as history; see hypervisors.services.usage."""

from agent.protocol import GuestUsage
from hypervisors.models import Hypervisor
from hypervisors.services.usage import Sample, at_most, samples_add
from vms.models import VirtualMachine, VmUsage

_GIB = 1024**3
_OVERHEAD = 1.1
"""A disk image may take up a little more than the disk in it."""


def guests_usage_record(hypervisor: Hypervisor, usages: list[GuestUsage]) -> None:
    """Add to this minute. Only this host's own VMs: one site can never speak for another."""
    by_id = {usage.vm_id: usage for usage in usages}
    own = VirtualMachine.objects.filter(hypervisor=hypervisor).prefetch_related("disks")
    samples_add(
        VmUsage,
        [_sample(vm, by_id[str(vm.id)]) for vm in own if str(vm.id) in by_id],
    )


def _sample(vm: VirtualMachine, usage: GuestUsage) -> Sample:
    disks = sum(disk.size_gib for disk in vm.disks.all()) * _GIB * _OVERHEAD
    return Sample(
        tenant_id=vm.tenant_id,
        subject_id=vm.id,
        figures={
            "cpu_percent": usage.cpu_percent,
            "memory_used_mib": at_most(usage.memory_used_mib, vm.memory_mib),
            "disk_used": at_most(usage.disk_used, disks),
            "disk_read": usage.disk_read,
            "disk_write": usage.disk_write,
            "net_in": usage.net_in,
            "net_out": usage.net_out,
        },
    )
