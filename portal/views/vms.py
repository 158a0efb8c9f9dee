"""VMs: the list."""

from collections.abc import Sequence
from typing import Any

from django.db.models import QuerySet

from portal.views.bulk import Button
from portal.views.filters import VmFilters
from portal.views.lists import ListPage
from portal.views.queries import vms_for_list
from portal.views.states import vm_look
from portal.views.tables import VmTable
from portal.views.usage import vm_sparks
from vms.models import VirtualMachine


def _addresses(vm: VirtualMachine) -> str:
    return " ".join(
        " ".join(nic.given or (seen.split("/")[0] for seen in nic.observed_addresses))
        for nic in vm.nics.all()
    )


class VmsView(ListPage):
    permission = "vm.view"
    table_class = VmTable
    filters_class = VmFilters
    name = "vms"
    buttons = (
        Button("vm-bulk", "start", "vm.power", "player-play", "Start…"),
        Button("vm-bulk", "shutdown", "vm.power", "power", "Shut down…"),
        Button("vm-bulk", "stop", "vm.power", "player-stop", "Force off…"),
        Button("vm-bulk-delete", "delete", "vm.delete", "trash", "Delete…"),
    )
    columns = (
        ("name", lambda row: row.name),
        ("customer", lambda row: row.tenant.name),
        ("site", lambda row: row.hypervisor.site.name),
        ("host", lambda row: row.hypervisor.name),
        ("state", lambda row: vm_look(row, row.active_kind).word),
        ("addresses", _addresses),
        ("macs", lambda row: " ".join(nic.mac for nic in row.nics.all())),
        ("vcpus", lambda row: row.vcpus),
        ("memory_mib", lambda row: row.memory_mib),
        ("disks_gib", lambda row: " ".join(str(disk.size_gib) for disk in row.disks.all())),
        ("image", lambda row: row.image_version.image.name),
        ("created", lambda row: row.created_at.isoformat()),
        ("id", lambda row: row.id),
    )

    def rows(self) -> "QuerySet[VirtualMachine]":
        return vms_for_list(self.user)

    def for_rows(self, rows: Sequence[VirtualMachine]) -> dict[str, Any]:
        open_to = VirtualMachine.objects.allowed(self.user, "vm.console")
        shown = open_to.filter(id__in=[vm.id for vm in rows])
        return {
            "sparks": vm_sparks(self.user, rows),
            "with_console": set(shown.values_list("id", flat=True)),
        }

    def about(self) -> dict[str, Any]:
        return {
            "title": "VMs",
            "lead": "",
            "events": ["vm", "job", "hypervisor"],
            "action": ("vm-new", "Create VM", "vm.create"),
            "empty": (
                "device-desktop",
                "No VM yet",
                (
                    "A VM is made from an image, on one of your hosts, with the credentials and "
                    "the script you give. It takes a minute."
                ),
            ),
        }
