"""How to do each thing that changes something, once: for the walk of test_every_change.py.

A new page or action of the API that changes something belongs into `PAGES` or `CALLS` here, or,
with the reason why it leaves no event, into `NO_EVENT`.
"""

import hashlib
from datetime import timedelta
from typing import Any

from django.core.files.uploadedfile import SimpleUploadedFile
from django.utils import timezone

from tenants.models import (
    Invitation,
)
from tests.audit.scene import Scene
from tests.factories import (
    SSH_KEY,
    MembershipFactory,
)

MARK = "zyx-Marked-Secret-7531"
"""Wherever a secret is given, it is this one."""
SCRIPT = f"#!/bin/sh\necho {MARK}\n"

_TOKEN = {
    "token-name": "new", "token-days": "30", "token-may": "read", "token-where": "all",
}  # fmt: skip

NO_EVENT = {
    "view-save": "how one's own lists look is nobody else's matter",
    "view-rename": "as view-save",
    "view-default": "as view-save",
    "view-delete": "as view-save",
    "vm-preview": "what it checks is taken back: tests/pages/test_vm_preview.py looks at it",
    "see-as-stop": "ends what see-as began: tests/pages/test_see_as.py looks at its event",
    "POST vms/{pk}/screen/": "asks for a picture, and changes nothing",
}


def _file() -> SimpleUploadedFile:
    return SimpleUploadedFile("disk.raw", (bytes(510) + b"\x55\xaa").ljust(1024 * 1024, b"\0"))


def _bulk(action: str, row: Any) -> dict[str, Any]:
    return {"action": action, "chosen": [row.id], "confirmed": "yes", "count": "1"}


def _image(name: str) -> dict[str, Any]:
    return {
        "name": name, "os": "Debian", "default_username": "debian", "min_disk_gib": 1,
        "min_memory_mib": 256,
    }  # fmt: skip


_URL = f"https://1.1.1.1/x.qcow2?signature={MARK}"


def _invited(scene: Scene) -> tuple[str, dict[str, Any]]:
    """The person's own invitation to another tenant's thing, which they accept."""
    membership = MembershipFactory()
    Invitation.objects.create(
        tenant=membership.tenant,
        role=membership.role,
        email=scene.user.email,
        invited_by=membership.user,
        hash=hashlib.sha256(MARK.encode()).hexdigest(),
        expires_at=timezone.now() + timedelta(days=7),
    )
    return f"/invited/{MARK}/", {}


