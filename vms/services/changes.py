"""Changing and deleting VMs. Each returns at once; the job carries the outcome."""

import uuid
from collections.abc import Sequence
from typing import Any

from django.db import IntegrityError, transaction

from hypervisors.models import Hypervisor, Job, Status
from hypervisors.services.jobs import job_cancel
from tenants.actor import Actor
from tenants.errors import InvalidInputError, RuleError
from tenants.services.audit import audit_record
from tenants.services.live import live_publish
from tenants.services.second_person_rules import second_person_check
from vms.models import Power, VirtualMachine
from vms.services.capacity import host_capacity, must_fit
from vms.services.creation import disks_check, memory_check, name_check, name_taken, vcpus_check
from vms.services.power import vm_hold, vm_must_be_there
from vms.services.quota_usage import Amounts
from vms.services.quotas import quotas_hold

_STOPPED = frozenset({Power.OFF, Power.CRASHED})


class VmMustBeOffError(RuleError):
    """The change needs a guest that is off."""

    code = "vm_must_be_off"
    status = 409


@transaction.atomic
def vm_resize(
    *,
    actor: Actor,
    vm: VirtualMachine,
    vcpus: int | None = None,
    memory_mib: int | None = None,
    disks: Sequence[tuple[uuid.UUID | None, int]] | None = None,
    autostart: bool | None = None,
) -> Job:
    """Ask for other sizes. None keeps a value; `disks` holds (id, GiB) of disks to grow, and
    (None, GiB) of disks to add. The rows change when the host has done it.

    Raises VmMustBeOffError, InvalidInputError, NotEnoughMemoryError, NotEnoughDiskError,
    VmBusyError, HostOfflineError, VmNotReadyError, QuotaExceededError.
    """
    quotas = quotas_hold(tenant=vm.tenant, site_id=vm.hypervisor.site_id)
    # As in vm_create: one at a time hands out a host's memory.
    Hypervisor.objects.select_for_update(no_key=True).get(pk=vm.hypervisor_id)
    job, vm = vm_hold(actor=actor, vm=vm, kind="vm.resize")
    vm_must_be_there(vm)
    before: dict[str, Any] = {
        "vcpus": vm.vcpus,
        "memory_mib": vm.memory_mib,
        "disks": _disks_of(vm),
        "autostart": vm.autostart,
    }
    after: dict[str, Any] = {
        "vcpus": vm.vcpus if vcpus is None else vcpus,
        "memory_mib": vm.memory_mib if memory_mib is None else memory_mib,
        "disks": _disks_after(vm, disks or ()),
        "autostart": vm.autostart if autostart is None else autostart,
    }
    changed = {key: value for key, value in after.items() if value != before[key]}
    if not changed:
        raise InvalidInputError("Nothing would change: these are the VM's sizes already.")
    if set(changed) - {"autostart"} and vm.observed_power not in _STOPPED:
        raise VmMustBeOffError(f"“{vm.name}” must be off for this. Shut it down first.")
    sizes = [disk["size_gib"] for disk in after["disks"]]
    vcpus_check(after["vcpus"], vm.hypervisor)
    memory_check(after["memory_mib"], vm.image_version.image)
    disks_check(sizes)
    grown = sum(sizes) - sum(disk["size_gib"] for disk in before["disks"])
    must_fit(
        vm.hypervisor,
        host_capacity(vm.hypervisor, without=vm),
        # What the VM has, it keeps, however full the host is by now.
        memory_mib=after["memory_mib"] if "memory_mib" in changed else 0,
        disk_gib=sum(sizes) if grown else 0,
    )
    more = Amounts(
        vcpus=after["vcpus"] - before["vcpus"],
        memory_mib=after["memory_mib"] - before["memory_mib"],
        disk_gib=grown,
    )
    quotas.must_fit(actor=actor, more=more)
    job.arguments = changed
    job.save(update_fields=["arguments"])
    _audit(actor, vm, "vm.resize", before={key: before[key] for key in changed}, after=changed)
    return job


@transaction.atomic
def vm_rename(*, actor: Actor, vm: VirtualMachine, name: str) -> Job:
    """Another name, at once in the portal and by a job on the host; a name that the host
    refuses is taken back. The guest learns its host name at its next boot.

    Raises InvalidInputError, NameTakenError, VmBusyError, HostOfflineError, VmNotReadyError.
    """
    name = name_check(name)
    before = vm.name
    if name == before:
        raise InvalidInputError(f"The VM is named “{name}” already.", field="name")
    job, vm = vm_hold(
        actor=actor, vm=vm, kind="vm.rename", arguments={"name": name, "before": before}
    )
    vm_must_be_there(vm)
    vm.name, vm.hostname = name, name.lower()
    try:
        with transaction.atomic():
            vm.save(update_fields=["name", "hostname"])
    except IntegrityError as error:
        raise name_taken(name, vm.tenant) from error
    _audit(actor, vm, "vm.rename", before={"name": before}, after={"name": name})
    return job


@transaction.atomic
def vm_delete(*, actor: Actor, vm: VirtualMachine, keep_disks: bool = False) -> Job:
    """Remove the guest with its disks, or leaving them in the host's kept/ folder. The rows
    go when the host has done it. A creation that was not sent yet is taken back instead.

    Raises VmBusyError, HostOfflineError, VmNotReadyError, SecondPersonNeededError.
    """
    option = "keep" if keep_disks else ""
    second_person_check(actor=actor, kind="vm.delete", row=vm, option=option)
    waiting = (
        Job.objects.select_for_update()
        .filter(subject_id=vm.id, kind="vm.create", status=Status.QUEUED)
        .first()
    )
    _audit(actor, vm, "vm.delete", before={"name": vm.name}, after={"keep_disks": keep_disks})
    if waiting is not None:
        return job_cancel(job=waiting)
    job, _ = vm_hold(actor=actor, vm=vm, kind="vm.delete", arguments={"keep_disks": keep_disks})
    return job


def _disks_of(vm: VirtualMachine) -> list[dict[str, Any]]:
    return [{"id": str(disk.id), "size_gib": disk.size_gib} for disk in vm.disks.all()]


def _disks_after(
    vm: VirtualMachine, wishes: Sequence[tuple[uuid.UUID | None, int]]
) -> list[dict[str, Any]]:
    disks = {disk["id"]: disk for disk in _disks_of(vm)}
    for disk_id, size_gib in wishes:
        if disk_id is None:
            new_id = str(uuid.uuid4())
            disks[new_id] = {"id": new_id, "size_gib": size_gib}
            continue
        known = disks.get(str(disk_id))
        if known is None:
            raise InvalidInputError("The VM has no such disk.", field="disks")
        if size_gib < known["size_gib"]:
            raise InvalidInputError(
                f"A disk can only grow: this one has {known['size_gib']} GiB already.",
                field="disks",
            )
        known["size_gib"] = size_gib
    return list(disks.values())


def _audit(
    actor: Actor, vm: VirtualMachine, action: str, *, before: dict[str, Any], after: dict[str, Any]
) -> None:
    audit_record(
        actor=actor,
        tenant=vm.tenant,
        action=action,
        object_kind="vm",
        object_id=vm.id,
        object_name=vm.name,
        site_id=vm.hypervisor.site_id,
        before=before,
        after=after,
    )
    live_publish(tenant_id=vm.tenant_id, kind="vm", object_id=vm.id)
