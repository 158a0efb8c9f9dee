"""The fleet at a glance."""

from typing import Any

from django.http import HttpRequest, HttpResponse

from hypervisors.models import Hypervisor
from portal.views.base import PageView
from portal.views.queries import fleet_counts, jobs_for_list, sites_for_list
from tenants.models import Membership, Site, Tenant
from vms.models import Image

MOST_SITES = 120


class DashboardView(PageView):
    permission = "tenant.view"
    template_name = "pages/dashboard.html"

    def get(self, request: HttpRequest) -> HttpResponse:
        counts = fleet_counts(self.user)
        if not counts["hosts"]["total"]:
            return self.page(self._first_steps(), template="pages/dashboard_first.html")
        sites = list(sites_for_list(self.user).order_by("tenant__name", "name")[: MOST_SITES + 1])
        jobs = jobs_for_list(self.user)
        return self.page(
            {
                **counts,
                "sites": sites[:MOST_SITES],
                "more_sites": len(sites) > MOST_SITES,
                "jobs": jobs[:8],
                "working": jobs.active().count(),
                "attention": self._attention(),
            }
        )

    def _attention(self) -> list[Hypervisor]:
        """Hosts that a person should look at, the longest silent first."""
        hosts = Hypervisor.objects.allowed(self.user, "hypervisor.view").select_related(
            "tenant", "site"
        )
        silent = hosts.filter(online=False).order_by("last_seen_at")[:5]
        troubled = hosts.filter(online=True, facts__problems__0__isnull=False)[:5]
        return [*silent, *troubled]

    def _first_steps(self) -> dict[str, Any]:
        """What a new fleet needs, and how far it has come."""
        site = Site.objects.allowed(self.user, "site.view").select_related("tenant").first()
        customers = Tenant.objects.allowed(self.user, "tenant.view")
        return {
            "customer": customers.filter(kind=Tenant.Kind.CUSTOMER).first(),
            "site": site,
            "has_image": Image.objects.allowed(self.user, "image.view").exists(),
            "may": Membership.objects.permissions_of(self.user),
        }