PAGES: dict[str, Any] = {
    "invitation-new": lambda s: (
        "/invitations/new/",
        {"email": "new@example.com", "tenant": s.fleet.customer.slug, "days": "7",
         "role": s.invitation.role_id},
    ),
    "invitation-renew": lambda s: (f"/invitations/{s.invitation.id}/renew/", {}),
    "invitation-revoke": lambda s: (f"/invitations/{s.invitation.id}/revoke/", {}),
    "invitation-accept": _invited,
    "consent-ask": lambda s: (f"{s.fleet.vm_page}console/ask/", {"reason": "It hangs."}),
    "approvals": lambda s: ("/approvals/", {"request": s.wish.id, "decision": "4"}),
    "consent-rule": lambda s: ("/approvals/rules/", {"vm": s.fleet.vm.id, "wanted": "yes"}),
    "second-person": lambda s: (
        "/approvals/second-person/",
        {"second": s.asked.id, "decision": "refuse"},
    ),
    "second-person-ask": lambda s: (
        "/approvals/second-person/ask/",
        {"kind": "vm.delete", "row": s.fleet.vm.id, "reason": "We move."},
    ),
    "second-person-rule": lambda s: (
        "/approvals/second-person/rules/",
        {"tenant": s.fleet.customer.id, "threshold": "5"},
    ),
    "person-leave": lambda s: (f"/people/{s.fleet.owner.id}/leave/", {}),
    "person-sign-out": lambda s: (f"/people/{s.fleet.owner.id}/sign-out/", {}),
    "customer-new": lambda s: ("/customers/new/", {"name": "Newest", "parent": s.msp.id}),
    "customer-fields": lambda s: (
        f"/c/{s.fleet.customer.slug}/fields/",
        {"fields-custom_fields": "rack = 7"},
    ),
    "site-fields": lambda s: (f"{s.fleet.site_page}fields/", {"fields-custom_fields": "rack = 7"}),
    "vendor-data": lambda s: (
        f"/c/{s.msp.slug}/vendor-data/",
        {"vendor-vendor_data": SCRIPT},
    ),
    "customer-rename": lambda s: (f"/c/{s.fleet.customer.slug}/rename/", {"rename-name": "Other"}),
    "customer-remove": lambda s: (
        f"/c/{s.leaving.slug}/remove/",
        {"remove-name": s.leaving.name},
    ),
    "customer-move": lambda s: (
        f"/c/{s.fleet.customer.slug}/move/",
        {"move-parent": s.group.slug},
    ),
    "role-new": lambda s: (
        "/roles/new/",
        {"tenant": s.fleet.customer.slug, "name": "Newest", "permissions": ["vm.view"]},
    ),
    "role-change": lambda s: (
        f"/roles/{s.role.id}/",
        {"name": "Other", "permissions": ["vm.view", "site.view"]},
    ),
    "role-delete": lambda s: (f"/roles/{s.role.id}/delete/", {}),
    "membership-new": lambda s: (
        f"/people/{s.membership.user_id}/memberships/",
        {"membership-tenant": s.fleet.customer.slug, "membership-role": str(s.role.id)},
    ),
    "membership-change": lambda s: (
        f"/memberships/{s.membership.id}/change/",
        {"change-role": str(s.role.id), "change-until": ""},
    ),
    "membership-end": lambda s: (f"/memberships/{s.membership.id}/end/", {}),
    "denial-new": lambda s: (
        f"/people/{s.membership.user_id}/denials/",
        {"denial-tenant": s.fleet.customer.slug, "denial-part": "vm",
         "denial-name": s.fleet.vm.name},
    ),
    "grant-new": lambda s: (
        f"/people/{s.membership.user_id}/grants/",
        {"grant-tenant": s.fleet.customer.slug, "grant-part": "vm",
         "grant-name": s.fleet.vm.name, "grant-role": str(s.role.id)},
    ),
    "access-rule-end": lambda s: (f"/access-rules/{s.rule.id}/end/", {}),
    "see-as": lambda s: (f"/people/{s.membership.user_id}/see-as/", {}),
    "quota-new": lambda s: ("/quotas/new/", {"of": f"site:{s.fleet.site.id}", "vms": 9}),
    "quota-change": lambda s: (f"/quotas/{s.quota.id}/", {"vms": 9, "memory_gib": "1.5"}),
    "quota-remove": lambda s: (f"/quotas/{s.quota.id}/remove/", {}),
    "site-new": lambda s: (
        "/sites/new/",
        {"tenant": s.fleet.customer.slug, "name": "Newest", "address": "", "time_zone": "UTC"},
    ),
    "site-change": lambda s: (
        f"{s.fleet.site_page}change/",
        {"change-name": "Other", "change-address": "x", "change-time_zone": "UTC"},
    ),
    "site-remove": lambda s: (
        f"/c/{s.fleet.customer.slug}/sites/empty/remove/",
        {"remove-name": "Empty"},
    ),
    "join-token-new": lambda s: (
        f"{s.fleet.site_page}join-tokens/",
        {"join-max_uses": 1, "join-hours": "24"},
    ),
    "join-token-revoke": lambda s: (
        f"{s.fleet.site_page}join-tokens/{s.join_token.id}/revoke/",
        {},
    ),
    "host-bulk": lambda s: ("/hosts/bulk/", _bulk("remove", s.empty_host)),
    "host-rename": lambda s: (f"{s.fleet.host_page}rename/", {"rename-name": "other"}),
    "host-remove": lambda s: (f"{s.host_page(s.empty_host)}remove/", {"remove-name": "empty"}),
    "host-forget": lambda s: (f"{s.host_page(s.empty_host)}forget/", {"remove-name": "empty"}),
    "network-new": lambda s: (
        f"{s.fleet.host_page}networks/",
        {"name": "new", "kind": "nat", "addressing": "portal", "subnet": "10.98.0.0/24",
         "mtu": 1500},
    ),
    "network-change": lambda s: (
        f"{s.fleet.host_page}networks/{s.spare_network.id}/change/",
        {"gateway": "10.99.0.1", "dns": "9.9.9.9", "search": "example.com", "mtu": 1400},
    ),
    "nic-new": lambda s: (f"{s.fleet.vm_page}nics/", {"nic-network": str(s.fleet.network.id)}),
    "nic-change": lambda s: (
        f"{s.fleet.vm_page}nics/{s.fleet.vm.nics.get().id}/change/",
        {"change-address": "10.77.0.250", "change-guard": "on"},
    ),
    "nic-remove": lambda s: (
        f"{s.fleet.vm_page}nics/{s.fleet.vm.nics.get().id}/remove/",
        {"remove-name": s.fleet.vm.name},
    ),
    "network-remove": lambda s: (
        f"{s.fleet.host_page}networks/{s.spare_network.id}/remove/",
        {},
    ),
    "vm-new": lambda s: (
        "/vms/new/",
        {"place": f"host:{s.fleet.host.id}", "name": "new", "image": str(s.fleet.image.id),
         "size": "small", "network": str(s.fleet.network.id), "username": "maria",
         "password": MARK, "user_data": SCRIPT, "firmware": "bios"},
    ),
    "vm-bulk": lambda s: ("/vms/bulk/", _bulk("start", s.off)),
    "vm-bulk-delete": lambda s: ("/vms/bulk/delete/", _bulk("delete", s.off)),
    "vm-power": lambda s: (f"{s.fleet.vm_page}power/shutdown/", {}),
    "vm-resize": lambda s: (
        f"/c/{s.fleet.customer.slug}/vms/sleeper/resize/",
        {"resize-vcpus": 2, "resize-memory_gib": 1,
         **{f"resize-disk_{disk.id}": disk.size_gib for disk in s.off.disks.all()}},
    ),
    "vm-rename": lambda s: (f"{s.fleet.vm_page}rename/", {"rename-name": "other"}),
    "vm-tell": lambda s: (
        f"{s.fleet.vm_page}tell/",
        {"tell-ssh_keys": SSH_KEY, "tell-tags": "role = web", "tell-user_data": ""},
    ),
    "vm-password": lambda s: (
        f"{s.fleet.vm_page}password/",
        {"password-name": s.fleet.vm.name, "password-password": MARK},
    ),
    "vm-first-boot": lambda s: (
        f"{s.fleet.vm_page}first-boot/",
        {"first-boot-name": s.fleet.vm.name, "first-boot-password": MARK,
         "first-boot-user_data": SCRIPT},
    ),
    "vm-delete": lambda s: (
        f"{s.fleet.vm_page}delete/",
        {"delete-name": s.fleet.vm.name, "delete-disks": "delete"},
    ),
    "console-ticket": lambda s: (f"{s.fleet.vm_page}console/ticket/", {}),
    "image-bulk": lambda s: ("/images/bulk/", _bulk("retire", s.image)),
    "image-new": lambda s: (
        "/images/new/",
        {**_image("new"), "tenant": s.fleet.customer.slug, "url": _URL, "sha256": "ab" * 32,
         "format": "qcow2"},
    ),
    "image-upload": lambda s: (
        "/images/upload/",
        {**_image("new"), "tenant": s.fleet.customer.slug, "file": _file()},
    ),
    "image-version": lambda s: (
        f"/images/{s.image.id}/versions/",
        {"url": _URL, "sha256": "cd" * 32, "format": "qcow2"},
    ),
    "image-identity": lambda s: (f"/images/{s.image.id}/identity/", {"identity": "nocloud"}),
    "image-retire": lambda s: (f"/images/{s.image.id}/retire/", {}),
    "job-bulk": lambda s: ("/activity/bulk/", _bulk("cancel", s.job)),
    "job-cancel": lambda s: (f"/activity/{s.job.id}/cancel/", {}),
    "account": lambda _: ("/me/", {"name": "Other", "time_zone": "UTC", "ssh_keys": SSH_KEY}),
    "tokens": lambda _: ("/me/tokens/", _TOKEN),
    "token-revoke": lambda s: (f"/me/tokens/{s.token.id}/revoke/", {}),
    "person-token-revoke": lambda s: (
        f"/people/{s.membership.user_id}/tokens/{s.their_token.id}/revoke/",
        {},
    ),
    "service-account-new": lambda s: (
        "/service-accounts/new/",
        {"account-name": "New", "account-tenant": s.fleet.customer.slug, "account-role": s.role.id},
    ),
    "service-account-change": lambda s: (
        f"/service-accounts/{s.account.id}/change/",
        {"account-name": "Other"},
    ),
    "service-account-close": lambda s: (f"/service-accounts/{s.account.id}/close/", {}),
    "service-account-open": lambda s: (f"/service-accounts/{s.closed_account.id}/open/", {}),
    "service-account-delete": lambda s: (
        f"/service-accounts/{s.account.id}/delete/",
        {"name": s.account.name},
    ),
    "service-account-token": lambda s: (f"/service-accounts/{s.account.id}/tokens/", _TOKEN),
    "service-account-token-revoke": lambda s: (
        f"/service-accounts/{s.account.id}/tokens/{s.account_token.id}/revoke/",
        {},
    ),
}  # fmt: skip
"""Pages by name: the address and what is posted there."""

