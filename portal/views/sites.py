"""Sites: the list, one site, adding one, and letting hosts join it."""

from datetime import timedelta
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse

from hypervisors.models import Hypervisor, JoinToken
from hypervisors.services.join_tokens import join_command, join_token_create, join_token_revoke
from portal.views.base import PageView, tell_form
from portal.views.filters import SiteFilters
from portal.views.forms.custom_fields import custom_fields_form
from portal.views.forms.places import (
    JoinTokenForm,
    SiteChangeForm,
    SiteForm,
    SiteRemoveForm,
)
from portal.views.lists import ListPage
from portal.views.queries import hosts_for_list, jobs_for_list, sites_for_list, vms_for_list
from portal.views.tables import SiteTable
from tenants.errors import RuleError
from tenants.models import Site, Tenant
from tenants.services.tenants import site_change, site_create, site_remove


class SitesView(ListPage):
    permission = "site.view"
    table_class = SiteTable
    filters_class = SiteFilters
    name = "sites"
    columns = (
        ("name", lambda row: row.name),
        ("customer", lambda row: row.tenant.name),
        ("address", lambda row: row.address),
        ("time_zone", lambda row: row.time_zone),
        ("hosts", lambda row: row.host_count),
        ("hosts_online", lambda row: row.online_count),
        ("vms", lambda row: row.vm_count),
    )

    def rows(self) -> "QuerySet[Site]":
        return sites_for_list(self.user)

    def about(self) -> dict[str, Any]:
        return {
            "title": "Sites",
            "lead": "The places where your customers' hosts stand.",
            "events": ["site", "hypervisor", "vm"],
            "action": ("site-new", "Add site", "site.manage"),
            "empty": (
                "map-pin",
                "No site yet",
                (
                    "A site is a place with servers: a head office, a shop, a plant. Hosts join a "
                    "site with a one-line command that you find on its page."
                ),
            ),
        }


class SiteCreateView(PageView):
    permission = "site.manage"
    template_name = "pages/site_new.html"

    def get(self, request: HttpRequest) -> HttpResponse:
        self._must_be_allowed()
        initial = {"tenant": request.GET.get("customer", "")}
        return self.page({"form": SiteForm(user=self.user, initial=initial)})

    def post(self, request: HttpRequest) -> HttpResponse:
        self._must_be_allowed()
        form = SiteForm(request.POST, user=self.user)
        if form.is_valid():
            try:
                site = site_create(actor=self.actor, **form.cleaned_data)
            except RuleError as refusal:
                tell_form(form, refusal)
            else:
                return redirect("site", customer=site.tenant.slug, site=site.slug)
        return self.page({"form": form}, status=422)

    def _must_be_allowed(self) -> None:
        if not Tenant.objects.allowed(self.user, self.permission).exists():
            raise PermissionDenied


class SitePage(PageView):
    """The site named in the address. Actions on it are subclasses."""

    template_name = "pages/site.html"

    def site(self, customer: str, site: str) -> Site:
        return self.one(Site.objects.select_related("tenant"), tenant__slug=customer, slug=site)

    def site_page(self, site: Site, *, status: int = 200, **context: Any) -> HttpResponse:
        along = self.along(site)
        may = along.here
        tokens = JoinToken.objects.none()
        if "hypervisor.manage" in may:
            tokens = JoinToken.objects.usable().filter(site=site).select_related("created_by")
        hosts = list(hosts_for_list(self.user).filter(site=site))
        return self.page(
            {
                "here": reverse("site", args=(site.tenant.slug, site.slug)),
                "site": site,
                "may": may,
                "along": along,
                "hosts": hosts,
                "vms": vms_for_list(self.user).filter(hypervisor__site=site)[:50],
                "jobs": jobs_for_list(self.user).filter(hypervisor__site=site)[:8],
                "tokens": tokens,
                "join": JoinTokenForm(),
                "change": SiteChangeForm(
                    initial={
                        "name": site.name,
                        "address": site.address,
                        "time_zone": site.time_zone,
                    }
                ),
                "remove": SiteRemoveForm(site=site),
                "custom_fields": custom_fields_form(site),
                "open_dialog": "",
                **context,
            },
            status=status,
        )


class SiteView(SitePage):
    permission = "site.view"

    def get(self, request: HttpRequest, customer: str, site: str) -> HttpResponse:
        return self.site_page(self.site(customer, site))


class SiteChangeView(SitePage):
    permission = "site.manage"

    def post(self, request: HttpRequest, customer: str, site: str) -> HttpResponse:
        found = self.site(customer, site)
        form = SiteChangeForm(request.POST)
        if form.is_valid():
            try:
                site_change(actor=self.actor, site=found, **form.cleaned_data)
            except RuleError as refusal:
                tell_form(form, refusal)
            else:
                return redirect("site", customer=found.tenant.slug, site=found.slug)
        return self.site_page(found, change=form, open_dialog="change", status=422)


class SiteRemoveView(SitePage):
    permission = "site.manage"

    def post(self, request: HttpRequest, customer: str, site: str) -> HttpResponse:
        found = self.site(customer, site)
        form = SiteRemoveForm(request.POST, site=found)
        if form.is_valid():
            try:
                site_remove(actor=self.actor, site=found)
            except RuleError as refusal:
                tell_form(form, refusal)
            else:
                return redirect("customer", customer=found.tenant.slug)
        return self.site_page(found, remove=form, open_dialog="remove", status=422)


class JoinTokenCreateView(SitePage):
    """Makes a token, and shows its command in the answer: once."""

    permission = "hypervisor.manage"

    def post(self, request: HttpRequest, customer: str, site: str) -> HttpResponse:
        found = self.site(customer, site)
        form = JoinTokenForm(request.POST)
        if form.is_valid():
            try:
                token, secret = join_token_create(
                    actor=self.actor,
                    site=found,
                    max_uses=form.cleaned_data["max_uses"],
                    expires_in=timedelta(hours=int(form.cleaned_data["hours"])),
                )
            except RuleError as refusal:
                tell_form(form, refusal)
            else:
                return self.site_page(
                    found,
                    command=join_command(secret),
                    arrivals_page=reverse(
                        "join-token", args=(found.tenant.slug, found.slug, token.id)
                    ),
                    arrived=[],
                    hours=dict(JoinTokenForm.base_fields["hours"].choices)[  # type: ignore[attr-defined]
                        form.cleaned_data["hours"]
                    ],
                    max_uses=form.cleaned_data["max_uses"],
                    open_dialog="command",
                )
        return self.site_page(found, join=form, open_dialog="join", status=422)


class JoinTokenView(SitePage):
    """A part of the page: the hosts that have joined with this token so far."""

    permission = "hypervisor.manage"
    template_name = "components/arrivals.html"

    def get(self, request: HttpRequest, customer: str, site: str, token_id: str) -> HttpResponse:
        found = self.site(customer, site)
        token = self.one(JoinToken.objects.filter(site=found), id=token_id)
        arrived = Hypervisor.objects.filter(joined_with=token).select_related("tenant")
        return self.page({"arrived": arrived, "max_uses": token.max_uses})


class JoinTokenRevokeView(SitePage):
    permission = "hypervisor.manage"

    def post(self, request: HttpRequest, customer: str, site: str, token_id: str) -> HttpResponse:
        found = self.site(customer, site)
        token = self.one(JoinToken.objects.filter(site=found), id=token_id)

        def revoke() -> str:
            join_token_revoke(actor=self.actor, token=token)
            return f"The join token {token} lets no host in any more."

        self.attempt(revoke)
        return redirect("site", customer=found.tenant.slug, site=found.slug)
