"""A VM's screen in the browser."""

from django.http import HttpRequest, HttpResponse, JsonResponse
from django_htmx.http import HttpResponseClientRefresh

from consoles.services.consent import ConsentNeededError, consent_check, consent_waiting
from consoles.services.tickets import console_ticket_create
from portal.views.base import PageView
from tenants.errors import RuleError
from vms.models import Power, VirtualMachine


class ConsolePage(PageView):
    permission = "vm.console"
    template_name = "pages/console.html"

    def vm(self, customer: str, name: str) -> VirtualMachine:
        return self.one(
            VirtualMachine.objects.select_related("tenant", "hypervisor", "hypervisor__site"),
            tenant__slug=customer,
            name__iexact=name,
        )


class ConsoleView(ConsolePage):
    permission = "vm.console"

    def get(self, request: HttpRequest, customer: str, name: str) -> HttpResponse:
        vm = self.vm(customer, name)
        try:
            consent_check(self.user, vm)
        except ConsentNeededError:
            waiting = consent_waiting(self.user, vm)
            return self.page({"vm": vm, "waiting": waiting}, template="pages/consent_ask.html")
        if request.htmx:  # type: ignore[attr-defined]
            # The page that waited for consent asks again, and now it is there.
            return HttpResponseClientRefresh()
        why_not = ""
        if not vm.hypervisor.online:
            why_not = f"The host {vm.hypervisor.name} is offline, so its screen can't be reached."
        elif vm.observed_power in (Power.OFF, Power.CRASHED):
            why_not = "The VM is off: there is no screen to show. Start it, then come back."
        return self.page({"vm": vm, "why_not": why_not, "may": self.may(vm)})


class ConsoleTicketView(ConsolePage):
    """A ticket for the page's script: single use, ten seconds."""

    permission = "vm.console"

    def post(self, request: HttpRequest, customer: str, name: str) -> HttpResponse:
        vm = self.vm(customer, name)
        try:
            _, secret = console_ticket_create(actor=self.actor, vm=vm, kind="vnc")
        except RuleError as refusal:
            return JsonResponse({"message": refusal.message}, status=refusal.status)
        return JsonResponse({"url": f"/console/{secret}/"}, status=201)
