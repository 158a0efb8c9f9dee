"""Who holds which role on which tenant."""

import uuid
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from django.contrib.auth.models import AnonymousUser
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.utils import timezone

from tenants.models.tenant import Tenant
from tenants.models.user import User
from tenants.permissions import check_known


class RoleQuerySet(models.QuerySet["Role"]):
    def allowed(self, user: User | AnonymousUser, permission: str) -> Self:
        """Roles of tenants where `user` holds `permission`; to see, those above and the built-in
        ones too, as they are given there."""
        own = Tenant.objects.allowed(user, permission).order_by()
        if not check_known(permission).endswith(".view"):
            return self.filter(tenant__in=own.values("id"))
        if not own.exists():
            return self.none()
        return self.filter(
            Q(tenant=None)
            | Q(tenant__in=own.values("id"))
            | Q(tenant__in=own.values("parent_id"))
            | Q(tenant__in=own.values("parent__parent_id"))
        )

    def usable_on(self, tenant: Tenant) -> Self:
        """Roles that can be given on this tenant: the built-in ones, its own, and those above."""
        return self.filter(Q(tenant=None) | Q(tenant__in=Tenant.objects.and_above(tenant)))


class Role(models.Model):
    """A named set of permissions. Built-in roles belong to no tenant and stay as they are."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    tenant = models.ForeignKey(Tenant, null=True, blank=True, on_delete=models.CASCADE)
    slug = models.SlugField(max_length=63)
    name = models.CharField(max_length=100)
    permissions = ArrayField(models.CharField(max_length=63))
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects: ClassVar[RoleQuerySet] = RoleQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        ordering = ["name", "id"]
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "slug"], name="role_slug_once", nulls_distinct=False
            )
        ]

    def __str__(self) -> str:
        return self.name


def current() -> Q:
    """What has not ended, of rows with `expires_at`."""
    return Q(expires_at=None) | Q(expires_at__gt=timezone.now())


class MembershipQuerySet(models.QuerySet["Membership"]):
    def allowed(self, user: User | AnonymousUser, permission: str) -> Self:
        """Memberships of tenants on which `user` holds `permission`, ended ones too."""
        tenants = Tenant.objects.allowed(user, permission).order_by().values("id")
        return self.filter(tenant__in=tenants)

    def current(self) -> Self:
        """Memberships that have not ended."""
        return self.filter(current())

    def permissions_of(self, user: User, tenant: Tenant | None = None) -> frozenset[str]:
        """What `user` may do on `tenant`, or anywhere at all. Pages use it to leave out buttons
        that would be refused; the refusal itself is `.allowed`, which says the same."""
        from tenants.models.access_rule import AccessRule

        if tenant is not None:
            return self.permissions_on(user, tenant)
        if not user.is_active:
            return frozenset()
        held = self.current().filter(user=user).values_list("role__permissions", flat=True)
        given = AccessRule.objects.grants(user).values_list("role__permissions", flat=True)
        return frozenset().union(*held, *given)

    def permissions_on(self, user: User, row: Any) -> frozenset[str]:
        """What `user` may do on this tenant, or on this row of one. Two queries."""
        return self.permissions_along(user, row).here

    def permissions_along(self, user: User, row: Any) -> "Along":
        """The same for the row, its site and its tenant: pages link to those that may be seen."""
        if isinstance(row, Tenant):
            return self._along(user, row.line(), None, None)
        return self._along(user, row.tenant.line(), row.site_of_reach, row.vm_of_reach)

    def _along(
        self,
        user: User,
        # By their ids: a denied tenant's row is behind the second wall, its denial is not.
        line: list[uuid.UUID],
        site_id: uuid.UUID | None,
        vm_id: uuid.UUID | None,
    ) -> "Along":
        from tenants.models.access_rule import AccessRule

        if not user.is_active:
            return Along()
        about = Q(tenant__in=line, site=None, vm=None)
        if site_id is not None:
            about |= Q(site=site_id)
        if vm_id is not None:
            about |= Q(vm=vm_id)
        rules = AccessRule.objects.of(user).filter(about).order_by()
        found: list[tuple[str, uuid.UUID | None, uuid.UUID | None, list[str] | None]] = list(
            rules.values_list("effect", "site_id", "vm_id", "role__permissions")
        )
        members = self.current().filter(user=user, tenant__in=line)
        held: frozenset[str] = frozenset().union(
            *members.values_list("role__permissions", flat=True)
        )
        steps: list[frozenset[str]] = []
        taken = False
        for of_step in (
            [rule for rule in found if rule[1] is None and rule[2] is None],
            [rule for rule in found if rule[1] is not None],
            [rule for rule in found if rule[2] is not None],
        ):
            taken = taken or any(effect == AccessRule.Effect.DENY for effect, *_ in of_step)
            held = held.union(*(given or () for *_, given in of_step))
            steps.append(frozenset() if taken else held)
        return Along(*steps)


@dataclass(frozen=True)
class Along:
    """What a person may do on a tenant, on a site of it, and on a thing there."""

    tenant: frozenset[str] = frozenset()
    site: frozenset[str] = frozenset()
    here: frozenset[str] = frozenset()


class Membership(models.Model):
    """A role on a tenant, and so on all tenants below it."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="memberships")
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    role = models.ForeignKey(Role, on_delete=models.PROTECT, related_name="memberships")
    expires_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = MembershipQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["tenant", "user", "role"], name="membership_once")
        ]

    def __str__(self) -> str:
        return f"{self.user}: {self.role} of {self.tenant}"

    @property
    def ended(self) -> bool:
        """Whether it gives nothing any more."""
        return self.expires_at is not None and self.expires_at <= timezone.now()
