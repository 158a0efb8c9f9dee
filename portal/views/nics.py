"""NICs of a VM: adding one on the VM's page, and a page for each."""

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect

from hypervisors.models import Job
from portal.views.base import tell_form
from portal.views.forms.nics import NicAddForm, NicChangeForm, NicRemoveForm
from portal.views.vm import VmPage
from tenants.errors import RuleError
from vms.models import Nic, VirtualMachine
from vms.services.nics import nic_add, nic_change, nic_of, nic_remove


class NicAddView(VmPage):
    permission = "vm.edit"

    def post(self, request: HttpRequest, customer: str, name: str) -> HttpResponse:
        vm = self.vm(customer, name)
        form = NicAddForm(request.POST, networks=self.networks(vm))
        if form.is_valid():
            try:
                nic_add(actor=self.actor, vm=vm, **form.wishes())
            except RuleError as refusal:
                tell_form(form, refusal)
            else:
                return redirect("vm", customer=vm.tenant.slug, name=vm.name)
        return self.vm_page(vm, nic_add=form, open_dialog="nic", status=422)


class NicPage(VmPage):
    """The NIC named in the address. Actions on it are subclasses."""

    template_name = "pages/nic.html"

    def nic(self, vm: VirtualMachine, nic_id: str) -> Nic:
        nic = nic_of(vm, nic_id)
        if nic is None:
            raise Http404
        return nic

    def nic_page(
        self, vm: VirtualMachine, nic: Nic, *, status: int = 200, **context: object
    ) -> HttpResponse:
        return self.page(
            {
                "vm": vm,
                "nic": nic,
                "may": self.along(vm).here,
                "last": len(vm.nics.all()) == 1,
                "blocked": _blocked(vm),
                "change": NicChangeForm(nic=nic),
                "remove": NicRemoveForm(vm=vm),
                "open_dialog": "",
                **context,
            },
            status=status,
        )


class NicView(NicPage):
    permission = "vm.view"

    def get(self, request: HttpRequest, customer: str, name: str, nic_id: str) -> HttpResponse:
        vm = self.vm(customer, name)
        return self.nic_page(vm, self.nic(vm, nic_id))


class NicChangeView(NicPage):
    permission = "vm.edit"

    def post(self, request: HttpRequest, customer: str, name: str, nic_id: str) -> HttpResponse:
        vm = self.vm(customer, name)
        nic = self.nic(vm, nic_id)
        form = NicChangeForm(request.POST, nic=nic)
        if form.is_valid():
            try:
                nic_change(actor=self.actor, nic=nic, **form.wishes())
            except RuleError as refusal:
                tell_form(form, refusal)
            else:
                return redirect("vm", customer=vm.tenant.slug, name=vm.name)
        return self.nic_page(vm, nic, change=form, status=422)


class NicRemoveView(NicPage):
    permission = "vm.edit"

    def post(self, request: HttpRequest, customer: str, name: str, nic_id: str) -> HttpResponse:
        vm = self.vm(customer, name)
        nic = self.nic(vm, nic_id)
        form = NicRemoveForm(request.POST, vm=vm)
        if form.is_valid():
            try:
                nic_remove(actor=self.actor, nic=nic)
            except RuleError as refusal:
                tell_form(form, refusal)
            else:
                return redirect("vm", customer=vm.tenant.slug, name=vm.name)
        return self.nic_page(vm, nic, remove=form, open_dialog="nic-remove", status=422)


def _blocked(vm: VirtualMachine) -> str:
    """Why nothing can be changed just now; empty when it can."""
    if not vm.hypervisor.online:
        return f"The host {vm.hypervisor.name} is offline. NICs can be changed when it is back."
    if vm.state != VirtualMachine.State.READY:
        return "The VM is not ready, so its NICs can't be changed now."
    if Job.objects.active().filter(subject_id=vm.id).exists():
        return "Another job is working on this VM. Wait until it has ended, then open this again."
    return ""
