"""Actions on customers' and sites' pages: fields of one's own, and an MSP's part of first boots."""

from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from portal.views.base import PageView, tell_form
from portal.views.customers import CustomerPage
from portal.views.forms.custom_fields import CustomFieldsForm, VendorDataForm
from portal.views.sites import SitePage
from tenants.errors import RuleError
from tenants.models import Site, Tenant
from tenants.services.custom_fields import custom_fields_set
from vms.services.vendor_data import vendor_data_set


class SettingView(PageView):
    """One form of a page, in a dialog; refused, the page shows it again with the reason.

    Subclasses say which form and service it is, and beside which page it stands.
    """

    field: str
    """Of the form, and the form's own name in its page."""
    dialog: str
    form_class: type[forms.Form]
    service: Callable[..., Any]
    owner: str
    """What the service calls the thing that is set up."""
    wish: str
    """What it calls the field."""
    saved: str

    def set_up(self, thing: Tenant | Site) -> forms.Form | None:
        """Do what was asked for; or answer the form that says why not."""
        form = self.form_class(self.request.POST)
        if form.is_valid():
            wishes = {self.owner: thing, self.wish: form.cleaned_data[self.field]}
            try:
                type(self).service(actor=self.actor, **wishes)
            except RuleError as refusal:
                tell_form(form, refusal)
            else:
                messages.success(self.request, self.saved)
                return None
        return form

    def refused(self, form: forms.Form) -> dict[str, Any]:
        return {self.field: form, "open_dialog": self.dialog, "status": 422}


class CustomerSettingView(SettingView, CustomerPage):
    permission = "tenant.manage"

    def post(self, request: HttpRequest, customer: str) -> HttpResponse:
        tenant = self.customer(customer)
        form = self.set_up(tenant)
        if form is not None:
            return self.customer_page(tenant, **self.refused(form))
        return redirect("customer", customer=tenant.slug)


class SiteSettingView(SettingView, SitePage):
    permission = "site.manage"

    def post(self, request: HttpRequest, customer: str, site: str) -> HttpResponse:
        found = self.site(customer, site)
        form = self.set_up(found)
        if form is not None:
            return self.site_page(found, **self.refused(form))
        return redirect("site", customer=found.tenant.slug, site=found.slug)


class _Fields:
    field, dialog = "custom_fields", "fields"
    form_class: type[forms.Form] = CustomFieldsForm
    service, owner, wish = staticmethod(custom_fields_set), "owner", "fields"
    saved = "Saved. VMs that are made from now on can use them."


class CustomerFieldsView(_Fields, CustomerSettingView):
    permission = "tenant.manage"


class SiteFieldsView(_Fields, SiteSettingView):
    permission = "site.manage"


class VendorDataView(CustomerSettingView):
    """What an MSP wants done in the first boot of all its customers' VMs."""

    permission = "tenant.manage"
    field, dialog, form_class = "vendor_data", "vendor", VendorDataForm
    service, owner, wish = staticmethod(vendor_data_set), "msp", "text"
    saved = "Saved. VMs that are made from now on begin with it."
