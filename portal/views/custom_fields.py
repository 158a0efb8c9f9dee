"""Actions on customers' and sites' pages: fields of one's own, and an MSP's part of first boots."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from portal.views.base import tell_form
from portal.views.customers import CustomerPage
from portal.views.forms.custom_fields import CustomFieldsForm, VendorDataForm
from portal.views.sites import SitePage
from tenants.errors import RuleError
from tenants.services.custom_fields import custom_fields_set
from vms.services.vendor_data import vendor_data_set

_SAVED = "Saved. VMs that are made from now on can use them."


class CustomerFieldsView(CustomerPage):
    permission = "tenant.manage"

    def post(self, request: HttpRequest, customer: str) -> HttpResponse:
        tenant = self.customer(customer)
        form = CustomFieldsForm(request.POST)
        if form.is_valid():
            fields = form.cleaned_data["custom_fields"]
            try:
                custom_fields_set(actor=self.actor, owner=tenant, fields=fields)
            except RuleError as refusal:
                tell_form(form, refusal)
            else:
                messages.success(request, _SAVED)
                return redirect("customer", customer=tenant.slug)
        return self.customer_page(tenant, custom_fields=form, open_dialog="fields", status=422)


class SiteFieldsView(SitePage):
    permission = "site.manage"

    def post(self, request: HttpRequest, customer: str, site: str) -> HttpResponse:
        found = self.site(customer, site)
        form = CustomFieldsForm(request.POST)
        if form.is_valid():
            fields = form.cleaned_data["custom_fields"]
            try:
                custom_fields_set(actor=self.actor, owner=found, fields=fields)
            except RuleError as refusal:
                tell_form(form, refusal)
            else:
                messages.success(request, _SAVED)
                return redirect("site", customer=found.tenant.slug, site=found.slug)
        return self.site_page(found, custom_fields=form, open_dialog="fields", status=422)


class VendorDataView(CustomerPage):
    """What an MSP wants done in the first boot of all its customers' VMs."""

    permission = "tenant.manage"

    def post(self, request: HttpRequest, customer: str) -> HttpResponse:
        tenant = self.customer(customer)
        form = VendorDataForm(request.POST)
        if form.is_valid():
            text = form.cleaned_data["vendor_data"]
            try:
                vendor_data_set(actor=self.actor, msp=tenant, text=text)
            except RuleError as refusal:
                tell_form(form, refusal)
            else:
                messages.success(request, "Saved. VMs that are made from now on begin with it.")
                return redirect("customer", customer=tenant.slug)
        return self.customer_page(tenant, vendor_data=form, open_dialog="vendor", status=422)