CALLS: dict[str, Any] = {
    "POST tokens/": lambda s: (None, {"name": "new", "permissions": ["read_only"]}),
    "DELETE tokens/{pk}/": lambda s: (s.token.id, {}),
    "POST service-accounts/": lambda s: (
        None,
        {"name": "New", "tenant": str(s.fleet.customer.id), "role": str(s.role.id)},
    ),
    "PATCH service-accounts/{pk}/": lambda s: (s.account.id, {"active": False}),
    "DELETE service-accounts/{pk}/": lambda s: (s.account.id, {}),
    "POST service-accounts/{pk}/tokens/": lambda s: (s.account.id, {"name": "new"}),
    "POST vms/{pk}/console/request/": lambda s: (s.fleet.vm.id, {"reason": "It hangs."}),
    "POST consents/{pk}/decide/": lambda s: (s.wish.id, {"hours": 1}),
    "POST consents/{pk}/end/": lambda s: (s.approval.id, {}),
    "POST second-person/": lambda s: (
        None,
        {"kind": "vm.delete", "rows": [str(s.fleet.vm.id)], "reason": "We move."},
    ),
    "POST second-person/{pk}/decide/": lambda s: (s.asked.id, {"agree": False}),
    "POST second-person/{pk}/withdraw/": lambda s: (s.asking.id, {}),
    "PUT tenants/{pk}/second-person/": lambda s: (s.fleet.customer.id, {"threshold": 5}),
    "POST people/{pk}/leave/": lambda s: (s.fleet.owner.id, {}),
    "POST people/{pk}/end-sessions/": lambda s: (s.fleet.owner.id, {}),
    "POST invitations/": lambda s: (
        None,
        {"email": "new@example.com", "tenant": str(s.fleet.customer.id),
         "role": "customer-viewer"},
    ),
    "POST invitations/{pk}/renew/": lambda s: (s.invitation.id, {}),
    "DELETE invitations/{pk}/": lambda s: (s.invitation.id, {}),
    "POST sites/{pk}/join-tokens/": lambda s: (s.fleet.site.id, {}),
    "POST vms/{pk}/console/": lambda s: (s.fleet.vm.id, {"kind": "serial"}),
    "POST hypervisors/{pk}/forget/": lambda s: (s.empty_host.id, {"name": "empty"}),
    "POST tenants/": lambda s: (None, {"name": "Newest", "parent": str(s.msp.id)}),
    "PATCH tenants/{pk}/": lambda s: (s.fleet.customer.id, {"name": "Other"}),
    "DELETE tenants/{pk}/": lambda s: (s.leaving.id, {}),
    "POST quotas/": lambda s: (None, {"site": str(s.fleet.site.id), "vms": 9}),
    "PATCH quotas/{pk}/": lambda s: (s.quota.id, {"vms": 9}),
    "DELETE quotas/{pk}/": lambda s: (s.quota.id, {}),
    "POST sites/": lambda s: (None, {"name": "Newest", "tenant": str(s.fleet.customer.id)}),
    "PATCH sites/{pk}/": lambda s: (s.fleet.site.id, {"name": "Other"}),
    "DELETE sites/{pk}/": lambda s: (s.empty_site.id, {}),
    "PATCH hypervisors/{pk}/": lambda s: (s.fleet.host.id, {"name": "other"}),
    "DELETE hypervisors/{pk}/": lambda s: (s.empty_host.id, {}),
    "DELETE join-tokens/{pk}/": lambda s: (s.join_token.id, {}),
    "POST networks/": lambda s: (
        None,
        {"name": "new", "hypervisor": str(s.fleet.host.id), "kind": "nat",
         "subnet": "10.98.0.0/24"},
    ),
    "POST vms/{pk}/nics/": lambda s: (s.fleet.vm.id, {"network": str(s.fleet.network.id)}),
    "PATCH vms/{pk}/nics/{nic_id}/": lambda s: (s.fleet.vm.id, {"guard": False}),
    "DELETE vms/{pk}/nics/{nic_id}/": lambda s: (s.fleet.vm.id, {}),
    "PATCH networks/{pk}/": lambda s: (s.spare_network.id, {"dns": ["9.9.9.9"]}),
    "DELETE networks/{pk}/": lambda s: (s.spare_network.id, {}),
    "POST images/": lambda s: (
        None,
        {"name": "new", "tenant": str(s.fleet.customer.id), "url": _URL, "sha256": "ab" * 32},
    ),
    "POST images/upload/": lambda s: (
        None,
        {"name": "new", "tenant": str(s.fleet.customer.id), "file": _file()},
    ),
    "POST images/{pk}/versions/": lambda s: (s.image.id, {"url": _URL, "sha256": "cd" * 32}),
    "POST roles/": lambda s: (
        None,
        {"tenant": str(s.fleet.customer.id), "name": "Newest", "permissions": ["vm.view"]},
    ),
    "PATCH roles/{pk}/": lambda s: (s.role.id, {"name": "Other"}),
    "DELETE roles/{pk}/": lambda s: (s.role.id, {}),
    "POST memberships/": lambda s: (
        None,
        {"user": str(s.membership.user_id), "tenant": str(s.fleet.customer.id),
         "role": str(s.role.id)},
    ),
    "PATCH memberships/{pk}/": lambda s: (s.membership.id, {"role": str(s.role.id)}),
    "DELETE memberships/{pk}/": lambda s: (s.membership.id, {}),
    "POST access-rules/": lambda s: (
        None,
        {"user": str(s.membership.user_id), "effect": "deny", "vm": str(s.fleet.vm.id)},
    ),
    "DELETE access-rules/{pk}/": lambda s: (s.rule.id, {}),
    "PUT tenants/{pk}/sign-in/": lambda s: (s.fleet.customer.id, {"session_hours": 8}),
    "POST tenants/{pk}/identity-providers/": lambda s: (
        s.fleet.customer.id,
        {"kind": "saml", "name": "New", "issuer": "https://1.1.1.1/", "secret": MARK,
         "sso_url": "https://1.1.1.1/sso", "certificate": s.provider.certificate},
    ),
    "PATCH identity-providers/{pk}/": lambda s: (s.provider.id, {"name": "O", "secret": MARK}),
    "PUT identity-providers/{pk}/domains/": lambda s: (
        s.provider.id,
        {"domains": ["new.example.com"]},
    ),
    "DELETE identity-providers/{pk}/": lambda s: (s.provider.id, {}),
    "PATCH images/{pk}/": lambda s: (s.image.id, {"identity": "ec2"}),
    "DELETE images/{pk}/": lambda s: (s.image.id, {}),
    "POST vms/": lambda s: (
        None,
        {"name": "new", "hypervisor": str(s.fleet.host.id), "image": str(s.fleet.image.id),
         "nics": [{"network": str(s.fleet.network.id)}], "password": MARK, "user_data": SCRIPT},
    ),
    "PATCH vms/{pk}/": lambda s: (s.fleet.vm.id, {"name": "other"}),
    "DELETE vms/{pk}/": lambda s: (s.fleet.vm.id, {}),
    "POST vms/{pk}/tell/": lambda s: (s.fleet.vm.id, {"tags": {"role": "web"}}),
    "POST vms/{pk}/reset_password/": lambda s: (s.fleet.vm.id, {"password": MARK}),
    "POST vms/{pk}/first_boot/": lambda s: (
        s.fleet.vm.id,
        {"password": MARK, "user_data": SCRIPT},
    ),
    "POST vms/{pk}/reboot/": lambda s: (s.fleet.vm.id, {}),
    "POST vms/{pk}/resize/": lambda s: (s.off.id, {"vcpus": 2}),
    "POST vms/{pk}/shutdown/": lambda s: (s.fleet.vm.id, {}),
    "POST vms/{pk}/start/": lambda s: (s.off.id, {}),
    "POST vms/{pk}/stop/": lambda s: (s.fleet.vm.id, {}),
}  # fmt: skip
"""Actions of the API: the id in the path, and the body."""
