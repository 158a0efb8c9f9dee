"""Guests, their disks and NICs."""

import uuid
from typing import Any, ClassVar, Self

from django.db import models
from django.db.models import Q
from django.db.models.functions import Lower

from hypervisors.models import Hypervisor, Network
from tenants.models import TenantOwnedModel, TenantQuerySet, User
from vms.models.image import ImageVersion


class Power(models.TextChoices):
    """What the agent says; `agent.protocol.messages.PowerState`."""

    RUNNING = "running", "Running"
    PAUSED = "paused", "Paused"
    SHUTTING_DOWN = "shutting_down", "Shutting down"
    OFF = "off", "Off"
    CRASHED = "crashed", "Crashed"
    UNKNOWN = "unknown", "Unknown"


class VirtualMachineQuerySet(TenantQuerySet["VirtualMachine"]):
    def for_pages(self) -> Self:
        """With all that a list or page shows, in a fixed number of queries."""
        return self.select_related(
            "tenant", "hypervisor", "hypervisor__site", "image_version__image"
        ).prefetch_related("nics__network", "disks")


class VirtualMachine(TenantOwnedModel):
    """A guest. `observed_power` is what the agent last saw, never what we asked for.

    Three things are kept apart: `state`, where the VM is in its life; the active Job,
    what is being done to it; `observed_power`, what the host sees.
    """

    SITE = "hypervisor__site_id"
    VM = "id"

    class State(models.TextChoices):
        CREATING = "creating", "Being created"
        READY = "ready", "Ready"
        MISSING = "missing", "Missing on its host"

    class CloudInit(models.TextChoices):
        UNKNOWN = "unknown", "Not heard of yet"
        RUNNING = "running", "Configuring itself"
        DONE = "done", "Configured"
        FAILED = "failed", "Configuration failed"

    hypervisor = models.ForeignKey(
        Hypervisor, on_delete=models.PROTECT, related_name="virtual_machines"
    )
    name = models.CharField(max_length=63)
    hostname = models.CharField(max_length=63)
    state = models.CharField(max_length=16, choices=State, default=State.CREATING)
    vcpus = models.PositiveIntegerField()
    memory_mib = models.PositiveIntegerField()
    firmware = models.CharField(
        max_length=8, choices=[("bios", "BIOS"), ("uefi", "UEFI")], default="bios"
    )
    autostart = models.BooleanField(default=True)
    image_version = models.ForeignKey(
        ImageVersion, on_delete=models.PROTECT, related_name="virtual_machines"
    )
    username = models.CharField(max_length=32)
    ssh_keys: "models.JSONField[list[str], list[str]]" = models.JSONField(default=list)
    sealed_secrets = models.BinaryField(null=True)
    """Password and user-data, readable by the host alone; see agent.protocol.GuestSpec."""
    has_password = models.BooleanField(default=False)
    has_user_data = models.BooleanField(default=False)
    user_data = models.TextField(blank=True)
    """What is not secret of it, with its variables as they were written."""
    tags: "models.JSONField[dict[str, str], dict[str, str]]" = models.JSONField(
        default=dict, blank=True
    )
    instance_id = models.CharField(max_length=64, blank=True)
    """Who the guest is told it is. Empty: the VM's own id; another one begins a first boot."""
    created_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")

    desired_power = models.CharField(
        max_length=8, choices=[("running", "Running"), ("off", "Off")], default="running"
    )
    observed_power = models.CharField(max_length=16, choices=Power, default=Power.UNKNOWN)
    observed_at = models.DateTimeField(null=True, blank=True)
    cloud_init = models.CharField(max_length=8, choices=CloudInit, default=CloudInit.UNKNOWN)
    cloud_init_at = models.DateTimeField(null=True, blank=True)
    boot: "models.JSONField[dict[str, Any], dict[str, Any]]" = models.JSONField(
        default=dict, blank=True
    )
    """`agent.protocol.Boot` as JSON: how the first boot went. Empty: nothing was heard."""
    boot_at = models.DateTimeField(null=True, blank=True)

    objects: ClassVar[VirtualMachineQuerySet] = VirtualMachineQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        ordering = ["name", "id"]
        constraints = [
            models.UniqueConstraint("tenant", Lower("name"), name="vm_name_once_per_tenant")
        ]

    def __str__(self) -> str:
        return self.name


class Disk(models.Model):
    """A virtual disk: the boot disk is an overlay on the image, others start empty."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    vm = models.ForeignKey(VirtualMachine, on_delete=models.CASCADE, related_name="disks")
    position = models.PositiveSmallIntegerField()
    """0 is the boot disk."""
    size_gib = models.PositiveIntegerField()
    observed_capacity = models.BigIntegerField(null=True, blank=True)
    observed_allocation = models.BigIntegerField(null=True, blank=True)

    class Meta:
        ordering = ["position"]
        constraints = [
            models.UniqueConstraint(fields=["vm", "position"], name="disk_position_once")
        ]

    def __str__(self) -> str:
        return f"{self.vm} disk {self.position}"


class LanDhcp(models.TextChoices):
    """Who gives a NIC its lease; `agent.protocol.messages.LanDhcp`."""

    UNKNOWN = "unknown", "Not known yet"
    SITE = "site", "The site's own DHCP"
    SILENT = "silent", "This LAN has no DHCP"
    GIVEN = "given", "Given by the portal"


class Nic(models.Model):
    """A virtual NIC. `address` and `address6` are given by the portal; without both, the site's
    own DHCP is asked."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    vm = models.ForeignKey(VirtualMachine, on_delete=models.CASCADE, related_name="nics")
    position = models.PositiveSmallIntegerField()
    network = models.ForeignKey(Network, on_delete=models.PROTECT, related_name="nics")
    mac = models.CharField(max_length=17, unique=True)
    address = models.GenericIPAddressField(null=True, blank=True)
    observed_addresses: "models.JSONField[list[str], list[str]]" = models.JSONField(default=list)
    address6 = models.GenericIPAddressField(null=True, blank=True)
    guard = models.BooleanField(default=True)
    """Whether the host drops what the guest may not say on its network."""
    metadata_state = models.CharField(max_length=16, default="not_asked")
    asked_at = models.DateTimeField(null=True, blank=True)
    served_at = models.DateTimeField(null=True, blank=True)
    sealed_at = models.DateTimeField(null=True, blank=True)
    lan_dhcp = models.CharField(max_length=8, choices=LanDhcp, default=LanDhcp.UNKNOWN)
    dropped: "models.JSONField[dict[str, int], dict[str, int]]" = models.JSONField(
        default=dict, blank=True
    )
    """`agent.protocol.DroppedFrames` as JSON. Empty: not known."""

    class Meta:
        ordering = ["position"]
        constraints = [
            models.UniqueConstraint(fields=["vm", "position"], name="nic_position_once"),
            models.UniqueConstraint(
                fields=["network", "address6"],
                condition=Q(address6__isnull=False),
                name="nic_address6_once_per_network",
            ),
            models.UniqueConstraint(
                fields=["network", "address"],
                condition=Q(address__isnull=False),
                name="nic_address_once_per_network",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.vm} NIC {self.position}"

    @property
    def given(self) -> list[str]:
        """Addresses that the portal gives, without a length."""
        return [address for address in (self.address, self.address6) if address]

    @property
    def seen_only(self) -> list[str]:
        """What the guest was seen to use beside what it was given, in CIDR form."""
        return [seen for seen in self.observed_addresses if seen.split("/")[0] not in self.given]
