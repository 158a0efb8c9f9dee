"""NICs of a VM that exists. Each returns at once; the job carries the outcome."""

import secrets
import uuid
from typing import Any

from django.db import transaction

from hypervisors.models import Job, Network
from hypervisors.services.addresses import addresses_allocate
from hypervisors.services.jobs import host_must_speak, job_create
from tenants.actor import Actor
from tenants.errors import InvalidInputError, RuleError
from tenants.scope import system_scope
from tenants.services.audit import audit_record
from tenants.services.live import live_publish
from vms.models import Nic, VirtualMachine
from vms.services.power import vm_hold, vm_must_be_there

MAX_NICS = 8
PROTOCOL = 3
"""Since which version of the protocol a host changes NICs of guests that are there."""


class NicGoneError(RuleError):
    """The NIC was removed by somebody else meanwhile."""

    code = "nic_gone"
    status = 409


@transaction.atomic
def nic_add(
    *,
    actor: Actor,
    vm: VirtualMachine,
    network: Network,
    address: str | None = None,
    address6: str | None = None,
    guard: bool = True,
) -> Job:
    """Ask for one more NIC, at once where the guest runs. The row is there from now on, so that
    its addresses are its own; it goes again where the host can't do it.

    Raises InvalidInputError, AddressTakenError, AddressOutsideError, PoolEmptyError,
    HostTooOldError, VmBusyError, HostOfflineError, VmNotReadyError.
    """
    host_must_speak(vm.hypervisor, PROTOCOL)
    job, vm = vm_hold(actor=actor, vm=vm, kind="vm.nic-add")
    vm_must_be_there(vm)
    if network.hypervisor_id != vm.hypervisor_id:
        raise InvalidInputError(
            f"The network {network.name} is not one of {vm.hypervisor.name}'s. Choose one of the "
            "host's own networks.",
            field="network",
        )
    positions = list(vm.nics.values_list("position", flat=True))
    if len(positions) >= MAX_NICS:
        raise InvalidInputError(
            f"“{vm.name}” has {MAX_NICS} NICs already, which is the most. Remove one first.",
            field="network",
        )
    given, given6 = addresses_allocate(
        network=network, address=address, address6=address6, field="address"
    )
    nic = Nic.objects.create(
        vm=vm,
        position=max(positions, default=-1) + 1,
        network=network,
        mac=mac_new(),
        address=given,
        address6=given6,
        guard=guard,
    )
    job.arguments = {"nic": str(nic.id), **nic_facts(nic)}
    job.save(update_fields=["arguments"])
    _audit(actor, vm, "vm.nic-add", after=nic_facts(nic))
    return job


@transaction.atomic
def nic_remove(*, actor: Actor, nic: Nic) -> Job:
    """Ask for a NIC to be taken out, at once where the guest runs. Its row and its addresses go
    when the host has done it.

    Raises NicGoneError, HostTooOldError, VmBusyError, HostOfflineError, VmNotReadyError.
    """
    host_must_speak(nic.vm.hypervisor, PROTOCOL)
    job, vm = vm_hold(actor=actor, vm=nic.vm, kind="vm.nic-remove")
    vm_must_be_there(vm)
    nic = _locked(nic)
    job.arguments = {"nic": str(nic.id), **nic_facts(nic)}
    job.save(update_fields=["arguments"])
    _audit(actor, vm, "vm.nic-remove", before=nic_facts(nic))
    return job


@transaction.atomic
def nic_change(
    *,
    actor: Actor,
    nic: Nic,
    address: str | None = None,
    address6: str | None = None,
    guard: bool | None = None,
) -> Job:
    """Give a NIC other addresses, or switch its guard. None keeps a value. The rows change now,
    so that nobody else gets the addresses; they change back where the host can't do it.

    Raises InvalidInputError, AddressTakenError, AddressOutsideError, NicGoneError,
    HostTooOldError, VmBusyError, HostOfflineError, VmNotReadyError.
    """
    host_must_speak(nic.vm.hypervisor, PROTOCOL)
    job, vm = vm_hold(actor=actor, vm=nic.vm, kind="vm.nic-change")
    vm_must_be_there(vm)
    nic = _locked(nic)
    before = _changeable(nic)
    if (address or nic.address, address6 or nic.address6) != (nic.address, nic.address6):
        nic.address, nic.address6 = addresses_allocate(
            network=nic.network,
            address=address or nic.address,
            address6=address6 or nic.address6,
            nic=nic.id,
            field="address6" if address6 and not address else "address",
        )
    nic.guard = nic.guard if guard is None else guard
    after = _changeable(nic)
    changed = [name for name in after if after[name] != before[name]]
    if not changed:
        raise InvalidInputError("Nothing would change: the NIC is like this already.")
    nic.save(update_fields=changed)
    old, new = ({name: values[name] for name in changed} for values in (before, after))
    job.arguments = {"nic": str(nic.id), "network": nic.network.name, "before": old, "after": new}
    job.save(update_fields=["arguments"])
    mark = {"mac": nic.mac}
    _audit(actor, vm, "vm.nic-change", before=mark | old, after=mark | new)
    return job


def network_told(actor: Actor, network: Network) -> None:
    """Tell the guests on a network that has changed, in the transaction of the change.

    Raises HostTooOldError, HostOfflineError, VmBusyError.
    """
    vms = VirtualMachine.objects.filter(nics__network=network).distinct().order_by("pk")
    for vm in vms.exclude(state=VirtualMachine.State.MISSING).select_related("hypervisor"):
        host_must_speak(vm.hypervisor, PROTOCOL)
        # The host takes what is said of the network for all of the guest's NICs on it.
        first = vm.nics.filter(network=network).order_by("position")[0]
        job_create(
            actor=actor,
            hypervisor=vm.hypervisor,
            kind="vm.nic-change",
            subject_id=vm.id,
            subject_name=vm.name,
            arguments={"nic": str(first.id), "network": network.name},
        )


def mac_new() -> str:
    """A free address under 52:54:00, QEMU's customary prefix for its guests."""
    while True:
        mac = "52:54:00:" + ":".join(f"{byte:02x}" for byte in secrets.token_bytes(3))
        with system_scope("a MAC address is unique in the whole portal"):
            taken = Nic.objects.filter(mac=mac).exists()
        if not taken:
            return mac


def nic_facts(nic: Nic) -> dict[str, Any]:
    """What activity and audit show of a NIC."""
    facts = {"network": nic.network.name, "mac": nic.mac, "address": nic.address}
    return facts | ({"address6": nic.address6} if nic.address6 else {})


def _changeable(nic: Nic) -> dict[str, Any]:
    return {"address": nic.address, "address6": nic.address6, "guard": nic.guard}


def _locked(nic: Nic) -> Nic:
    # The VM's row is locked, so nobody else changes its NICs until this ends.
    found = Nic.objects.select_related("network").filter(pk=nic.pk).first()
    if found is None:
        raise NicGoneError("This NIC has just been removed. Look at the VM's page again.")
    return found


def _audit(
    actor: Actor,
    vm: VirtualMachine,
    action: str,
    *,
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
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


def nic_of(vm: VirtualMachine, nic_id: uuid.UUID | str) -> Nic | None:
    """The VM's NIC of this id."""
    return Nic.objects.select_related("network", "vm__hypervisor").filter(vm=vm, pk=nic_id).first()
