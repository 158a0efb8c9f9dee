"""The places where a customer's hosts stand."""

from typing import ClassVar

from django.db import models
from django.db.models.functions import Lower

from tenants.models.owned import TenantOwnedModel, TenantQuerySet


class SiteQuerySet(TenantQuerySet["Site"]):
    pass


class Site(TenantOwnedModel):
    SITE = "id"

    name = models.CharField(max_length=100)
    slug = models.SlugField(max_length=63)
    address = models.CharField(max_length=200, blank=True)
    time_zone = models.CharField(max_length=64, default="UTC")
    custom_fields: "models.JSONField[dict[str, str], dict[str, str]]" = models.JSONField(
        default=dict, blank=True
    )
    """What is noted of it, by names: scripts of its VMs may use them."""

    objects: ClassVar[SiteQuerySet] = SiteQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        ordering = ["name", "id"]
        constraints = [
            models.UniqueConstraint("tenant", Lower("name"), name="site_name_once_per_tenant"),
            models.UniqueConstraint(fields=["tenant", "slug"], name="site_slug_once_per_tenant"),
        ]

    def __str__(self) -> str:
        return self.name
