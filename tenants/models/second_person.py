"""A second person for what destroys many things: the rules, and what was asked."""

from datetime import timedelta
from typing import Any, ClassVar, Self

from django.contrib.auth.models import AnonymousUser
from django.contrib.postgres.fields import ArrayField
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils import timezone

from tenants.models.holdings import holdings_of
from tenants.models.owned import TenantOwnedModel, TenantQuerySet
from tenants.models.tenant import Tenant
from tenants.models.user import User

MOST_THINGS = 100


class SecondPersonRule(TenantOwnedModel):
    """From `threshold` things of the tenant and of those below it on, a second person agrees."""

    tenant = models.OneToOneField(Tenant, on_delete=models.CASCADE, related_name="+")
    threshold = models.PositiveSmallIntegerField(
        default=2, validators=[MinValueValidator(1), MaxValueValidator(MOST_THINGS)]
    )

    objects: ClassVar[TenantQuerySet["SecondPersonRule"]] = TenantQuerySet.as_manager()  # type: ignore[assignment]

    def __str__(self) -> str:
        return f"Second person for {self.tenant}"


class SecondPersonQuerySet(TenantQuerySet["SecondPersonRequest"]):
    def allowed(self, user: User | AnonymousUser, permission: str) -> Self:
        """Requests about things on which `user` holds `permission`, each of them: a request names
        them all. And one's own."""
        tenants = Tenant.objects.allowed(user, permission).order_by().values("id")
        given, held = Q(tenant__in=tenants), holdings_of(user)
        denied = Q()
        for column, part in (("site_ids", "site_id"), ("vm_ids", "vm_id")):
            granted = {getattr(one, part) for one in held.parts(permission)} - {None}
            taken = {getattr(one, part) for one in held.denied_parts} - {None}
            if granted:
                given |= Q(**{f"{column}__contained_by": list(granted), f"{column}__len__gt": 0})
            if taken:
                denied |= Q(**{f"{column}__overlap": list(taken)})
        rows = self.filter(given)
        if denied:
            rows = rows.exclude(denied)
        return self.filter(Q(pk__in=rows.order_by().values("pk")) | Q(asker_id=user.pk))

    def waiting(self) -> Self:
        """Those that nobody has decided on, in time."""
        return self.filter(decision="", expires_at__gt=timezone.now())


def tomorrow() -> Any:
    return timezone.now() + SecondPersonRequest.WAITS


class SecondPersonRequest(TenantOwnedModel):
    """Somebody wants to destroy these things, and a second person is to agree.

    `things` is what was previewed, and nothing else is done: dicts of `id`, `name`, `where`,
    `loss`, and after the second person agreed `outcome` ("done" or "skipped") and `told`, why.
    """

    WAITS = timedelta(hours=24)
    """How long it can be decided on."""

    class Decision(models.TextChoices):
        AGREED = "agreed", "Agreed"
        REFUSED = "refused", "Refused"
        WITHDRAWN = "withdrawn", "Taken back"

    class State(models.TextChoices):
        WAITING = "waiting", "Waiting"
        RUNNING = "running", "Being done"
        DONE = "done", "Done"
        REFUSED = "refused", "Refused"
        WITHDRAWN = "withdrawn", "Taken back"
        OVER = "over", "Over"

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="+")
    kind = models.CharField(max_length=63)
    option = models.CharField(max_length=32, blank=True)
    things: "models.JSONField[Any, Any]" = models.JSONField(default=list)
    site_ids = ArrayField(models.UUIDField(), default=list)
    vm_ids = ArrayField(models.UUIDField(), default=list)
    """Of which sites and VMs the things are: whoever is kept from one sees no such request."""
    reason = models.CharField(max_length=500)
    asker = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    asker_name = models.CharField(max_length=254)
    """As the other reads it, who may not see people of the asker's tenant."""
    expires_at = models.DateTimeField(default=tomorrow)
    decision = models.CharField(max_length=16, choices=Decision, blank=True)
    decided_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    decided_by_name = models.CharField(max_length=254, blank=True)
    decided_at = models.DateTimeField(null=True, blank=True)
    word = models.CharField(max_length=500, blank=True)
    """What the second person said."""
    finished_at = models.DateTimeField(null=True, blank=True)

    objects: ClassVar[SecondPersonQuerySet] = SecondPersonQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        ordering = ["-created_at", "-id"]

    def __str__(self) -> str:
        return f"{self.asker_name}: {self.kind}"

    @property
    def state(self) -> State:
        """Where it stands now."""
        if self.decision == self.Decision.AGREED:
            return self.State.DONE if self.finished_at else self.State.RUNNING
        if self.decision:
            return self.State(self.decision)
        return self.State.WAITING if self.expires_at > timezone.now() else self.State.OVER

    @property
    def done(self) -> int:
        """How many things it was done to."""
        return sum(thing.get("outcome") == "done" for thing in self.things)

    @property
    def skipped(self) -> list[dict[str, str]]:
        """Those that were left alone, each with `told`."""
        return [thing for thing in self.things if thing.get("outcome") == "skipped"]
