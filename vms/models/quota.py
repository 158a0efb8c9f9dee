"""Quotas: how much a tenant with all below it, or one site, may have."""

import uuid
from typing import ClassVar, Self

from django.contrib.auth.models import AnonymousUser
from django.db import models

from tenants.models import Site, Tenant, TenantOwnedModel, TenantQuerySet, User
from tenants.models.holdings import Held, holdings_of
from vms.models.vm import VirtualMachine

LIMITS = ("vms", "vcpus", "memory_mib", "disk_gib", "snapshots")
"""What a quota limits: names of its fields, each a number or None for no limit."""
MOST = 2_147_483_647
"""The highest limit: PostgreSQL's integer."""


def tenants_settable(user: User | AnonymousUser) -> "models.QuerySet[Tenant]":
    """Tenants whose quotas, and whose sites' quotas, `user` sets: who manages quotas on the tenant
    above, as nobody raises their own limit; an MSP has none above, and sets its own. Not those
    below which something is kept from the person: a quota tells how much there is."""
    managed = Tenant.objects.allowed(user, "quota.manage")
    above = managed.order_by().values("id")
    settable = managed.filter(models.Q(parent=None) | models.Q(parent__in=above))
    return settable.exclude(id__in=_above_denied(_denied(user)))


class QuotaQuerySet(TenantQuerySet["Quota"]):
    def allowed(self, user: User | AnonymousUser, permission: str) -> Self:
        """As everywhere; but a quota that counts what is kept from the person (a customer, site
        or VM that they are denied) is kept from them too: its use would tell."""
        rows = super().allowed(user, permission)
        denied = _denied(user)
        if not denied:
            return rows
        vms = [held.vm_id for held in denied if held.vm_id is not None]
        sites = VirtualMachine.objects.filter(pk__in=vms).values("hypervisor__site_id")
        return rows.exclude(site=None, tenant__in=_above_denied(denied)).exclude(site__in=sites)

    def over(self, tenant: Tenant, site_id: uuid.UUID | None = None) -> Self:
        """All that bound what this tenant, or this site of it, has."""
        bounds = models.Q(tenant__in=tenant.line(), site=None)
        if site_id is not None:
            bounds |= models.Q(site_id=site_id)
        return self.filter(bounds)

    def for_pages(self) -> Self:
        return self.select_related("tenant__parent", "site")


def _denied(user: User | AnonymousUser) -> list[Held]:
    return [held for held in holdings_of(user).all if held.permissions is None]


def _above_denied(denied: list[Held]) -> set[uuid.UUID]:
    return {tenant for held in denied for tenant in held.line}


class Quota(TenantOwnedModel):
    """Limits on what `tenant` and all below it may have together, or, with `site`, on that site.

    A VM must fit all that bound it: its site's, its customer's, its group's and its MSP's. A limit
    below what is there already takes nothing away.
    """

    SITE = "site_id"

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="+")
    site = models.ForeignKey(
        Site, null=True, blank=True, on_delete=models.CASCADE, related_name="+"
    )
    vms = models.PositiveIntegerField(null=True, blank=True)
    vcpus = models.PositiveIntegerField(null=True, blank=True)
    memory_mib = models.PositiveIntegerField(null=True, blank=True)
    disk_gib = models.PositiveIntegerField(null=True, blank=True)
    snapshots = models.PositiveIntegerField(null=True, blank=True)

    objects: ClassVar[QuotaQuerySet] = QuotaQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        ordering = ["created_at", "id"]
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "site"], name="quota_once", nulls_distinct=False
            )
        ]

    def __str__(self) -> str:
        return f"Quota of {self.of}"

    @property
    def of(self) -> Tenant | Site:
        """What it bounds."""
        return self.site or self.tenant

    @property
    def name(self) -> str:
        return self.of.name

    @property
    def limits(self) -> dict[str, int | None]:
        return {name: getattr(self, name) for name in LIMITS}
