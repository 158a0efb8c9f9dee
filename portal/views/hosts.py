"""Hosts: the list, one host, and its networks."""

from collections.abc import Sequence
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db.models import Count, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse

from hypervisors.models import Hypervisor, Network
from hypervisors.services.hypervisors import hypervisor_remove, hypervisor_rename
from hypervisors.services.networks import suggested_subnet6
from portal.templatetags.basalt import gib, mib
from portal.views.audit import events_of
from portal.views.base import PageView, tell_form
from portal.views.bulk import Button
from portal.views.filters import HostFilters
from portal.views.forms.networks import NetworkForm
from portal.views.forms.places import HostRemoveForm, HostRenameForm
from portal.views.lists import ListPage
from portal.views.queries import hosts_for_list, jobs_for_list, vms_for_list
from portal.views.states import host_look
from portal.views.tables import HostTable
from portal.views.usage import host_charts, host_sparks
from tenants.errors import RuleError
from vms.services.capacity import host_capacity
from vms.services.forgetting import host_forget


class HostsView(ListPage):
    permission = "hypervisor.view"
    table_class = HostTable
    filters_class = HostFilters
    name = "hosts"
    buttons = (Button("host-bulk", "remove", "hypervisor.manage", "trash", "Remove…"),)
    columns = (
        ("name", lambda row: row.name),
        ("customer", lambda row: row.tenant.name),
        ("site", lambda row: row.site.name),
        ("state", lambda row: host_look(row).word),
        ("vms", lambda row: row.vm_count),
        ("cpus", lambda row: row.facts.get("cpus")),
        ("memory_mib", lambda row: row.facts.get("memory_mib")),
        ("memory_used_mib", lambda row: row.usage.get("memory_used_mib")),
        ("disk_bytes", lambda row: row.facts.get("disk_total")),
        ("disk_used_bytes", lambda row: row.usage.get("disk_used")),
        ("agent", lambda row: row.agent_version),
        ("last_seen", lambda row: row.last_seen_at and row.last_seen_at.isoformat()),
    )

    def rows(self) -> "QuerySet[Hypervisor]":
        return hosts_for_list(self.user)

    def for_rows(self, rows: Sequence[Hypervisor]) -> dict[str, Any]:
        return {"sparks": host_sparks(self.user, rows)}

    def about(self) -> dict[str, Any]:
        return {
            "title": "Hosts",
            "lead": "Your customers' own servers, each with Basalt's agent on it.",
            "events": ["hypervisor"],
            "action": ("sites", "Add host", "hypervisor.manage"),
            "empty": (
                "server",
                "No host yet",
                (
                    "A host is a Debian server at a customer's site. Open the site, press “Add "
                    "host”, and run the command shown there: the host appears by itself."
                ),
            ),
        }


class HostPage(PageView):
    """The host named in the address. Actions on it are subclasses."""

    template_name = "pages/host.html"

    def host(self, customer: str, name: str) -> Hypervisor:
        return self.one(
            Hypervisor.objects.select_related("tenant", "site"),
            tenant__slug=customer,
            name__iexact=name,
        )

    def host_page(self, host: Hypervisor, *, status: int = 200, **context: Any) -> HttpResponse:
        networks = Network.objects.allowed(self.user, "network.view")
        along = self.along(host)
        vms = vms_for_list(self.user).filter(hypervisor=host)
        return self.page(
            {
                "here": reverse("host", args=(host.tenant.slug, host.name)),
                "host": host,
                "may": along.here,
                "along": along,
                "networks": networks.filter(hypervisor=host).annotate(nic_count=Count("nics")),
                "vms": vms[:100],
                "vm_count": vms.count(),
                "jobs": jobs_for_list(self.user).filter(hypervisor=host)[:8],
                "audited": events_of(self.user, object_id=host.id),
                "audit_query": f"object={host.id}",
                "capacity": host_capacity(host),
                **_usage_words(host),
                "charts": host_charts(host),
                "rename": HostRenameForm(initial={"name": host.name}),
                "remove": HostRemoveForm(host=host),
                "network": NetworkForm(suggested6=str(suggested_subnet6(host.id))),
                "bridges": [bridge.get("name", "") for bridge in host.facts.get("bridges", [])],
                "open_dialog": "",
                **context,
            },
            status=status,
        )


def _usage_words(host: Hypervisor) -> dict[str, str]:
    """What stands beside the bars."""
    facts, usage = host.facts, host.usage
    cpus = facts.get("cpus", 0)
    return {
        "cpu_words": f"{usage.get('cpu_percent', 0)} % of {cpus} CPU{'s' if cpus != 1 else ''}, "
        f"load {usage.get('load1', 0):.1f}",
        "memory_words": f"{mib(usage.get('memory_used_mib'))} of {mib(facts.get('memory_mib'))}",
        "disk_words": f"{gib(usage.get('disk_used'))} of {gib(facts.get('disk_total'))}",
    }


class HostView(HostPage):
    permission = "hypervisor.view"

    def get(self, request: HttpRequest, customer: str, name: str) -> HttpResponse:
        return self.host_page(self.host(customer, name))


class HostRenameView(HostPage):
    permission = "hypervisor.manage"

    def post(self, request: HttpRequest, customer: str, name: str) -> HttpResponse:
        host = self.host(customer, name)
        form = HostRenameForm(request.POST)
        if form.is_valid():
            try:
                renamed = hypervisor_rename(
                    actor=self.actor, hypervisor=host, name=form.cleaned_data["name"]
                )
            except RuleError as refusal:
                tell_form(form, refusal)
            else:
                return redirect("host", customer=host.tenant.slug, name=renamed.name)
        return self.host_page(host, rename=form, open_dialog="rename", status=422)


class HostRemoveView(HostPage):
    permission = "hypervisor.manage"

    def post(self, request: HttpRequest, customer: str, name: str) -> HttpResponse:
        host = self.host(customer, name)
        form = HostRemoveForm(request.POST, host=host)
        if form.is_valid():
            try:
                hypervisor_remove(actor=self.actor, hypervisor=host)
            except RuleError as refusal:
                tell_form(form, refusal)
            else:
                return redirect("site", customer=host.tenant.slug, site=host.site.slug)
        return self.host_page(host, remove=form, open_dialog="remove", status=422)


class HostForgetView(HostPage):
    """For a host that is gone for good, with all that was on it."""

    permission = "hypervisor.manage"

    def post(self, request: HttpRequest, customer: str, name: str) -> HttpResponse:
        host = self.host(customer, name)
        if "vm.delete" not in self.may(host):
            raise PermissionDenied
        form = HostRemoveForm(request.POST, host=host)
        if form.is_valid():
            try:
                host_forget(actor=self.actor, hypervisor=host)
            except RuleError as refusal:
                tell_form(form, refusal)
            else:
                return redirect("site", customer=host.tenant.slug, site=host.site.slug)
        return self.host_page(host, remove=form, open_dialog="forget", status=422)
