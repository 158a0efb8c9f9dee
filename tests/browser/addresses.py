"""The pages that are walked, and something to see on each."""

from hypervisors.models import Status
from tenants.actor import SYSTEM
from tenants.services.audit import audit_record
from tests.factories import ImageFactory, ImageVersionFactory, JobFactory
from vms.models import Quota

ADDRESSES = [
    "dashboard",
    "vms",
    "vm",
    "vm-new",
    "hosts",
    "host",
    "sites",
    "site",
    "customers",
    "customer",
    "images",
    "image-new",
    "image-upload",
    "image-identity",
    "activity",
    "audit",
    "audit-event",
    "job",
    "account",
    "security",
    "sign-in-policy",
    "sign-in-policy-of-one",
    "identity-provider-new",
    "console",
    "customer-new",
    "site-new",
    "roles",
    "role-new",
    "reach",
    "people",
    "person",
    "person-leave",
    "invitations",
    "invitation-new",
    "approvals",
    "quotas",
    "quota-new",
    "quota-change",
    "second-person",
    "second-person-ask",
    "network",
    "nic",
]


def address_of(name, fleet):
    plain = {
        "dashboard": "/",
        "vm": fleet.vm_page,
        "vm-new": "/vms/new/",
        "host": fleet.host_page,
        "site": fleet.site_page,
        "customer": f"/c/{fleet.customer.slug}/",
        "image-new": "/images/new/",
        "image-upload": "/images/upload/",
        "account": "/me/",
        "security": "/me/security/",
        "sign-in-policy-of-one": f"/c/{fleet.customer.slug}/sign-in/",
        "identity-provider-new": f"/c/{fleet.customer.slug}/sign-in/providers/new/oidc/",
        "console": f"{fleet.vm_page}console/",
        "customer-new": "/customers/new/",
        "site-new": "/sites/new/",
        "role-new": "/roles/new/",
        "reach": f"/people/{fleet.owner.id}/reach/",
        "person": f"/people/{fleet.owner.pk}/",
        "person-leave": f"/people/{fleet.owner.pk}/leave/",
        "invitation-new": "/invitations/new/",
        "quota-new": "/quotas/new/",
        "second-person": "/approvals/second-person/",
        "second-person-ask": (
            f"/approvals/second-person/ask/?kind=vm.delete&row={fleet.vm.id}&option="
        ),
        "network": f"{fleet.host_page}networks/{fleet.network.id}/",
        "nic": f"{fleet.vm_page}nics/{fleet.vm.nics.get().id}/",
    }
    if name == "image-identity":
        # Everybody's images are the operator's to change.
        own = ImageVersionFactory(image=ImageFactory(tenant=fleet.msp)).image
        return f"/images/{own.id}/identity/"
    if name in ("audit", "audit-event"):
        event = audit_record(
            actor=SYSTEM, tenant=fleet.customer, action="vm.rename", object_kind="vm",
            object_id=fleet.vm.id, object_name=fleet.vm.name, before={"name": "old"},
            after={"name": fleet.vm.name},
        )  # fmt: skip
        return f"/audit/{event.id}/" if name == "audit-event" else "/audit/"
    if name == "quota-change":
        return f"/quotas/{quota_of(fleet).id}/"
    if name == "quotas":
        quota_of(fleet)
    if name == "job":
        job = JobFactory(
            hypervisor=fleet.host,
            kind="vm.create",
            subject_name="lost-one",
            status=Status.FAILED,
            error_code="image_unreachable",
            error_message="The host could not fetch the image.",
        )
        return f"/activity/{job.id}/"
    return plain.get(name, f"/{name}/")


def quota_of(fleet):
    """One that is nearly full, full and exceeded."""
    limits = {"vms": 1, "vcpus": 10, "memory_mib": 1200, "disk_gib": 5, "snapshots": 3}
    quota, _ = Quota.objects.get_or_create(tenant=fleet.customer, site=None, defaults=limits)
    return quota
