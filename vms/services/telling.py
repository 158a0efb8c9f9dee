"""Telling guests something else, and letting them have their first boot again.

Each returns at once; the job carries the outcome. The rows change when the host has done it.
"""

import uuid
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from django.db import transaction

from agent.protocol import GuestSpec, TellVm
from hypervisors.models import Hypervisor, Job
from tenants.actor import Actor
from tenants.errors import InvalidInputError, RuleError
from tenants.services.audit import audit_record
from tenants.services.live import live_publish
from tenants.ssh_keys import ssh_keys_check
from vms.models import VirtualMachine
from vms.services.credentials import password_check
from vms.services.power import vm_hold, vm_must_be_there
from vms.services.sealed import SealedSecrets, secrets_seal
from vms.services.specs import guest_spec
from vms.services.tags import tags_check
from vms.services.user_data import user_data_check
from vms.services.variables import guest_variables, variables_check

SINCE_PROTOCOL = 3


class HostTooOldError(RuleError):
    """The host's agent does not know this job."""

    code = "host_too_old"
    status = 409


@transaction.atomic
def vm_tell(
    *,
    actor: Actor,
    vm: VirtualMachine,
    ssh_keys: Sequence[str] | None = None,
    tags: dict[str, str] | None = None,
    user_data: str | None = None,
) -> Job:
    """Serve the guest other keys, tags or (what is not secret of its) user-data, at once and on
    all its NICs, running or not. None keeps a value.

    Raises InvalidInputError, VmBusyError, HostOfflineError, HostTooOldError, VmNotReadyError.
    """
    job, vm = _held(actor, vm, "vm.tell")
    before: dict[str, Any] = {
        "ssh_keys": vm.ssh_keys,
        "tags": vm.tags,
        "user_data": vm.user_data,
    }
    after: dict[str, Any] = {
        "ssh_keys": vm.ssh_keys if ssh_keys is None else ssh_keys_check(list(ssh_keys)),
        "tags": vm.tags if tags is None else tags_check(tags),
        "user_data": vm.user_data if user_data is None else _user_data(user_data, vm),
    }
    changed = {key: value for key, value in after.items() if value != before[key]}
    if not changed:
        raise InvalidInputError("Nothing would change: this is what the guest is told already.")
    if not after["ssh_keys"] and not vm.has_password:
        raise InvalidInputError(
            "Leave at least one key: the VM has no password, and nobody could get in after its "
            "next first boot.",
            field="ssh_keys",
        )
    job.arguments = changed
    job.save(update_fields=["arguments"])
    _audit(actor, vm, "vm.tell", before=_short(before, changed), after=_short(after, changed))
    return job


@transaction.atomic
def vm_first_boot(
    *,
    actor: Actor,
    vm: VirtualMachine,
    password: str | None = None,
    user_data: str | None = None,
    sealed: SealedSecrets | None = None,
    reset: bool = False,
) -> Job:
    """Have the guest go through its first boot again at its next start from off, as another
    instance: with this password and secret user-data, which are sealed here, or with what the
    sender sealed. The host has erased those of before, so what is not given is gone.

    `reset`: it is all for the password, which must be given.
    Raises InvalidInputError, VmBusyError, HostOfflineError, HostTooOldError, VmNotReadyError.
    """
    kind = "vm.reset_password" if reset else "vm.first_boot"
    job, vm = _held(actor, vm, kind)
    box, has_password, has_user_data = _secrets(vm, password, user_data, sealed)
    if reset and not has_password:
        raise InvalidInputError("Give the new password.", field="password")
    if not has_password and not vm.ssh_keys:
        raise InvalidInputError(
            "Give a password: the VM has no SSH key, and nobody could get in.", field="password"
        )
    before = {"has_password": vm.has_password, "has_user_data": vm.has_user_data}
    asked = {
        "has_password": has_password,
        "has_user_data": has_user_data or bool(vm.user_data),
    }
    vm.sealed_secrets = box
    vm.save(update_fields=["sealed_secrets"])
    job.arguments = {**asked, "instance_id": str(uuid.uuid4())}
    job.save(update_fields=["arguments"])
    _audit(actor, vm, kind, before=before, after=asked)
    return job


def tell_words(job: Job, vm: VirtualMachine) -> TellVm:
    """What the host is told by a job of this module."""
    wanted = job.arguments
    guest: GuestSpec = msgspec.structs.replace(
        guest_spec(vm),
        instance_id=wanted.get("instance_id") or vm.instance_id or str(vm.id),
        ssh_keys=wanted.get("ssh_keys", vm.ssh_keys),
        tags=wanted.get("tags", vm.tags),
        user_data=wanted.get("user_data", vm.user_data) or None,
    )
    if job.kind == "vm.tell":
        guest = msgspec.structs.replace(guest, sealed_secrets=None)
    return TellVm(vm_id=str(vm.id), guest=guest)


def told(vm: VirtualMachine, job: Job, *, succeeded: bool) -> None:
    """The job's end, in the rows. Sealed secrets have no use here any more, whatever the end:
    what was not heard of is asked for anew."""
    fields = ["sealed_secrets"]
    vm.sealed_secrets = None
    if succeeded:
        names = ("ssh_keys", "tags", "user_data", "instance_id", "has_password", "has_user_data")
        for name in names:
            if name in job.arguments:
                setattr(vm, name, job.arguments[name])
                fields.append(name)
    vm.save(update_fields=fields)


def _short(values: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """For the audit log: a script by its length, the rest as it is."""
    return {
        name: f"{len(values[name])} characters" if name == "user_data" else values[name]
        for name in names
    }


def _held(actor: Actor, vm: VirtualMachine, kind: str) -> tuple[Job, VirtualMachine]:
    host_must_understand(vm.hypervisor)
    job, vm = vm_hold(actor=actor, vm=vm, kind=kind)
    vm_must_be_there(vm)
    return job, vm


def host_must_understand(hypervisor: Hypervisor) -> None:
    """Raises HostTooOldError."""
    if hypervisor.protocol < SINCE_PROTOCOL:
        raise HostTooOldError(
            f"The agent on {hypervisor.name} is too old for this. Install it again with the "
            "portal's install command; its VMs go on meanwhile."
        )


def _user_data(text: str, vm: VirtualMachine) -> str:
    checked = user_data_check(text)
    variables_check(checked, guest_variables(vm))
    return checked


def _secrets(
    vm: VirtualMachine,
    password: str | None,
    user_data: str | None,
    sealed: SealedSecrets | None,
) -> tuple[bytes | None, bool, bool]:
    if sealed is None:
        secret = _user_data(user_data or "", vm) or None
        checked = password_check(password)
        box = secrets_seal(
            hypervisor=vm.hypervisor, vm_id=vm.id, password=checked, user_data=secret
        )
        return box, checked is not None, secret is not None
    if password or user_data:
        raise InvalidInputError(
            "Give secrets either in clear or sealed, not both.", field="sealed_secrets"
        )
    if sealed.vm_id != vm.id:
        raise InvalidInputError(
            "What was sealed was sealed for another VM. Seal it with this VM's id.",
            field="sealed_secrets",
        )
    return sealed.box, sealed.has_password, sealed.has_user_data


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
