"""A customer's approvals: asking for one, deciding, and saying what needs one."""

from uuid import UUID

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse

from consoles.models import ConsentRequest, ConsentRule
from consoles.services.consent import (
    HOURS,
    consent_ask,
    consent_decide,
    consent_end,
    consent_rule_set,
)
from consoles.services.consent_mail import consent_mail
from portal.views.base import PageView
from portal.views.console import ConsolePage
from tenants.errors import RuleError
from tenants.models import Membership, Tenant
from vms.models import VirtualMachine

_SHOWN = 30
_VMS_OFFERED = 300


class ConsentAskView(ConsolePage):
    permission = "vm.console"

    def post(self, request: HttpRequest, customer: str, name: str) -> HttpResponse:
        vm = self.vm(customer, name)

        def ask() -> str:
            wish, new = consent_ask(actor=self.actor, vm=vm, reason=request.POST.get("reason", ""))
            if new:
                consent_mail(request=wish)
            return f"{vm.tenant.name} was asked. This page goes on by itself."

        self.attempt(ask)
        return redirect("console", customer=vm.tenant.slug, name=vm.name)


class ApprovalsView(PageView):
    """What waits for the customer's word, what was decided, and the rules."""

    permission = "consent.manage"
    template_name = "pages/approvals.html"

    def get(self, request: HttpRequest) -> HttpResponse:
        self._must_be_allowed()
        requests = ConsentRequest.objects.allowed(self.user, self.permission)
        requests = requests.select_related("tenant", "vm", "vm__tenant", "decided_by")
        tenants = Tenant.objects.allowed(self.user, self.permission)
        tenants = tenants.exclude(kind=Tenant.Kind.MSP)
        rules = ConsentRule.objects.allowed(self.user, self.permission).filter(tenant__in=tenants)
        return self.page(
            {
                "here": reverse("approvals"),
                "waiting": requests.waiting(),
                "decided": requests.exclude(decided_at=None)[:_SHOWN],
                "hours": HOURS,
                "tenants": tenants[:_SHOWN],
                "whole": set(rules.filter(vm=None).values_list("tenant_id", flat=True)),
                "single": rules.exclude(vm=None).select_related("tenant", "vm"),
                "vms": VirtualMachine.objects.allowed(self.user, self.permission)
                .filter(tenant__in=tenants)
                .select_related("tenant")
                .order_by("tenant__name", "name")[:_VMS_OFFERED],
            }
        )

    def post(self, request: HttpRequest) -> HttpResponse:
        wish = self.one(
            ConsentRequest.objects.select_related("tenant", "vm"),
            pk=_uuid(request.POST.get("request", "")),
        )
        decision = request.POST.get("decision", "")

        def decide() -> str:
            if decision == "end":
                consent_end(actor=self.actor, request=wish)
                return f"The approval for {wish.requester_name} is over, and the console closed."
            hours = int(decision) if decision.isascii() and decision.isdigit() else -1
            consent_decide(actor=self.actor, request=wish, hours=hours)
            if not hours:
                return f"{wish.requester_name} may not open the console of {wish.vm.name}."
            words = f"{hours} hour{'s' * (hours != 1)}"
            return f"{wish.requester_name} may open the console of {wish.vm.name} for {words}."

        self.attempt(decide)
        return redirect("approvals")

    def _must_be_allowed(self) -> None:
        if self.permission not in Membership.objects.permissions_of(self.user):
            raise PermissionDenied


class ConsentRuleView(PageView):
    """Says that consoles of one VM, or of a customer's all, need approval; or no more."""

    permission = "consent.manage"

    def post(self, request: HttpRequest) -> HttpResponse:
        vm: VirtualMachine | None = None
        if request.POST.get("vm"):
            vms = VirtualMachine.objects.select_related("tenant")
            vm = self.one(vms, pk=_uuid(request.POST["vm"]))
            tenant = vm.tenant
        else:
            tenant = self.one(
                Tenant.objects.exclude(kind=Tenant.Kind.MSP),
                pk=_uuid(request.POST.get("tenant", "")),
            )
        wanted = request.POST.get("wanted") == "yes"
        try:
            consent_rule_set(actor=self.actor, tenant=tenant, vm=vm, wanted=wanted)
        except RuleError as refusal:
            messages.error(request, refusal.message)
            return redirect("approvals")
        what = f"The console of {vm.name}" if vm else f"Consoles of {tenant.name}"
        need = "need" if vm is None else "needs"
        told = f"{what} {need} approval from now on." if wanted else f"{what} can be opened freely."
        messages.success(request, told)
        return redirect("approvals")


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError as error:
        raise Http404 from error
