"""Networks of a host: adding one on the host's page, and a page for each."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse

from hypervisors.models import Hypervisor, Network
from hypervisors.services.networks import network_change, network_create, network_remove
from portal.views.audit import events_of
from portal.views.base import tell_form
from portal.views.forms.networks import NetworkChangeForm, NetworkForm
from portal.views.hosts import HostPage
from tenants.errors import RuleError
from vms.models import Nic, VirtualMachine


class NetworkCreateView(HostPage):
    permission = "network.manage"

    def post(self, request: HttpRequest, customer: str, name: str) -> HttpResponse:
        host = self.host(customer, name)
        form = NetworkForm(request.POST)
        if form.is_valid():
            try:
                network_create(actor=self.actor, hypervisor=host, **form.wishes())
            except RuleError as refusal:
                tell_form(form, refusal)
            else:
                return redirect("host", customer=host.tenant.slug, name=host.name)
        return self.host_page(host, network=form, open_dialog="network", status=422)


class NetworkRemoveView(HostPage):
    permission = "network.manage"

    def post(self, request: HttpRequest, customer: str, name: str, network_id: str) -> HttpResponse:
        host = self.host(customer, name)
        network = self.one(Network.objects.filter(hypervisor=host), id=network_id)

        def remove() -> str:
            network_remove(actor=self.actor, network=network)
            return f"The network {network.name} is removed."

        self.attempt(remove)
        return redirect("host", customer=host.tenant.slug, name=host.name)


class NetworkPage(HostPage):
    """The network named in the address: what guests are told, and who has which address."""

    template_name = "pages/network.html"

    def network(self, host: Hypervisor, network_id: str) -> Network:
        return self.one(Network.objects.filter(hypervisor=host), id=network_id)

    def network_page(
        self, host: Hypervisor, network: Network, *, status: int = 200, **context: object
    ) -> HttpResponse:
        along = self.along(host)
        seen = VirtualMachine.objects.allowed(self.user, "vm.view").filter(hypervisor=host)
        nics = Nic.objects.filter(network=network, vm__in=seen).select_related("vm__tenant")
        return self.page(
            {
                "here": reverse("network", args=(host.tenant.slug, host.name, network.id)),
                "host": host,
                "network": network,
                "may": along.here,
                "along": along,
                "nics": nics.order_by("address", "address6", "mac")[:256],
                "nic_count": network.nics.count(),
                "change": NetworkChangeForm(network=network),
                "audited": events_of(self.user, object_id=network.id),
                "audit_query": f"object={network.id}",
                **context,
            },
            status=status,
        )


class NetworkView(NetworkPage):
    permission = "network.view"

    def get(self, request: HttpRequest, customer: str, name: str, network_id: str) -> HttpResponse:
        host = self.host(customer, name)
        return self.network_page(host, self.network(host, network_id))


class NetworkChangeView(NetworkPage):
    permission = "network.manage"

    def post(self, request: HttpRequest, customer: str, name: str, network_id: str) -> HttpResponse:
        host = self.host(customer, name)
        network = self.network(host, network_id)
        form = NetworkChangeForm(request.POST, network=network)
        if form.is_valid():
            try:
                network_change(actor=self.actor, network=network, changes=form.wishes())
            except RuleError as refusal:
                tell_form(form, refusal)
            else:
                return redirect(
                    "network", customer=host.tenant.slug, name=host.name, network_id=network.id
                )
        return self.network_page(host, network, change=form, status=422)
