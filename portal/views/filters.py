"""Filters of the lists. What can be chosen is only what the person may see."""

import re
from typing import Any

import django_filters as filters
from django import forms
from django.db.models import Q, QuerySet
from django.http import HttpRequest

from hypervisors.models import Hypervisor, Job, Status
from hypervisors.services.job_kinds import job_kind_labels
from tenants.models import Site, Tenant
from vms.models import Image, Power, VirtualMachine

_ADDRESS = re.compile(r"\A[0-9a-fA-F.:]+\Z")


def customers(request: HttpRequest) -> "QuerySet[Tenant]":
    return Tenant.objects.allowed(request.user, "tenant.view").order_by("name")


def groups(request: HttpRequest) -> "QuerySet[Tenant]":
    return customers(request).filter(kind=Tenant.Kind.GROUP)


def sites(request: HttpRequest) -> "QuerySet[Site]":
    return Site.objects.allowed(request.user, "site.view").order_by("name")


def search_filter(**options: Any) -> filters.CharFilter:
    """The list's own search field."""
    return filters.CharFilter(
        label="Search",
        widget=forms.TextInput(attrs={"type": "search", "placeholder": "Search this list"}),
        **options,
    )


def customer_filter() -> filters.ModelChoiceFilter:
    return filters.ModelChoiceFilter(
        field_name="tenant",
        queryset=customers,
        to_field_name="slug",
        label="Customer",
        empty_label="All customers",
    )


def vm_matches(text: str) -> Q:
    """VMs whose name, customer, host, MAC or IP address holds `text`."""
    found = (
        Q(name__icontains=text)
        | Q(hypervisor__name__icontains=text)
        | Q(tenant__name__icontains=text)
    )
    if _ADDRESS.match(text) and len(text) >= 2:
        found |= Q(
            id__in=VirtualMachine.objects.filter(
                Q(nics__mac__icontains=text.lower())
                | Q(nics__address__startswith=text)
                | Q(nics__address6__istartswith=text)
                | Q(nics__observed_addresses__icontains=text)
            ).values("id")
        )
    return found


class VmFilters(filters.FilterSet):  # type: ignore[misc]
    q = search_filter(method="search")
    customer = customer_filter()
    site = filters.ModelChoiceFilter(
        field_name="hypervisor__site", queryset=sites, label="Site", empty_label="All sites"
    )
    power = filters.ChoiceFilter(
        field_name="observed_power", choices=Power.choices, label="Power", empty_label="Any power"
    )

    class Meta:
        model = VirtualMachine
        fields: list[str] = []

    def search(
        self, rows: "QuerySet[VirtualMachine]", name: str, value: str
    ) -> "QuerySet[VirtualMachine]":
        return rows.filter(vm_matches(value.strip()))


class HostFilters(filters.FilterSet):  # type: ignore[misc]
    q = search_filter(method="search")
    customer = customer_filter()
    site = filters.ModelChoiceFilter(queryset=sites, label="Site", empty_label="All sites")
    online = filters.ChoiceFilter(
        choices=[("true", "Online"), ("false", "Offline")],
        method="is_online",
        label="State",
        empty_label="Any state",
    )

    class Meta:
        model = Hypervisor
        fields: list[str] = []

    def search(self, rows: "QuerySet[Hypervisor]", name: str, value: str) -> Any:
        text = value.strip()
        return rows.filter(
            Q(name__icontains=text)
            | Q(site__name__icontains=text)
            | Q(tenant__name__icontains=text)
            | Q(facts__hostname__icontains=text)
        )

    def is_online(self, rows: "QuerySet[Hypervisor]", name: str, value: str) -> Any:
        return rows.filter(online=value == "true")


class CustomerFilters(filters.FilterSet):  # type: ignore[misc]
    q = search_filter(field_name="name", lookup_expr="icontains")
    kind = filters.ChoiceFilter(
        choices=Tenant.Kind.choices, label="Kind", empty_label="Customers and groups"
    )
    group = filters.ModelChoiceFilter(
        field_name="parent",
        queryset=groups,
        to_field_name="slug",
        label="Group",
        empty_label="All groups",
    )

    class Meta:
        model = Tenant
        fields: list[str] = []


class SiteFilters(filters.FilterSet):  # type: ignore[misc]
    q = search_filter(method="search")
    customer = customer_filter()

    class Meta:
        model = Site
        fields: list[str] = []

    def search(self, rows: "QuerySet[Site]", name: str, value: str) -> "QuerySet[Site]":
        text = value.strip()
        return rows.filter(
            Q(name__icontains=text) | Q(address__icontains=text) | Q(tenant__name__icontains=text)
        )


class ImageFilters(filters.FilterSet):  # type: ignore[misc]
    q = search_filter(method="search")
    retired = filters.ChoiceFilter(
        choices=[("yes", "Retired too")],
        method="with_retired",
        label="Retired images",
        empty_label="In use",
    )

    class Meta:
        model = Image
        fields: list[str] = []

    @property
    def qs(self) -> Any:
        rows = super().qs
        return rows if self.data.get("retired") == "yes" else rows.filter(retired_at=None)

    def search(self, rows: "QuerySet[Image]", name: str, value: str) -> "QuerySet[Image]":
        return rows.filter(Q(name__icontains=value.strip()) | Q(os__icontains=value.strip()))

    def with_retired(self, rows: "QuerySet[Image]", name: str, value: str) -> "QuerySet[Image]":
        return rows


def _kinds() -> list[tuple[str, str]]:
    return list(job_kind_labels().items())


class JobFilters(filters.FilterSet):  # type: ignore[misc]
    q = search_filter(method="search")
    customer = customer_filter()
    status = filters.ChoiceFilter(
        choices=[("active", "Under way"), *Status.choices],
        method="by_status",
        label="Outcome",
        empty_label="Any outcome",
    )
    kind = filters.ChoiceFilter(choices=_kinds, label="Kind", empty_label="Any kind")

    class Meta:
        model = Job
        fields: list[str] = []

    def search(self, rows: "QuerySet[Job]", name: str, value: str) -> "QuerySet[Job]":
        text = value.strip()
        return rows.filter(
            Q(subject_name__icontains=text)
            | Q(hypervisor__name__icontains=text)
            | Q(requested_by_name__icontains=text)
        )

    def by_status(self, rows: Any, name: str, value: str) -> Any:
        return rows.active() if value == "active" else rows.filter(status=value)
