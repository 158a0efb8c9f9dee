"""Starting, stopping and deleting many VMs at once."""

from typing import Any

from django.db.models import QuerySet
from django.urls import reverse
from django.utils.safestring import SafeString

from portal.templatetags.basalt import vm_state
from portal.views.bulk import Action, BulkPage, Fate
from portal.views.queries import vms_for_list
from vms.models import Power, VirtualMachine
from vms.services.changes import vm_delete
from vms.services.power import vm_shutdown, vm_start, vm_stop


def _out_of_reach(vm: Any) -> str:
    """Why nothing can be asked of its host just now; "" where it can."""
    if vm.active_kind:
        return "another job is working on it"
    if not vm.hypervisor.online:
        return f"its host {vm.hypervisor.name} is offline"
    return ""


def _powered(vm: VirtualMachine) -> bool:
    return vm.observed_power not in (Power.OFF, Power.CRASHED)


def _fate(vm: VirtualMachine, what: str, *, wants_powered: bool) -> Fate:
    why_not = _out_of_reach(vm)
    if not why_not and vm.state != VirtualMachine.State.READY:
        why_not = f"it is {vm.get_state_display().lower()}"
    if not why_not and _powered(vm) != wants_powered:
        why_not = "it is off already" if wants_powered else "it runs already"
    return Fate(what, why_not)


def _fate_deleted(vm: VirtualMachine) -> Fate:
    size = sum(disk.size_gib for disk in vm.disks.all())
    off = "is forced off, and " if _powered(vm) else ""
    return Fate(f"{off}is deleted with its disks ({size} GiB)", _out_of_reach(vm))


_POWER = {
    "start": Action(
        verb="Start",
        done="being started",
        icon="player-play",
        fate=lambda vm: _fate(vm, "is started", wants_powered=False),
        carry_out=lambda actor, vm: vm_start(actor=actor, vm=vm),
    ),
    "shutdown": Action(
        verb="Shut down",
        done="being shut down",
        icon="power",
        fate=lambda vm: _fate(vm, "is asked to shut down", wants_powered=True),
        carry_out=lambda actor, vm: vm_shutdown(actor=actor, vm=vm),
    ),
    "stop": Action(
        verb="Force off",
        done="being forced off",
        icon="player-stop",
        fate=lambda vm: _fate(vm, "is forced off", wants_powered=True),
        carry_out=lambda actor, vm: vm_stop(actor=actor, vm=vm),
        loss=(
            "This is pulling the plug: what the guests have not written to their disks is lost. "
            "“Shut down” asks them politely."
        ),
        kind="vm.stop",
    ),
}
_DELETE = {
    "delete": Action(
        verb="Delete",
        done="being deleted",
        icon="trash",
        fate=_fate_deleted,
        carry_out=lambda actor, vm: vm_delete(actor=actor, vm=vm),
        loss=(
            "The VMs and all that is on their disks are gone for good. To keep the disks of one, "
            "delete it on its own page."
        ),
        typed=True,
        kind="vm.delete",
    )
}


class VmBulkPage(BulkPage):
    list_name = "vms"
    nouns = ("VM", "VMs")
    followed_at = "activity"
    follow = "Follow them here, row by row."

    def rows(self) -> "QuerySet[VirtualMachine]":
        return vms_for_list(self.user, self.permission).order_by("name", "id")

    def describe(self, row: VirtualMachine) -> tuple[str, str, str, SafeString]:
        return (
            row.name,
            reverse("vm", args=(row.tenant.slug, row.name)),
            f"{row.tenant.name} · {row.hypervisor.name}",
            vm_state(row, row.active_kind),  # type: ignore[attr-defined]
        )


class VmBulkView(VmBulkPage):
    permission = "vm.power"

    def actions(self) -> dict[str, Action]:
        return _POWER


class VmBulkDeleteView(VmBulkPage):
    permission = "vm.delete"

    def actions(self) -> dict[str, Action]:
        return _DELETE
