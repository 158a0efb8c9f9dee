"""The base of every model that belongs to a tenant."""

import uuid
from typing import Any, ClassVar, Self, TypeVar

from django.contrib.auth.models import AnonymousUser
from django.db import models
from django.db.models import Q
from django.utils import timezone

from tenants.models.tenant import Tenant
from tenants.models.user import User

M = TypeVar("M", bound=models.Model)


class TenantQuerySet(models.QuerySet[M]):
    """Reads of tenant-owned rows. Every way in from outside starts with `allowed`."""

    def allowed(self, user: User | AnonymousUser, permission: str) -> Self:
        """Rows on which `user` holds `permission`: of a tenant by membership, or of a site or VM
        by a grant, and not denied. No membership and no grant means no rows.

        Raises UnknownPermissionError for a permission that does not exist.
        """
        from tenants.models.access_rule import AccessRule

        tenants = Tenant.objects.allowed(user, permission).order_by().values("id")
        if not user.is_authenticated or not user.is_active:
            return self.none()
        given, denied = Q(tenant__in=tenants), Q()
        grants = AccessRule.objects.grants(user, permission).order_by()
        parts = AccessRule.objects.parts_denied(user).order_by()
        for path, part in ((self._path("SITE"), "site_id"), (self._path("VM"), "vm_id")):
            if path:
                some = {f"{part}__isnull": False}
                given |= Q(**{f"{path}__in": grants.filter(**some).values(part)})
                denied |= Q(**{f"{path}__in": parts.filter(**some).values(part)})
        rows = self.filter(given)
        return rows.exclude(denied) if denied else rows

    def _path(self, part: str) -> str:
        # Samples of usage are no TenantOwnedModel, but have paths all the same.
        return getattr(self.model, part, "")


class TenantOwnedModel(models.Model):
    """A row that belongs to one tenant, which never changes.

    Rows that are of a site or of a VM say so by `SITE` and `VM`: the lookup that leads to its id.
    Who has a grant on one site sees its rows, who is denied a VM sees none of that one's.
    """

    SITE: ClassVar[str] = ""
    VM: ClassVar[str] = ""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(default=timezone.now, editable=False, db_index=True)

    class Meta:
        abstract = True

    @property
    def site_of_reach(self) -> uuid.UUID | None:
        """The site that the row is of, where rows of this kind are of one."""
        return _follow(self, self.SITE)

    @property
    def vm_of_reach(self) -> uuid.UUID | None:
        """The VM that the row is of, where rows of this kind are of one."""
        return _follow(self, self.VM)


def _follow(row: Any, path: str) -> uuid.UUID | None:
    if not path:
        return None
    for name in path.split("__"):
        row = getattr(row, name)
    found: uuid.UUID | None = row
    return found
