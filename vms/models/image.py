"""Images: what a VM's first disk starts from."""

import uuid
from typing import ClassVar, Self

from django.contrib.auth.models import AnonymousUser
from django.db import models
from django.db.models import Q
from django.db.models.functions import Lower
from django.utils import timezone

from hypervisors.models import Hypervisor
from tenants.models import Tenant, TenantQuerySet, User


class ImageQuerySet(TenantQuerySet["Image"]):
    def allowed(self, user: User | AnonymousUser, permission: str) -> Self:
        """As everywhere; and whoever may see a tenant, or a site of it, may see its images,
        those of the MSP above it, and those that belong to everybody."""
        if permission != "image.view":
            own = Tenant.objects.allowed(user, permission).order_by()
            return self.filter(tenant__in=own.values("id"))
        own = Tenant.objects.touched(user, permission).order_by()
        if not own.exists():
            return self.none()
        return self.filter(
            Q(tenant=None)
            | Q(tenant__in=own.values("id"))
            | Q(tenant__in=own.values("parent_id"))
            | Q(tenant__in=own.values("parent__parent_id"))
        )

    def usable_by(self, tenant: Tenant) -> Self:
        """Images that VMs of this tenant may be made from."""
        return self.filter(
            Q(tenant=None) | Q(tenant__in=Tenant.objects.and_above(tenant)), retired_at=None
        )


class Identity(models.TextChoices):
    """Which metadata guests are made to look for: `agent.protocol.jobs.Identity`."""

    OPENSTACK = "openstack", "OpenStack"
    EC2 = "ec2", "EC2"
    NOCLOUD = "nocloud", "NoCloud"


class Image(models.Model):
    """A named image with its versions. `tenant` None: everybody's."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    tenant = models.ForeignKey(
        Tenant, null=True, blank=True, on_delete=models.CASCADE, related_name="+"
    )
    name = models.CharField(max_length=100)
    os = models.CharField(max_length=100, blank=True)
    """For people and icons: "Debian 12"."""
    default_username = models.CharField(max_length=32, default="admin")
    identity = models.CharField(max_length=16, choices=Identity, default=Identity.OPENSTACK)
    """What VMs made from it look for."""
    min_disk_gib = models.PositiveIntegerField(default=1)
    min_memory_mib = models.PositiveIntegerField(default=256)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    retired_at = models.DateTimeField(null=True, blank=True)

    objects: ClassVar[ImageQuerySet] = ImageQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        ordering = ["name", "id"]
        constraints = [
            # A retired image gives its name back.
            models.UniqueConstraint(
                "tenant",
                Lower("name"),
                name="image_name_once",
                condition=Q(retired_at=None),
                nulls_distinct=False,
            )
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def latest(self) -> "ImageVersion | None":
        """The version that new VMs are made from."""
        return self.versions.filter(state=ImageVersion.State.READY).order_by("-number").first()


class ImageVersionQuerySet(models.QuerySet["ImageVersion"]):
    def used_by(self, hypervisor: Hypervisor) -> Self:
        """Versions that VMs of this host are made from, or are being made from."""
        return self.filter(virtual_machines__hypervisor=hypervisor).distinct()

    def held_here(self) -> Self:
        """Versions whose file the portal keeps."""
        return self.filter(source=ImageVersion.Source.FILE).exclude(file="")


class ImageVersion(models.Model):
    """One immutable content, named by its SHA-256."""

    class Source(models.TextChoices):
        URL = "url", "Fetched from a URL"
        FILE = "file", "Held by the portal"

    class State(models.TextChoices):
        READY = "ready", "Ready"
        BROKEN = "broken", "Broken"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    image = models.ForeignKey(Image, on_delete=models.CASCADE, related_name="versions")
    number = models.PositiveIntegerField()
    source = models.CharField(max_length=8, choices=Source)
    url = models.URLField(max_length=2000, blank=True)
    file = models.CharField(max_length=255, blank=True)
    """Path below MEDIA_ROOT, for source FILE."""
    format = models.CharField(max_length=8, choices=[("qcow2", "qcow2"), ("raw", "raw")])
    sha256 = models.CharField(max_length=64)
    size = models.BigIntegerField(null=True, blank=True)
    """Bytes of the file; None while unknown (URL)."""
    virtual_size = models.BigIntegerField(null=True, blank=True)
    """Bytes of the disk in it; None while unknown."""
    state = models.CharField(max_length=8, choices=State, default=State.READY)
    problem = models.TextField(blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = ImageVersionQuerySet.as_manager()

    class Meta:
        ordering = ["image", "-number"]
        constraints = [
            models.UniqueConstraint(fields=["image", "number"], name="image_version_number_once"),
            models.UniqueConstraint(fields=["image", "sha256"], name="image_version_content_once"),
        ]

    def __str__(self) -> str:
        return f"{self.image} v{self.number}"
