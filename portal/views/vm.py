"""A VM's page, and all that can be done to the VM there."""

import base64
from collections.abc import Callable
from typing import Any, ClassVar

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse

from hypervisors.models import Job, Network
from portal.views.audit import events_of
from portal.views.base import PageView, tell_form
from portal.views.boot_words import boot_words
from portal.views.forms.nics import NicAddForm
from portal.views.forms.vm_changes import DeleteForm, RenameForm, ResizeForm
from portal.views.forms.vm_telling import FirstBootForm, PasswordForm, TellForm
from portal.views.quota_bars import bars_over, vm_sizes
from portal.views.usage import vm_charts
from tenants.actor import Actor
from tenants.errors import RuleError
from vms.models import Power, VirtualMachine
from vms.services.changes import vm_delete, vm_rename, vm_resize
from vms.services.power import vm_reboot, vm_shutdown, vm_start, vm_stop
from vms.services.telling import vm_first_boot, vm_tell

_FIELDS = {"memory_mib": "memory_gib"}


class VmPage(PageView):
    """The VM named in the address, drawn as one page. Actions on it are subclasses, so that a
    refused one shows the same page with the reason beside what was typed."""

    template_name = "pages/vm.html"

    def vm(self, customer: str, name: str) -> VirtualMachine:
        return self.one(
            VirtualMachine.objects.for_pages(), tenant__slug=customer, name__iexact=name
        )

    def networks(self, vm: VirtualMachine) -> list[Network]:
        """Those that another NIC of it can be on."""
        visible = Network.objects.allowed(self.user, "network.view")
        return list(visible.filter(hypervisor=vm.hypervisor_id).order_by("created_at", "name"))

    def vm_page(self, vm: VirtualMachine, *, status: int = 200, **context: Any) -> HttpResponse:
        jobs = list(
            Job.objects.allowed(self.user, "job.view")
            .for_subject(vm.id)
            .select_related("hypervisor", "requested_by")[:8]
        )
        job = next((each for each in jobs if each.active), None)
        along = self.along(vm)
        resizable = "vm.edit" in along.here
        powered = vm.observed_power not in (Power.OFF, Power.CRASHED)
        return self.page(
            {
                "here": reverse("vm", args=(vm.tenant.slug, vm.name)),
                "vm": vm,
                "job": job,
                "job_event": f"job:{job.id}" if job else "",
                "last_job": jobs[0] if jobs else None,
                "jobs": jobs,
                "audited": events_of(self.user, object_id=vm.id),
                "audit_query": f"object={vm.id}",
                "may": along.here,
                "along": along,
                "powered": powered,
                "charts": vm_charts(vm),
                "usable": vm.state == VirtualMachine.State.READY and vm.hypervisor.online,
                "resize": ResizeForm(vm=vm),
                "quotas": bars_over(self.user, vm.tenant, vm.hypervisor.site) if resizable else [],
                "quota_now": vm_sizes(vm),
                "rename": RenameForm(initial={"name": vm.name}),
                "delete": DeleteForm(vm=vm),
                "nic_add": NicAddForm(networks=self.networks(vm)),
                "tell": TellForm(vm=vm),
                "password": PasswordForm(vm=vm),
                "first_boot": FirstBootForm(vm=vm),
                "seal_key": base64.b64encode(bytes(vm.hypervisor.seal_public)).decode(),
                "boot": boot_words(vm),
                "open_dialog": "",
                **context,
            },
            status=status,
        )


class VmView(VmPage):
    permission = "vm.view"

    def get(self, request: HttpRequest, customer: str, name: str) -> HttpResponse:
        return self.vm_page(self.vm(customer, name))


class VmPowerView(VmPage):
    """Start, shut down, force off, restart."""

    permission = "vm.power"
    actions: ClassVar[dict[str, Callable[[Actor, VirtualMachine], Job]]] = {
        "start": lambda actor, vm: vm_start(actor=actor, vm=vm),
        "shutdown": lambda actor, vm: vm_shutdown(actor=actor, vm=vm),
        "stop": lambda actor, vm: vm_stop(actor=actor, vm=vm),
        "reboot": lambda actor, vm: vm_reboot(actor=actor, vm=vm),
        "reset": lambda actor, vm: vm_reboot(actor=actor, vm=vm, force=True),
    }

    def post(self, request: HttpRequest, customer: str, name: str, action: str) -> HttpResponse:
        vm = self.vm(customer, name)

        def act() -> None:
            self.actions[action](self.actor, vm)

        self.attempt(act)
        return redirect("vm", customer=vm.tenant.slug, name=vm.name)


