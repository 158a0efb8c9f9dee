"""Starting and stopping guests. Each returns at once; the job carries the outcome."""

from typing import Any

from django.db import transaction

from hypervisors.models import Job
from hypervisors.services.jobs import job_create
from tenants.actor import Actor
from tenants.errors import RuleError
from tenants.services.audit import audit_record
from tenants.services.live import live_publish
from tenants.services.second_person_rules import second_person_check
from vms.models import VirtualMachine


class VmNotReadyError(RuleError):
    """The VM is not (or no more) there to be worked on."""

    code = "vm_not_ready"
    status = 409


@transaction.atomic
def vm_start(*, actor: Actor, vm: VirtualMachine) -> Job:
    """Ask the host to start `vm`. Starting a running guest does nothing.

    Raises VmBusyError while another job holds the VM, HostOfflineError, VmNotReadyError.
    """
    return _power_job(actor, vm, "vm.start", desired="running")


@transaction.atomic
def vm_shutdown(*, actor: Actor, vm: VirtualMachine) -> Job:
    """Ask the guest to power off by itself. Errors as in `vm_start`."""
    return _power_job(actor, vm, "vm.shutdown", desired="off")


@transaction.atomic
def vm_stop(*, actor: Actor, vm: VirtualMachine) -> Job:
    """Force off, at once, like pulling the plug. Errors as in `vm_start`, and
    SecondPersonNeededError."""
    second_person_check(actor=actor, kind="vm.stop", row=vm)
    return _power_job(actor, vm, "vm.stop", desired="off")


@transaction.atomic
def vm_reboot(*, actor: Actor, vm: VirtualMachine, force: bool = False) -> Job:
    """Restart the guest: politely, or with `force` like the reset button. Errors as in
    `vm_start`, and SecondPersonNeededError."""
    if force:
        second_person_check(actor=actor, kind="vm.reset", row=vm)
    return _power_job(actor, vm, "vm.reboot", desired="running", force=force)


def _power_job(
    actor: Actor, vm: VirtualMachine, kind: str, *, desired: str, **arguments: bool
) -> Job:
    job, vm = vm_hold(actor=actor, vm=vm, kind=kind, arguments=dict(arguments))
    vm_must_be_there(vm)
    before = vm.desired_power
    vm.desired_power = desired
    vm.save(update_fields=["desired_power"])
    audit_record(
        actor=actor,
        tenant=vm.tenant,
        action=kind,
        object_kind="vm",
        object_id=vm.id,
        object_name=vm.name,
        site_id=vm.hypervisor.site_id,
        before={"desired_power": before},
        after={"desired_power": desired, **arguments},
    )
    live_publish(tenant_id=vm.tenant_id, kind="vm", object_id=vm.id)
    return job


def vm_hold(
    *, actor: Actor, vm: VirtualMachine, kind: str, arguments: dict[str, Any] | None = None
) -> tuple[Job, VirtualMachine]:
    """A job that holds the VM, and the VM as it is now, locked until the transaction ends.

    The job comes first: whoever ends a job locks the job, then its VM. Taking them the other
    way round would let the two wait for each other.
    Raises VmBusyError, HostOfflineError, VmNotReadyError.
    """
    job = job_create(
        actor=actor,
        hypervisor=vm.hypervisor,
        kind=kind,
        subject_id=vm.id,
        subject_name=vm.name,
        arguments=arguments,
    )
    locked = (
        VirtualMachine.objects.select_for_update(of=("self",))
        .select_related("hypervisor", "tenant", "image_version__image")
        .filter(pk=vm.pk)
        .first()
    )
    if locked is None:
        raise VmNotReadyError(f"“{vm.name}” has just been deleted.")
    return job, locked


def vm_must_be_there(vm: VirtualMachine) -> None:
    """Raises VmNotReadyError."""
    if vm.state == VirtualMachine.State.MISSING:
        raise VmNotReadyError(
            f"“{vm.name}” is missing on {vm.hypervisor.name}: it was removed there by hand. "
            "Delete it here, or bring its domain back on the host."
        )
    if vm.state == VirtualMachine.State.CREATING:
        raise VmNotReadyError(
            f"“{vm.name}” is still being created. Wait for its job under Activity; if the host "
            "has lost it, delete the VM."
        )
