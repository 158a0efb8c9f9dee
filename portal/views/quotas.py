"""Quotas: the list, setting, changing and removing one."""

from collections.abc import Sequence
from typing import Any

import django_filters as filters
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from portal.views.base import PageView, tell_form
from portal.views.csv_export import Column
from portal.views.filters import customer_filter, search_filter
from portal.views.forms.quotas import NewQuotaForm, QuotaForm
from portal.views.lists import ListPage
from portal.views.quota_bars import NEARLY, bars_of
from portal.views.quota_table import QuotaTable
from tenants.errors import RuleError
from tenants.models import User
from vms.models import Quota
from vms.models.quota import LIMITS, tenants_settable
from vms.services.quota_settings import quota_remove, quota_set
from vms.services.quota_usage import by_fullness, quota_usages

_FIELDS = {"memory_mib": "memory_gib"}


class QuotaFilters(filters.FilterSet):  # type: ignore[misc]
    q = search_filter(method="search")
    customer = customer_filter()
    what = filters.ChoiceFilter(
        choices=[("tenant", "Of customers"), ("site", "Of sites")],
        method="by_what",
        label="What it bounds",
        empty_label="All kinds",
    )
    state = filters.ChoiceFilter(
        choices=[("nearly", "Nearly full or full"), ("full", "Full")],
        method="by_state",
        label="State",
        empty_label="Any state",
    )

    class Meta:
        model = Quota
        fields: list[str] = []

    def search(self, rows: "QuerySet[Quota]", name: str, value: str) -> "QuerySet[Quota]":
        text = value.strip()
        return rows.filter(Q(tenant__name__icontains=text) | Q(site__name__icontains=text))

    def by_what(self, rows: "QuerySet[Quota]", name: str, value: str) -> "QuerySet[Quota]":
        return rows.filter(site__isnull=value == "tenant")

    def by_state(self, rows: "QuerySet[Any]", name: str, value: str) -> "QuerySet[Any]":
        return rows.filter(fullness__gte=100 if value == "full" else NEARLY)


class QuotasView(ListPage):
    permission = "tenant.view"
    table_class = QuotaTable
    filters_class = QuotaFilters
    template_name = "pages/quotas.html"
    name = "quotas"

    @property
    def columns(self) -> Sequence[Column]:  # type: ignore[override]
        used = quota_usages(list(self._quotas()))
        return (
            ("customer", lambda row: row.tenant.name),
            ("site", lambda row: row.site.name if row.site else ""),
            *((f"{name}_limit", lambda row, n=name: row.limits[n]) for name in LIMITS),
            *((f"{name}_used", lambda row, n=name: used[row.pk][n]) for name in LIMITS),
        )

    def rows(self) -> "QuerySet[Quota]":
        return by_fullness(self._quotas())

    def _quotas(self) -> "QuerySet[Quota]":
        return Quota.objects.allowed(self.user, self.permission).for_pages()

    def for_rows(self, rows: Sequence[Any]) -> dict[str, Any]:
        return {"bars": {one.quota.pk: one for one in bars_of(self.user, rows)}}

    def about(self) -> dict[str, Any]:
        return {
            "title": "Quotas",
            "lead": "How much customers and sites may have at most, and how much they have.",
            "events": ["quota", "vm"],
            "action": ("quota-new", "Set a quota", "quota.manage"),
            "empty": (
                "gauge",
                "No quota yet",
                (
                    "Without one, only the hosts' own room limits how much there can be. A quota "
                    "says how many VMs, vCPU, memory and disk a customer, a group of them or a "
                    "site may have at most; what would exceed it is refused."
                ),
            ),
        }


class QuotaPage(PageView):
    permission = "quota.manage"
    template_name = "pages/quota.html"

    def quota(self, quota_id: str) -> Quota:
        """One that the person may set. Raises Http404, PermissionDenied."""
        quota = self.one(Quota.objects.for_pages(), id=quota_id)
        if not tenants_settable(self.user).filter(pk=quota.tenant_id).exists():
            raise PermissionDenied
        return quota

    def to_its_page(self, quota: Quota) -> HttpResponse:
        if quota.site is not None:
            return redirect("site", customer=quota.tenant.slug, site=quota.site.slug)
        return redirect("customer", customer=quota.tenant.slug)


class QuotaNewView(QuotaPage):
    """`?of=` says whose to begin with."""

    permission = "quota.manage"

    def get(self, request: HttpRequest) -> HttpResponse:
        form = self._form(self.user, initial={"of": request.GET.get("of", "")})
        return self.page({"form": form})

    def post(self, request: HttpRequest) -> HttpResponse:
        form = self._form(self.user, request.POST)
        if form.is_valid():
            tenant, site = form.place
            try:
                quota = quota_set(actor=self.actor, tenant=tenant, site=site, limits=form.limits)
            except RuleError as refusal:
                tell_form(form, refusal, **_FIELDS)
            else:
                return self.to_its_page(quota)
        return self.page({"form": form}, status=422)

    @staticmethod
    def _form(user: User, *values: Any, **options: Any) -> NewQuotaForm:
        if not tenants_settable(user).exists():
            raise PermissionDenied
        return NewQuotaForm(*values, user=user, **options)


class QuotaChangeView(QuotaPage):
    permission = "quota.manage"

    def get(self, request: HttpRequest, quota_id: str) -> HttpResponse:
        quota = self.quota(quota_id)
        return self._page(quota, QuotaForm(quota=quota))

    def post(self, request: HttpRequest, quota_id: str) -> HttpResponse:
        quota = self.quota(quota_id)
        form = QuotaForm(request.POST, quota=quota)
        if form.is_valid():
            try:
                quota_set(
                    actor=self.actor, tenant=quota.tenant, site=quota.site, limits=form.limits
                )
            except RuleError as refusal:
                tell_form(form, refusal, **_FIELDS)
            else:
                return self.to_its_page(quota)
        return self._page(quota, form, status=422)

    def _page(self, quota: Quota, form: QuotaForm, *, status: int = 200) -> HttpResponse:
        [bars] = bars_of(self.user, [quota])
        return self.page({"form": form, "quota": bars}, status=status)


class QuotaRemoveView(QuotaPage):
    permission = "quota.manage"

    def post(self, request: HttpRequest, quota_id: str) -> HttpResponse:
        quota = self.quota(quota_id)

        def remove() -> str:
            quota_remove(actor=self.actor, quota=quota)
            return f"{quota.name} has no quota any more."

        self.attempt(remove)
        return self.to_its_page(quota)
