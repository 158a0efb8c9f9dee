"""Every page declares what it needs. An address that declares nothing does not get in."""

import re
from pathlib import Path

import pytest
from django.urls import URLPattern, URLResolver, get_resolver
from django.views import View

from portal.views import sign_in_urls
from portal.views import urls as pages
from portal.views.base import ANYBODY, SIGNED_IN, PageView
from tenants.permissions import PERMISSIONS

ROOT = Path(__file__).resolve().parents[2]
# Only about oneself.
SIGNED_IN_ONLY = {
    "account",
    "tokens",
    "token-revoke",
    "security",
    "presence",
    "session-end",
    "sessions-end",
    "mfa_index",
    "account_email",
    "mfa_list_webauthn",
    "view-save",
    "view-rename",
    "view-default",
    "view-delete",
    "see-as-stop",
}
# Opened by a secret in their address.
BY_SECRET = {"invitation-accept"}
CHANGING = {
    "customer-new": "tenant.manage",
    "customer-rename": "tenant.manage",
    "customer-remove": "tenant.manage",
    "customer-move": "tenant.manage",
    "role-new": "role.manage",
    "role-change": "role.manage",
    "role-delete": "role.manage",
    "membership-new": "user.manage",
    "membership-change": "user.manage",
    "membership-end": "user.manage",
    "denial-new": "user.manage",
    "grant-new": "user.manage",
    "access-rule-end": "user.manage",
    "see-as": "user.manage",
    "person-token-revoke": "user.manage",
    "service-account-new": "user.manage",
    "service-account-change": "user.manage",
    "service-account-close": "user.manage",
    "service-account-open": "user.manage",
    "service-account-delete": "user.manage",
    "service-account-token": "user.manage",
    "service-account-token-revoke": "user.manage",
    "quota-new": "quota.manage",
    "quota-change": "quota.manage",
    "quota-remove": "quota.manage",
    "site-new": "site.manage",
    "site-change": "site.manage",
    "site-remove": "site.manage",
    "join-token-new": "hypervisor.manage",
    "join-token-revoke": "hypervisor.manage",
    "host-rename": "hypervisor.manage",
    "host-remove": "hypervisor.manage",
    "host-forget": "hypervisor.manage",
    "network-new": "network.manage",
    "network-change": "network.manage",
    "network-remove": "network.manage",
    "nic-new": "vm.edit",
    "nic-change": "vm.edit",
    "nic-remove": "vm.edit",
    "vm-new": "vm.create",
    "vm-bulk": "vm.power",
    "vm-bulk-delete": "vm.delete",
    "host-bulk": "hypervisor.manage",
    "image-bulk": "image.manage",
    "job-bulk": "job.view",
    "vm-power": "vm.power",
    "vm-resize": "vm.edit",
    "vm-rename": "vm.edit",
    "customer-fields": "tenant.manage",
    "site-fields": "site.manage",
    "vendor-data": "tenant.manage",
    "vm-preview": "vm.create",
    "vm-tell": "vm.tell",
    "vm-password": "vm.tell",
    "vm-first-boot": "vm.tell",
    "vm-delete": "vm.delete",
    "console": "vm.console",
    "console-ticket": "vm.console",
    "image-new": "image.manage",
    "image-upload": "image.manage",
    "image-version": "image.manage",
    "image-identity": "image.manage",
    "image-retire": "image.manage",
    "job-cancel": "job.view",
    "sign-in-policy": "policy.manage",
    "identity-provider-new": "policy.manage",
    "identity-provider": "policy.manage",
    "identity-provider-domains": "policy.manage",
    "identity-provider-remove": "policy.manage",
    "consent-ask": "vm.console",
    "approvals": "consent.manage",
    "consent-rule": "consent.manage",
    "second-person": "agreement.manage",
    "second-person-ask": "agreement.manage",
    "second-person-rule": "consent.manage",
    "person-leave": "user.manage",
    "person-sign-out": "user.manage",
    "invitation-new": "user.manage",
    "invitation-renew": "user.manage",
    "invitation-revoke": "user.manage",
}
EVERY_PAGE = [
    (pattern.name, pattern.callback.view_class)
    for pattern in [*pages.urlpatterns, *sign_in_urls.urlpatterns]
]


@pytest.mark.parametrize(("name", "view"), EVERY_PAGE)
def test_every_page_declares_a_permission(name, view):
    assert issubclass(view, PageView)
    declared = view.permission
    if declared == SIGNED_IN:
        assert name in SIGNED_IN_ONLY
    elif declared == ANYBODY:
        assert name in BY_SECRET
    else:
        assert declared in PERMISSIONS


@pytest.mark.parametrize(("name", "view"), EVERY_PAGE)
def test_whatever_changes_something_needs_more_than_seeing_it(name, view):
    if name in BY_SECRET:
        assert view.permission == ANYBODY
    elif hasattr(view, "post") and name not in SIGNED_IN_ONLY:
        assert view.permission == CHANGING[name]
    elif name not in SIGNED_IN_ONLY | {
        "console",
        "vm-new",
        "join-token",
        "sign-in-policies",
    }:
        assert view.permission.endswith(".view")


def test_a_view_without_a_permission_does_not_answer(rf):
    from django.core.exceptions import ImproperlyConfigured

    class Forgetful(PageView):
        def get(self, request):
            raise AssertionError("it answered")

    with pytest.raises(ImproperlyConfigured):
        Forgetful.as_view()(rf.get("/"))


def test_no_page_stands_outside_this_walk():
    """Views of ours that are not PageViews are the agents' and the API's."""

    def walk(patterns, prefix=""):
        for pattern in patterns:
            if isinstance(pattern, URLResolver):
                yield from walk(pattern.url_patterns, prefix + str(pattern.pattern))
            elif isinstance(pattern, URLPattern):
                yield prefix + str(pattern.pattern), pattern.callback

    for address, callback in walk(get_resolver().url_patterns):
        view = getattr(callback, "view_class", None)
        if view is not None and issubclass(view, View) and view.__module__.startswith("portal.v"):
            assert issubclass(view, PageView), address


TEMPLATES = sorted((ROOT / "templates").rglob("*.html"))


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_no_template_has_inline_scripts_or_switches_escaping_off(template):
    text = template.read_text()
    assert not re.search(r"<script(?![^>]*\bsrc=)", text)
    assert not re.search(r"\son[a-z]+=", text)
    assert "|safe" not in text
    assert "autoescape off" not in text


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_every_icon_is_in_the_sprite(template):
    known = set((ROOT / "static/src/icons.txt").read_text().split())
    text = template.read_text()
    used = set(re.findall(r'{% icon "([a-z0-9-]+)"', text)) | set(
        re.findall(r'image="([a-z0-9-]+)"', text)
    )
    assert used <= known
