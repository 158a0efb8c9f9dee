"""What a person may see besides, or in spite of, their memberships."""

import uuid
from typing import Any, ClassVar, Self

from django.contrib.auth.models import AnonymousUser
from django.db import models
from django.db.models import Q
from django.utils import timezone

from tenants.models.membership import Role, current
from tenants.models.site import Site
from tenants.models.tenant import Tenant, at_or_below
from tenants.models.user import User


class AccessRuleQuerySet(models.QuerySet["AccessRule"]):
    def current(self) -> Self:
        """Rules that have not ended."""
        return self.filter(current())

    def allowed(self, user: User | AnonymousUser, permission: str) -> Self:
        """Rules about tenants on which `user` holds `permission`, but for those about a site or
        VM that is kept from them."""
        tenants = Tenant.objects.allowed(user, permission).order_by().values("id")
        if not isinstance(user, User):
            return self.none()
        parts = self.model.objects.parts_denied(user).order_by()
        sites = parts.exclude(site=None).values("site_id")
        vms = parts.exclude(vm=None).values("vm_id")
        return self.filter(tenant__in=tenants).exclude(
            Q(site__in=sites) | Q(vm__in=vms) | Q(vm__hypervisor__site__in=sites)
        )

    def of(self, user: User) -> Self:
        """What holds for this person now."""
        return self.current().filter(user=user)

    def tenants_denied(self, user: User) -> Self:
        """Denials of whole tenants, and so of all below them."""
        return self.of(user).filter(effect=AccessRule.Effect.DENY, site=None, vm=None)

    def parts_denied(self, user: User) -> Self:
        """Denials of sites and VMs."""
        return self.of(user).filter(effect=AccessRule.Effect.DENY).exclude(site=None, vm=None)

    def grants(self, user: User, permission: str | None = None) -> Self:
        """Sites and VMs given to the person, where nothing above is denied them."""
        denied = self.model.objects.tenants_denied(user).values("tenant_id")
        given = self.of(user).filter(effect=AccessRule.Effect.ALLOW)
        if permission is not None:
            given = given.filter(role__permissions__contains=[permission])
        return given.exclude(at_or_below(denied, "tenant__"))


class AccessRule(models.Model):
    """An exception: a denial of a tenant, a site or a VM; or a role on one site or VM alone.

    It is about the person, not about one of their memberships: a denial wins against whatever
    gives the same, and stays when the membership it was made beside ends.
    """

    class Effect(models.TextChoices):
        ALLOW = "allow", "May use"
        DENY = "deny", "May not see"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="access_rules")
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="access_rules")
    """What is denied; or whose the site or VM is."""
    site = models.ForeignKey(
        Site, null=True, blank=True, on_delete=models.CASCADE, related_name="access_rules"
    )
    # By name: this layer knows nothing of VMs but that a person may be given one.
    vm: "models.ForeignKey[Any, Any]" = models.ForeignKey(
        "vms.VirtualMachine",
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="access_rules",
    )
    effect = models.CharField(max_length=8, choices=Effect)
    role = models.ForeignKey(
        Role, null=True, blank=True, on_delete=models.PROTECT, related_name="access_rules"
    )
    """What is allowed. A denial has none: it takes everything."""
    expires_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects: ClassVar[AccessRuleQuerySet] = AccessRuleQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        ordering = ["created_at", "id"]
        constraints = [
            models.CheckConstraint(
                name="access_rule_gives_a_role_on_one_thing",
                condition=Q(effect="deny", role=None, site=None)
                | Q(effect="deny", role=None, vm=None)
                | Q(effect="allow", role__isnull=False, site=None, vm__isnull=False)
                | Q(effect="allow", role__isnull=False, site__isnull=False, vm=None),
            ),
            models.UniqueConstraint(
                fields=["user", "tenant", "site", "vm", "effect", "role"],
                name="access_rule_once",
                nulls_distinct=False,
            ),
        ]

    def __str__(self) -> str:
        return f"{self.user}: {self.get_effect_display()} {self.thing}"

    @property
    def thing(self) -> Any:
        """The tenant, site or VM that it is about."""
        return self.vm or self.site or self.tenant
