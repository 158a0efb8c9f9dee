"""Search everywhere: customer, site, host, VM, IP address, MAC."""

from dataclasses import dataclass

from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse

from hypervisors.models import Hypervisor
from portal.templatetags.basalt import host_state, vm_state
from portal.views.base import PageView
from portal.views.filters import vm_matches
from portal.views.queries import vms_for_list
from tenants.models import Site, Tenant
from vms.models import VirtualMachine

MOST = 6


@dataclass(frozen=True)
class Hit:
    """One thing found. `console` is the address of its console, if it has one."""

    icon: str
    name: str
    under: str
    href: str
    console: str = ""
    state: str = ""


class SearchView(PageView):
    """Answers a part of the page: the list of what was found. Nothing typed: recent VMs."""

    permission = "tenant.view"
    template_name = "components/search_results.html"

    def get(self, request: HttpRequest) -> HttpResponse:
        text = request.GET.get("q", "").strip()[:100]
        groups = self._found(text) if text else [("Recent VMs", self._recent())]
        return render(
            request,
            self.template_name,
            {"groups": [group for group in groups if group[1]], "text": text},
        )

    def _found(self, text: str) -> list[tuple[str, list[Hit]]]:
        vms = vms_for_list(self.user).filter(vm_matches(text))
        exact_first = sorted(
            vms.order_by("name")[: MOST * 3],
            key=lambda vm: not vm.name.lower().startswith(text.lower()),
        )
        hosts = (
            Hypervisor.objects.allowed(self.user, "hypervisor.view")
            .filter(Q(name__icontains=text) | Q(facts__bridges__icontains=text))
            .select_related("tenant", "site")[:MOST]
        )
        sites = (
            Site.objects.allowed(self.user, "site.view")
            .filter(Q(name__icontains=text) | Q(address__icontains=text))
            .select_related("tenant")[:MOST]
        )
        customers = Tenant.objects.allowed(self.user, "tenant.view").filter(name__icontains=text)
        return [
            ("VMs", self._vm_hits(exact_first[:MOST])),
            ("Hosts", [self._host_hit(host) for host in hosts]),
            (
                "Sites",
                [
                    Hit(
                        "map-pin",
                        site.name,
                        site.tenant.name,
                        reverse("site", args=(site.tenant.slug, site.slug)),
                    )
                    for site in sites
                ],
            ),
            (
                "Customers",
                [
                    Hit(
                        "building-community",
                        tenant.name,
                        "",
                        reverse("customer", args=(tenant.slug,)),
                    )
                    for tenant in customers[:MOST]
                ],
            ),
        ]

    def _recent(self) -> list[Hit]:
        mine = vms_for_list(self.user).filter(created_by=self.user).order_by("-created_at")[:MOST]
        vms = list(mine) or list(vms_for_list(self.user).order_by("-created_at")[:MOST])
        return self._vm_hits(vms)

    def _vm_hits(self, vms: list[VirtualMachine]) -> list[Hit]:
        if not vms:
            return []
        open_to = VirtualMachine.objects.allowed(self.user, "vm.console")
        shown = open_to.filter(id__in=[vm.id for vm in vms])
        consoles = set(shown.values_list("id", flat=True))
        return [self._vm_hit(vm, vm.id in consoles) for vm in vms]

    def _vm_hit(self, vm: VirtualMachine, consoles: bool) -> Hit:
        addresses = [next(iter(nic.given or nic.observed_addresses), "") for nic in vm.nics.all()]
        under = [vm.tenant.name, vm.hypervisor.site.name, *filter(None, addresses)]
        where = (vm.tenant.slug, vm.name)
        return Hit(
            "device-desktop",
            vm.name,
            " · ".join(under),
            reverse("vm", args=where),
            reverse("console", args=where) if consoles else "",
            vm_state(vm, vm.active_kind),  # type: ignore[attr-defined]
        )

    def _host_hit(self, host: Hypervisor) -> Hit:
        return Hit(
            "server",
            host.name,
            f"{host.tenant.name} · {host.site.name}",
            reverse("host", args=(host.tenant.slug, host.name)),
            state=host_state(host),
        )
