"""What hosts report about their guests, written into the rows. The portal never assumes."""

from datetime import UTC, datetime
from typing import Any

import msgspec
from django.db import models
from django.utils import timezone

from agent.protocol import Boot, NicReport, VmReport
from hypervisors.models import Hypervisor, Job
from hypervisors.services.observers import GuestObserver, guest_observer_register
from tenants.services.live import live_publish
from vms.models import Power, VirtualMachine
from vms.services.usage import guests_usage_record

State = VirtualMachine.State
_LAST_MOMENT = 4_102_444_800.0
"""The year 2100, in seconds since the Unix epoch."""
_CLOUD_INIT = {
    "waiting": VirtualMachine.CloudInit.RUNNING,
    "running": VirtualMachine.CloudInit.RUNNING,
    "done": VirtualMachine.CloudInit.DONE,
    "degraded": VirtualMachine.CloudInit.DONE,
    "failed": VirtualMachine.CloudInit.FAILED,
}


def guest_observer_install() -> None:
    """Called once, when Django is ready."""
    guest_observer_register(
        GuestObserver(
            snapshot=host_guests_observed,
            changed=guest_changed,
            usage=guests_usage_record,
            boot=boot_observed,
        )
    )


def host_guests_observed(hypervisor: Hypervisor, reports: list[VmReport]) -> None:
    """All guests of a host. A VM that was there and is not in the list is missing."""
    by_id = {report.vm_id: report for report in reports}
    seen = []
    for vm in _locked(hypervisor):
        report = by_id.get(str(vm.id))
        if report is None:
            _not_seen(vm)
        else:
            _store(vm, report)
            seen.append(vm.pk)
    VirtualMachine.objects.filter(pk__in=seen).update(observed_at=timezone.now())


def guest_changed(hypervisor: Hypervisor, vm_id: str, report: VmReport | None) -> None:
    """One guest. Only this host's own: one site can never speak for another."""
    for vm in _locked(hypervisor).filter(pk=vm_id):
        if report is None:
            _not_seen(vm)
        elif report.vm_id == vm_id:
            vm_observed(vm, report)


def vm_observed(vm: VirtualMachine, report: VmReport) -> None:
    """Write one report into the rows of its VM, which the caller has locked."""
    _store(vm, report)
    _write(vm, observed_at=timezone.now())


def boot_observed(hypervisor: Hypervisor, vm_id: str, boot: Boot) -> None:
    """How the first boot of one guest goes. Only of this host's own."""
    for vm in _locked(hypervisor).filter(pk=vm_id):
        seen: dict[str, Any] = {"boot": msgspec.to_builtins(boot)}
        said = _CLOUD_INIT[boot.verdict]
        if said != vm.cloud_init:
            seen |= {"cloud_init": said, "cloud_init_at": timezone.now()}
        if _write(vm, **seen):
            _write(vm, boot_at=timezone.now())
            live_publish(tenant_id=vm.tenant_id, kind="vm", object_id=vm.id)


def _moment(timestamp: float | None) -> datetime | None:
    """A host's clock may be wrong, and its agent hostile: what is no moment is none."""
    if timestamp is None or not 0 < timestamp < _LAST_MOMENT:
        return None
    return datetime.fromtimestamp(timestamp, tz=UTC)


def _store(vm: VirtualMachine, report: VmReport) -> None:
    """The report without its time; open pages are told if anything changed."""
    seen: dict[str, Any] = {"observed_power": report.power}
    if vm.state == State.MISSING:
        seen["state"] = State.READY
    # "unknown" is no news: a host that forgot does not undo what the guest once said.
    if report.cloud_init not in {"unknown", vm.cloud_init}:
        seen["cloud_init"] = report.cloud_init
        seen["cloud_init_at"] = timezone.now()
    changed = _write(vm, **seen)
    disks = {str(disk.id): disk for disk in vm.disks.all()}
    for disk_report in report.disks:
        disk = disks.get(disk_report.disk_id)
        if disk is not None:
            changed |= _write(
                disk,
                observed_capacity=disk_report.capacity,
                observed_allocation=disk_report.allocation,
            )
    nics = {str(nic.id): nic for nic in vm.nics.all()}
    for nic_report in report.nics:
        nic = nics.get(nic_report.nic_id)
        if nic is not None:
            changed |= _write(
                nic,
                observed_addresses=nic_report.addresses,
                metadata_state=nic_report.metadata,
                asked_at=_moment(nic_report.asked_at),
                served_at=_moment(nic_report.served_at),
                sealed_at=_moment(nic_report.sealed_at),
                lan_dhcp=nic_report.lan_dhcp,
            )
            # No page is told: frames are dropped all the time, and it is no event.
            _write(nic, dropped=_dropped(nic_report))
    if changed:
        live_publish(tenant_id=vm.tenant_id, kind="vm", object_id=vm.id)


def _dropped(report: NicReport) -> dict[str, int]:
    counted: dict[str, int] = msgspec.to_builtins(report.dropped) if report.dropped else {}
    return counted


def _not_seen(vm: VirtualMachine) -> None:
    # While it is being made or removed, its absence is no news: the job will tell.
    if vm.state != State.READY:
        return
    if Job.objects.active().filter(subject_id=vm.id, kind="vm.delete").exists():
        return
    _write(vm, state=State.MISSING, observed_power=Power.UNKNOWN, observed_at=timezone.now())
    live_publish(tenant_id=vm.tenant_id, kind="vm", object_id=vm.id)


def _locked(hypervisor: Hypervisor) -> "models.QuerySet[VirtualMachine]":
    # In one order, so that two reports about one host never wait for each other.
    return (
        VirtualMachine.objects.select_for_update(of=("self",))
        .filter(hypervisor=hypervisor)
        .order_by("pk")
        .prefetch_related("disks", "nics")
    )


def _write(row: models.Model, **values: Any) -> bool:
    """Save what differs. True if anything did."""
    changed = [name for name, value in values.items() if getattr(row, name) != value]
    for name in changed:
        setattr(row, name, values[name])
    if changed:
        row.save(update_fields=changed)
    return bool(changed)
