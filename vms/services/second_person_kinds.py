"""What of VMs, hosts with their VMs, and images a second person can be asked about."""

from functools import partial
from typing import Any
from uuid import UUID

from django.db.models import QuerySet

from hypervisors.models import Hypervisor
from hypervisors.services.second_person_kinds import host_kind, host_thing, hosts
from tenants.services.second_person_kinds import Kind, Thing, kind_register
from vms.models import Image, VirtualMachine
from vms.services.changes import vm_delete
from vms.services.forgetting import host_forget
from vms.services.images import image_retire
from vms.services.power import vm_reboot, vm_stop

KEEP = "keep"
"""The option that leaves a deleted VM's disks on its host."""


def _vms() -> "QuerySet[Any]":
    return VirtualMachine.objects.select_related(
        "tenant__parent__parent", "hypervisor"
    ).prefetch_related("disks")


_vm_kind = partial(Kind, nouns=("VM", "VMs"), rows=_vms)


def second_person_kinds_register() -> None:
    """Called when the app is ready."""
    kind_register(
        _vm_kind(
            name="vm.delete",
            verb="Delete",
            done="being deleted",
            permissions=("vm.delete",),
            thing=_deleted,
            carry_out=lambda actor, vm, option: vm_delete(
                actor=actor, vm=vm, keep_disks=option == KEEP
            ),
            counted={"vm.delete": ""},
            option_good=lambda option: option in ("", KEEP),
        ),
        _vm_kind(
            name="vm.stop",
            verb="Force off",
            done="being forced off",
            permissions=("vm.power",),
            thing=lambda vm, _: _plugged(vm, "is forced off"),
            carry_out=lambda actor, vm, _: vm_stop(actor=actor, vm=vm),
            counted={"vm.stop": ""},
        ),
        _vm_kind(
            name="vm.reset",
            verb="Reset",
            done="being reset",
            permissions=("vm.power",),
            thing=lambda vm, _: _plugged(vm, "is restarted by force"),
            carry_out=lambda actor, vm, _: vm_reboot(actor=actor, vm=vm, force=True),
            counted={"vm.reboot": "force"},
        ),
        host_kind(
            name="hypervisor.forget",
            verb="Forget",
            done="forgotten",
            permissions=("hypervisor.manage", "vm.delete"),
            rows=lambda: hosts().prefetch_related("virtual_machines"),
            thing=_forgotten,
            carry_out=lambda actor, host, _: host_forget(actor=actor, hypervisor=host),
            counted={"vm.forget": ""},
            objects=_with_vms,
        ),
        Kind(
            name="image.retire",
            verb="Retire",
            done="retired",
            nouns=("image", "images"),
            permissions=("image.manage",),
            rows=lambda: Image.objects.select_related("tenant__parent__parent"),
            thing=lambda image, _: Thing(
                image.name,
                image.tenant.name if image.tenant else "Everybody",
                "is retired: no new VM is made from it",
            ),
            carry_out=lambda actor, image, _: image_retire(actor=actor, image=image),
            counted={"image.retire": ""},
        ),
    )


def _deleted(vm: VirtualMachine, option: str) -> Thing:
    disks = list(vm.disks.all())
    size = sum(disk.size_gib for disk in disks)
    count = f"{len(disks)} disk{'s' * (len(disks) != 1)}, {size} GiB"
    kept = f"is deleted; its disks stay on the host ({count})"
    return Thing(
        vm.name,
        vm.hypervisor.name,
        kept if option == KEEP else f"is deleted with its disks ({count})",
    )


def _plugged(vm: VirtualMachine, what: str) -> Thing:
    return Thing(vm.name, vm.hypervisor.name, f"{what}: what its guest has not written is lost")


def _forgotten(host: Hypervisor, _option: str) -> Thing:
    names = sorted(vm.name for vm in host.virtual_machines.all())
    shown = ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
    vms = f" with {len(names)} VM{'s' * (len(names) != 1)}: {shown}" if names else ""
    return host_thing(host, f"is forgotten{vms}")


def _with_vms(host: Hypervisor) -> set[UUID]:
    return {host.pk, *host.virtual_machines.values_list("id", flat=True)}
