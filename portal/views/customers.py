"""Customers: the list, one customer, adding one."""

from typing import Any

from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse

from portal.views.audit import events_of
from portal.views.base import PageView, tell_form
from portal.views.filters import CustomerFilters
from portal.views.forms.custom_fields import VendorDataForm, custom_fields_form
from portal.views.forms.places import (
    CustomerForm,
    CustomerMoveForm,
    CustomerRemoveForm,
    CustomerRenameForm,
)
from portal.views.lists import ListPage
from portal.views.queries import customers_for_list, jobs_for_list, sites_for_list, vms_for_list
from portal.views.tables import CustomerTable
from tenants.errors import RuleError
from tenants.models import Tenant
from tenants.services.tenant_removal import tenant_remove
from tenants.services.tenants import tenant_create, tenant_move, tenant_rename


class CustomersView(ListPage):
    permission = "tenant.view"
    table_class = CustomerTable
    filters_class = CustomerFilters
    name = "customers"
    columns = (
        ("name", lambda row: row.name),
        ("kind", lambda row: row.kind),
        ("sites", lambda row: row.site_count),
        ("hosts", lambda row: row.host_count),
        ("hosts_online", lambda row: row.online_count),
        ("vms", lambda row: row.vm_count),
    )

    def rows(self) -> "QuerySet[Tenant]":
        return customers_for_list(self.user)

    def about(self) -> dict[str, Any]:
        return {
            "title": "Customers",
            "lead": "The companies you look after. Each sees its own sites, hosts and VMs alone.",
            "events": ["site", "hypervisor"],
            "action": ("customer-new", "Add customer", "tenant.manage"),
            "empty": (
                "building-community",
                "No customer yet",
                (
                    "A customer is a company whose servers you look after. Add the first one; then "
                    "give it a site, and the site a host."
                ),
            ),
        }


class CustomerCreateView(PageView):
    permission = "tenant.manage"
    template_name = "pages/customer_new.html"

    def get(self, request: HttpRequest) -> HttpResponse:
        self._must_be_allowed()
        return self.page({"form": CustomerForm(user=self.user)})

    def post(self, request: HttpRequest) -> HttpResponse:
        self._must_be_allowed()
        form = CustomerForm(request.POST, user=self.user)
        if form.is_valid():
            try:
                customer = tenant_create(
                    actor=self.actor,
                    name=form.cleaned_data["name"],
                    parent=form.cleaned_data["parent"],
                    kind=form.cleaned_data["kind"] or Tenant.Kind.CUSTOMER,
                )
            except RuleError as refusal:
                tell_form(form, refusal)
            else:
                return redirect("customer", customer=customer.slug)
        return self.page({"form": form}, status=422)

    def _must_be_allowed(self) -> None:
        if not Tenant.objects.allowed(self.user, self.permission).exists():
            raise PermissionDenied


class CustomerPage(PageView):
    """The customer named in the address. Actions on it are subclasses."""

    template_name = "pages/customer.html"

    def customer(self, customer: str) -> Tenant:
        return self.one(Tenant.objects.select_related("parent"), slug=customer)

    def customer_page(self, tenant: Tenant, *, status: int = 200, **context: Any) -> HttpResponse:
        return self.page(
            {
                "here": reverse("customer", args=(tenant.slug,)),
                "customer": tenant,
                "may": self.may(tenant),
                "may_see_parent": tenant.parent and "tenant.view" in self.may(tenant.parent),
                "customers": customers_for_list(self.user).filter(parent=tenant)[:100],
                "sites": sites_for_list(self.user).filter(tenant=tenant),
                "vms": vms_for_list(self.user).filter(tenant=tenant)[:30],
                "vm_count": vms_for_list(self.user).filter(tenant=tenant).count(),
                "jobs": jobs_for_list(self.user).filter(tenant=tenant)[:8],
                "audited": events_of(self.user, tenant=tenant),
                "audit_query": f"customer={tenant.slug}",
                "rename": CustomerRenameForm(initial={"name": tenant.name}),
                "remove": CustomerRemoveForm(customer=tenant),
                "move": CustomerMoveForm(user=self.user, tenant=tenant),
                "custom_fields": custom_fields_form(tenant),
                "vendor_data": VendorDataForm(initial={"vendor_data": tenant.vendor_data}),
                "open_dialog": "",
                **context,
            },
            status=status,
        )


class CustomerView(CustomerPage):
    permission = "tenant.view"

    def get(self, request: HttpRequest, customer: str) -> HttpResponse:
        return self.customer_page(self.customer(customer))


class CustomerRenameView(CustomerPage):
    permission = "tenant.manage"

    def post(self, request: HttpRequest, customer: str) -> HttpResponse:
        tenant = self.customer(customer)
        form = CustomerRenameForm(request.POST)
        if form.is_valid():
            try:
                tenant_rename(actor=self.actor, tenant=tenant, name=form.cleaned_data["name"])
            except RuleError as refusal:
                tell_form(form, refusal)
            else:
                return redirect("customer", customer=tenant.slug)
        return self.customer_page(tenant, rename=form, open_dialog="rename", status=422)


class CustomerRemoveView(CustomerPage):
    permission = "tenant.manage"

    def post(self, request: HttpRequest, customer: str) -> HttpResponse:
        tenant = self.customer(customer)
        form = CustomerRemoveForm(request.POST, customer=tenant)
        if form.is_valid():
            try:
                tenant_remove(actor=self.actor, tenant=tenant)
            except RuleError as refusal:
                tell_form(form, refusal)
            else:
                return redirect("customers")
        return self.customer_page(tenant, remove=form, open_dialog="remove", status=422)


class CustomerMoveView(CustomerPage):
    """Into a group of its MSP, or out of one."""

    permission = "tenant.manage"

    def post(self, request: HttpRequest, customer: str) -> HttpResponse:
        tenant = self.customer(customer)
        form = CustomerMoveForm(request.POST, user=self.user, tenant=tenant)
        if form.is_valid():
            try:
                tenant_move(actor=self.actor, tenant=tenant, parent=form.cleaned_data["parent"])
            except RuleError as refusal:
                tell_form(form, refusal)
            else:
                return redirect("customer", customer=tenant.slug)
        return self.customer_page(tenant, move=form, open_dialog="move", status=422)
