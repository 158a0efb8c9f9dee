"""What every page's template gets."""

from typing import Any

from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from tenants.models import Membership

# The part of the navigation that each page belongs to.
_SECTIONS = {
    "customer": "customers",
    "customer-new": "customers",
    "site": "sites",
    "site-new": "sites",
    "host": "hosts",
    "network-new": "hosts",
    "vm": "vms",
    "vm-new": "vms",
    "vm-bulk": "vms",
    "vm-bulk-delete": "vms",
    "host-bulk": "hosts",
    "image-bulk": "images",
    "job-bulk": "activity",
    "image-new": "images",
    "image-upload": "images",
    "job": "activity",
    "person": "people",
    "person-leave": "people",
    "invitation-new": "invitations",
    "invitation-renew": "invitations",
    "audit-event": "audit",
    "role-new": "roles",
    "role-change": "roles",
}


def navigation(request: HttpRequest) -> dict[str, Any]:
    """Names for the navigation, and what the person may do anywhere. One query, and only
    where a template asks: it runs for every page."""
    match = request.resolver_match
    page = match.url_name if match else ""

    def may() -> frozenset[str]:
        if not request.user.is_authenticated:
            return frozenset()
        return Membership.objects.permissions_of(request.user)

    return {
        "current_page": page,
        "section": _SECTIONS.get(page or "", page),
        "may_anywhere": SimpleLazyObject(may),
    }
