"""VMs: the list, and starting or shutting down many at once."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from portal.views.base import PageView
from portal.views.filters import VmFilters
from portal.views.lists import ListPage
from portal.views.queries import vms_for_list
from portal.views.states import vm_look
from portal.views.tables import VmTable
from tenants.errors import RuleError
from tenants.models import Tenant
from vms.models import Power, VirtualMachine
from vms.services.power import vm_shutdown, vm_start

MOST_AT_ONCE = 100


def _addresses(vm: VirtualMachine) -> str:
    return " ".join(
        nic.address or " ".join(seen.split("/")[0] for seen in nic.observed_addresses)
        for nic in vm.nics.all()
    )


class VmsView(ListPage):
    permission = "vm.view"
    template_name = "pages/vms.html"
    table_class = VmTable
    filters_class = VmFilters
    name = "vms"
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

    def for_table(self) -> dict[str, Any]:
        tenants = Tenant.objects.allowed(self.user, "vm.console").values_list("id", flat=True)
        return {"with_console": set(tenants)}

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


@dataclass(frozen=True)
class Plan:
    """What would happen to one VM. `why_not` empty: it will be done."""

    vm: VirtualMachine
    what: str
    why_not: str


class VmBulkView(PageView):
    """First a preview of what will happen to each VM; then, confirmed, it is done."""

    permission = "vm.power"
    template_name = "pages/vm_bulk.html"

    def get(self, request: HttpRequest) -> HttpResponse:
        return redirect("vms")

    def post(self, request: HttpRequest) -> HttpResponse:
        action = request.POST.get("action", "")
        if action not in ("start", "shutdown"):
            return redirect("vms")
        ids = [text for text in request.POST.getlist("vm") if _is_uuid(text)]
        if not ids:
            messages.error(request, "Choose at least one VM, then press the button again.")
            return redirect("vms")
        if len(ids) > MOST_AT_ONCE:
            messages.error(
                request, f"That is {len(ids)} VMs. Choose at most {MOST_AT_ONCE} at a time."
            )
            return redirect("vms")
        vms = vms_for_list(self.user, self.permission).filter(id__in=ids).order_by("name")
        plans = [self._plan(vm, action) for vm in vms]
        if "confirmed" in request.POST:
            return self._carry_out(plans, action)
        doable = [plan for plan in plans if not plan.why_not]
        return self.page(
            {
                "plans": plans,
                "doable": doable,
                "action": action,
                "unseen": len(set(ids)) - len(plans),
            }
        )

    def _plan(self, vm: VirtualMachine, action: str) -> Plan:
        what = "is started" if action == "start" else "is asked to shut down"
        running = vm.observed_power not in (Power.OFF, Power.CRASHED)
        why_not = ""
        if vm.active_kind:  # type: ignore[attr-defined]
            why_not = "another job is working on it"
        elif not vm.hypervisor.online:
            why_not = f"its host {vm.hypervisor.name} is offline"
        elif vm.state != VirtualMachine.State.READY:
            why_not = f"it is {vm.get_state_display().lower()}"
        elif running == (action == "start"):
            why_not = "it runs already" if running else "it is off already"
        return Plan(vm=vm, what=what, why_not=why_not)

    def _carry_out(self, plans: list[Plan], action: str) -> HttpResponse:
        begun, refused = 0, []
        for plan in plans:
            if plan.why_not:
                continue
            try:
                if action == "start":
                    vm_start(actor=self.actor, vm=plan.vm)
                else:
                    vm_shutdown(actor=self.actor, vm=plan.vm)
                begun += 1
            except RuleError as refusal:
                refused.append(f"{plan.vm.name}: {refusal.message}")
        word = "started" if action == "start" else "shut down"
        if begun:
            plural = "s are" if begun > 1 else " is"
            messages.success(
                self.request, f"{begun} VM{plural} being {word}. Follow them here, row by row."
            )
        for sentence in refused[:5]:
            messages.error(self.request, sentence)
        return redirect("activity" if begun else "vms")


def _is_uuid(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True