class VmResizeView(VmPage):
    permission = "vm.edit"

    def post(self, request: HttpRequest, customer: str, name: str) -> HttpResponse:
        vm = self.vm(customer, name)
        form = ResizeForm(request.POST, vm=vm)
        if form.is_valid():
            try:
                vm_resize(actor=self.actor, vm=vm, **form.wishes())
            except RuleError as refusal:
                tell_form(form, refusal, **_FIELDS)
            else:
                return redirect("vm", customer=vm.tenant.slug, name=vm.name)
        return self.vm_page(vm, resize=form, open_dialog="resize", status=422)


class VmRenameView(VmPage):
    permission = "vm.edit"

    def post(self, request: HttpRequest, customer: str, name: str) -> HttpResponse:
        vm = self.vm(customer, name)
        form = RenameForm(request.POST)
        if form.is_valid():
            try:
                vm_rename(actor=self.actor, vm=vm, name=form.cleaned_data["name"])
            except RuleError as refusal:
                tell_form(form, refusal)
            else:
                return redirect(
                    "vm", customer=vm.tenant.slug, name=form.cleaned_data["name"].strip()
                )
        return self.vm_page(vm, rename=form, open_dialog="rename", status=422)


class VmTellView(VmPage):
    """What the guest is told from now on, without a first boot."""

    permission = "vm.tell"

    def post(self, request: HttpRequest, customer: str, name: str) -> HttpResponse:
        vm = self.vm(customer, name)
        form = TellForm(request.POST, vm=vm)
        if form.is_valid():
            try:
                vm_tell(actor=self.actor, vm=vm, **form.cleaned_data)
            except RuleError as refusal:
                tell_form(form, refusal)
            else:
                return redirect("vm", customer=vm.tenant.slug, name=vm.name)
        return self.vm_page(vm, tell=form, open_dialog="tell", status=422)


class VmPasswordView(VmPage):
    """Another password, by another first boot."""

    permission = "vm.tell"

    def post(self, request: HttpRequest, customer: str, name: str) -> HttpResponse:
        vm = self.vm(customer, name)
        form = PasswordForm(request.POST, vm=vm)
        if form.is_valid():
            try:
                vm_first_boot(actor=self.actor, vm=vm, reset=True, **form.secrets())
            except RuleError as refusal:
                tell_form(form, refusal)
            else:
                return redirect("vm", customer=vm.tenant.slug, name=vm.name)
        return self.vm_page(vm, password=form, open_dialog="password", status=422)


class VmFirstBootView(VmPage):
    """Another first boot."""

    permission = "vm.tell"

    def post(self, request: HttpRequest, customer: str, name: str) -> HttpResponse:
        vm = self.vm(customer, name)
        form = FirstBootForm(request.POST, vm=vm)
        if form.is_valid():
            try:
                vm_first_boot(actor=self.actor, vm=vm, **form.secrets())
            except RuleError as refusal:
                tell_form(form, refusal)
            else:
                return redirect("vm", customer=vm.tenant.slug, name=vm.name)
        return self.vm_page(vm, first_boot=form, open_dialog="first-boot", status=422)


class VmDeleteView(VmPage):
    permission = "vm.delete"

    def post(self, request: HttpRequest, customer: str, name: str) -> HttpResponse:
        vm = self.vm(customer, name)
        form = DeleteForm(request.POST, vm=vm)
        if form.is_valid():
            try:
                job = vm_delete(
                    actor=self.actor, vm=vm, keep_disks=form.cleaned_data["disks"] == "keep"
                )
            except RuleError as refusal:
                tell_form(form, refusal)
            else:
                return redirect("job", job_id=job.id)
        return self.vm_page(vm, delete=form, open_dialog="delete", status=422)
