"""Hosts, and the tokens they join with."""

from typing import Any, ClassVar, Self

from django.db import models
from django.db.models import Q
from django.db.models.functions import Lower
from django.utils import timezone

from tenants.models import Site, TenantOwnedModel, TenantQuerySet, User


class JoinTokenQuerySet(TenantQuerySet["JoinToken"]):
    def usable(self) -> Self:
        """Tokens that still let a host join."""
        return self.filter(
            revoked_at=None, expires_at__gt=timezone.now(), used_count__lt=models.F("max_uses")
        )


class JoinToken(TenantOwnedModel):
    """Lets a few hosts join one site for a short time. Only a hash is kept."""

    SITE = "site_id"

    site = models.ForeignKey(Site, on_delete=models.CASCADE, related_name="join_tokens")
    prefix = models.CharField(max_length=12)
    hash = models.CharField(max_length=64, unique=True)
    max_uses = models.PositiveIntegerField(default=1)
    used_count = models.PositiveIntegerField(default=0)
    expires_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True, blank=True)
    created_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")

    objects: ClassVar[JoinTokenQuerySet] = JoinTokenQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return f"{self.prefix}…"


class HypervisorQuerySet(TenantQuerySet["Hypervisor"]):
    def online(self) -> Self:
        return self.filter(online=True)


class Hypervisor(TenantOwnedModel):
    """A host. `facts`, `usage` and what it runs are what its agent last said."""

    SITE = "site_id"

    site = models.ForeignKey(Site, on_delete=models.PROTECT, related_name="hypervisors")
    name = models.CharField(max_length=63)
    machine_id = models.CharField(max_length=64)
    sign_public = models.BinaryField(max_length=32)
    seal_public = models.BinaryField(max_length=32)
    joined_with = models.ForeignKey(JoinToken, null=True, on_delete=models.SET_NULL)
    agent_version = models.CharField(max_length=255, blank=True)
    protocol = models.PositiveIntegerField(default=1)

    online = models.BooleanField(default=False)
    run_id = models.CharField(max_length=36, blank=True)
    link_channel = models.CharField(max_length=255, blank=True)
    """The channel of the consumer that holds the link; empty when there is none."""
    connected_at = models.DateTimeField(null=True, blank=True)
    last_seen_at = models.DateTimeField(null=True, blank=True)
    clone_seen_at = models.DateTimeField(null=True, blank=True)
    """When a second machine last showed up with this host's identity: a cloned disk."""

    facts: "models.JSONField[dict[str, Any], dict[str, Any]]" = models.JSONField(default=dict)
    """`agent.protocol.HostFacts` as JSON; empty before the first snapshot."""
    usage: "models.JSONField[dict[str, Any], dict[str, Any]]" = models.JSONField(default=dict)
    """`agent.protocol.Usage` as JSON."""
    observed_at = models.DateTimeField(null=True, blank=True)
    foreign_vms = models.PositiveIntegerField(default=0)

    objects: ClassVar[HypervisorQuerySet] = HypervisorQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        ordering = ["name", "id"]
        constraints = [
            models.UniqueConstraint("tenant", Lower("name"), name="hypervisor_name_once"),
            models.UniqueConstraint(fields=["sign_public"], name="hypervisor_key_once"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def simulated(self) -> bool:
        return bool(self.facts.get("accelerator") == "simulated")


class NetworkQuerySet(TenantQuerySet["Network"]):
    pass


class Network(TenantOwnedModel):
    """A network of one host, that VMs' NICs are on."""

    SITE = "hypervisor__site_id"

    class Kind(models.TextChoices):
        NAT = "nat", "Managed NAT"
        BRIDGE = "bridge", "Bridge to the site's LAN"

    class Addressing(models.TextChoices):
        PORTAL = "portal", "Given by the portal"
        SITE = "site", "The site's own DHCP"

    hypervisor = models.ForeignKey(Hypervisor, on_delete=models.CASCADE, related_name="networks")
    name = models.CharField(max_length=63)
    kind = models.CharField(max_length=8, choices=Kind)
    addressing = models.CharField(max_length=8, choices=Addressing)
    bridge = models.CharField(max_length=15, blank=True)
    """Kind bridge: the host's bridge. Kind NAT: empty, the agent makes its own."""
    subnet = models.CharField(max_length=43, blank=True)
    """CIDR, where the portal gives the addresses."""
    gateway = models.GenericIPAddressField(null=True, blank=True)
    dns: "models.JSONField[list[str], list[str]]" = models.JSONField(default=list, blank=True)
    mtu = models.PositiveIntegerField(default=1500)
    subnet6 = models.CharField(max_length=49, blank=True)
    """CIDR. Where it is empty, the portal gives no IPv6 addresses here."""
    gateway6 = models.GenericIPAddressField(null=True, blank=True)
    routes: "models.JSONField[list[dict[str, str]], list[dict[str, str]]]" = models.JSONField(
        default=list, blank=True
    )
    """Each with `destination` (CIDR) and `gateway`: `agent.protocol.RouteSpec`."""
    search: "models.JSONField[list[str], list[str]]" = models.JSONField(default=list, blank=True)
    """Domains that guests complete short names with."""
    vlan = models.PositiveSmallIntegerField(null=True, blank=True)
    """Kind bridge: the VLAN of it that VMs are on. None: as the bridge is."""

    objects: ClassVar[NetworkQuerySet] = NetworkQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        ordering = ["name", "id"]
        constraints = [
            models.UniqueConstraint("hypervisor", Lower("name"), name="network_name_once"),
            models.CheckConstraint(
                name="network_nat_has_subnet",
                condition=~Q(kind="nat") | (~Q(subnet="") & Q(gateway__isnull=False)),
            ),
        ]

    def __str__(self) -> str:
        return self.name
