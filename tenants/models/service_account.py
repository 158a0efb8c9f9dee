"""Accounts of programs, which belong to a tenant rather than to a person."""

from typing import ClassVar

from django.db import models
from django.db.models.functions import Lower

from tenants.models.owned import TenantOwnedModel, TenantQuerySet
from tenants.models.user import User

DOMAIN = "service.invalid"
"""Of their addresses, to which no mail ever goes (RFC 2606)."""


class ServiceAccountQuerySet(TenantQuerySet["ServiceAccount"]):
    pass


class ServiceAccount(TenantOwnedModel):
    """What a script or another system works as. Its `user` holds memberships as a person does, of
    this tenant and those below alone, and signs in nowhere: only its tokens open anything. It
    stays when whoever made it leaves."""

    user = models.OneToOneField(User, on_delete=models.CASCADE, related_name="service_account")
    name = models.CharField(max_length=100)
    description = models.CharField(max_length=300, blank=True)
    made_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    made_by_name = models.CharField(max_length=254, blank=True)

    objects: ClassVar[ServiceAccountQuerySet] = ServiceAccountQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        ordering = ["name", "id"]
        verbose_name = "service account"
        constraints = [
            models.UniqueConstraint(
                "tenant", Lower("name"), name="service_account_name_once_per_tenant"
            )
        ]

    def __str__(self) -> str:
        return self.name
