"""What every page's template gets."""

from typing import Any

from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from tenants.models import Membership
from tenants.services.second_person import agreements_waiting

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
    "service-account": "service-accounts",
    "service-account-new": "service-accounts",
    "invitation-new": "invitations",
    "invitation-renew": "invitations",
    "audit-event": "audit",
    "sign-in-policy": "sign-in-policies",
    "identity-provider-new": "sign-in-policies",
    "identity-provider": "sign-in-policies",
    "quota-new": "quotas",
    "quota-change": "quotas",
    "second-person-ask": "second-person",
    "role-new": "roles",
    "role-change": "roles",
}

# Name of the page, words, icon, and the permission that shows it.
_ADMINISTRATION = (
    ("people", "People", "users", "user.view"),
    ("service-accounts", "Service accounts", "settings", "user.view"),
    ("roles", "Roles", "shield-check", "user.view"),
    ("invitations", "Invitations", "mail", "user.view"),
    ("approvals", "Approvals", "circle-check", "consent.manage"),
    ("quotas", "Quotas", "gauge", "billing.view"),
    ("second-person", "Approvals", "circle-check", "agreement.manage"),
    ("audit", "Audit", "history", "audit.view"),
    ("sign-in-policies", "Sign-in policy", "lock", "policy.manage"),
)


def navigation(request: HttpRequest) -> dict[str, Any]:
    """Names for the navigation, and what the person may do anywhere. One query, and only
    where a template asks: it runs for every page."""
    match = request.resolver_match
    page = match.url_name if match else ""

    def may() -> frozenset[str]:
        if not request.user.is_authenticated:
            return frozenset()
        return Membership.objects.permissions_of(request.user)

    may_anywhere = SimpleLazyObject(may)

    def administration() -> list[tuple[str, str, str, int]]:
        entries = {
            # One entry for both, by what the person may see there.
            words: (name, words, image, 0)
            for name, words, image, permission in reversed(_ADMINISTRATION)
            if permission in may_anywhere
        }
        if "agreement.manage" in may_anywhere and "Approvals" in entries:
            name, words, image, _ = entries["Approvals"]
            entries[words] = (name, words, image, agreements_waiting(request.user))
        return list(reversed(entries.values()))

    section = _SECTIONS.get(page or "", page)
    if section == "second-person" and "consent.manage" in may_anywhere:
        section = "approvals"
    return {
        "current_page": page,
        "section": section,
        "may_anywhere": may_anywhere,
        "administration": SimpleLazyObject(administration),
    }
