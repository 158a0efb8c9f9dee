"""The jobs a portal may ask of a host. There is no "run this command" job, on purpose."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from agent.protocol.types import Bytes, Id, Interface, Mac, Name, Sha256, Short

Firmware = Literal["bios", "uefi"]
UserData = Annotated[str, Meta(max_length=65_536)]
Identity = Literal["openstack", "ec2", "nocloud"]
"""Which form of the metadata tree the guest is made to look for, by what its firmware shows."""
Vlan = Annotated[int, Meta(ge=1, le=4094)]
Labels = Annotated[
    dict[Annotated[str, Meta(max_length=63)], Annotated[str, Meta(max_length=1024)]],
    Meta(max_length=128),
]


class Job(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """Base of all job arguments: tagged with the class's name."""

    vm_id: Id


class ImageSource(msgspec.Struct, frozen=True, kw_only=True):
    """Where a host gets an immutable image version, and how it knows it is the right one.

    `url` is None for images that the portal holds: those are read, signed, from
    /agent/v1/images/<version_id>/ with byte ranges.
    """

    version_id: Id
    sha256: Sha256
    format: Literal["qcow2", "raw"]
    size: Bytes | None
    url: Annotated[str, Meta(max_length=2000)] | None = None


class DiskSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A disk to make. The boot disk is an overlay on the image; others start empty."""

    disk_id: Id
    size: Bytes
    boot: bool = False


class RouteSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A route for guests with a given address: `destination` in CIDR form, `gateway` alone."""

    destination: Short
    gateway: Short


class NetworkSpec(msgspec.Struct, frozen=True, kw_only=True):
    """The network a NIC is on.

    kind "nat": the agent makes bridge and masquerade for `subnet` with `gateway` as its
    own address. kind "bridge": an existing bridge of the host named `bridge`, or, with `vlan`,
    that VLAN of it.
    """

    network_id: Id
    kind: Literal["nat", "bridge"]
    bridge: Interface | None = None
    subnet: Short | None = None
    gateway: Short | None = None
    dns: Annotated[list[Short], Meta(max_length=8)] = []
    """Name servers for given addresses. Empty on NAT: the host's own."""
    mtu: Annotated[int, Meta(ge=576, le=9216)] = 1500
    subnet6: Short | None = None
    gateway6: Short | None = None
    routes: Annotated[list[RouteSpec], Meta(max_length=32)] = []
    search: Annotated[list[Short], Meta(max_length=6)] = []
    """Domains that guests complete short names with."""
    vlan: Vlan | None = None


class NicSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A virtual NIC. `address` and `address6` in CIDR form are given by the portal; neither:
    the site's DHCP."""

    nic_id: Id
    mac: Mac
    network: NetworkSpec
    address: Short | None = None
    address6: Short | None = None
    guard: bool = True
    """Drop what the guest may not say on its network: others' addresses, router
    advertisements, DHCP answers."""


class GuestSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What the guest is told at its first boot, through the metadata service.

    `sealed_secrets` is a `seal`ed msgpack map {"password": str | None, "user_data":
    str | None}, readable by this host alone, with the purpose "vm:<vm_id>". Its `user_data`
    comes after the clear one, where both are given.
    """

    instance_id: Short
    hostname: Name
    username: Annotated[str, Meta(pattern=r"\A[a-z_][a-z0-9_-]{0,31}\Z")]
    ssh_keys: Annotated[list[Annotated[str, Meta(max_length=8192)]], Meta(max_length=64)] = []
    sealed_secrets: Annotated[bytes, Meta(max_length=262_144)] | None = None
    identity: Identity = "openstack"
    user_data: UserData | None = None
    """What is not secret: it stays readable in the guest after the first boot."""
    vendor_data: UserData | None = None
    """The MSP's part, which the customer's goes before."""
    tags: Labels = {}
    """Shown to the guest as OpenStack's `meta` and as EC2's tags."""
    variables: Labels = {}
    """What `{{ name }}` in either user-data stands for, by dotted names."""
    first_boot_s: Annotated[int, Meta(ge=60, le=604_800)] = 7200
    """How long after its first start secrets are served to a guest that never reports."""


class CreateVm(Job, frozen=True):
    """Make and start a guest. Repeating it finishes what an earlier try began."""

    name: Name
    vcpus: Annotated[int, Meta(ge=1, le=512)]
    memory_mib: Annotated[int, Meta(ge=64, le=16_777_216)]
    firmware: Firmware
    image: ImageSource
    disks: Annotated[list[DiskSpec], Meta(min_length=1, max_length=24)]
    nics: Annotated[list[NicSpec], Meta(max_length=8)]
    guest: GuestSpec
    autostart: bool = True


class StartVm(Job, frozen=True):
    pass


class ShutdownVm(Job, frozen=True):
    """Ask the guest to power off (ACPI); fails with `guest_did_not_stop` after the time."""

    timeout_s: Annotated[int, Meta(ge=1, le=3600)] = 120


class StopVm(Job, frozen=True):
    """Force off, at once: like pulling the plug."""


class RebootVm(Job, frozen=True):
    """Restart the guest: politely, or with `force` like the reset button."""

    force: bool = False


class ResizeVm(Job, frozen=True):
    """Change a stopped guest. None keeps a value; disks only grow."""

    vcpus: Annotated[int, Meta(ge=1, le=512)] | None = None
    memory_mib: Annotated[int, Meta(ge=64, le=16_777_216)] | None = None
    disks: Annotated[list[DiskSpec], Meta(max_length=24)] = []
    """Disks to grow (known disk_id) or to add (new disk_id)."""
    autostart: bool | None = None


class RenameVm(Job, frozen=True):
    name: Name
    hostname: Name


class TellVm(Job, frozen=True):
    """Tell the guest something else from now on, on all its NICs, running or not.

    What is sealed stays sealed unless `guest` names a new `instance_id`: that is the wish of a
    person to have the first boot again, at the guest's next start. Since version 3.
    """

    guest: GuestSpec


class AttachNic(Job, frozen=True):
    """Add a NIC: at once to a running guest. Repeating it is harmless. Since version 3."""

    nic: NicSpec


class DetachNic(Job, frozen=True):
    """Take a NIC away: at once from a running guest. Since version 3."""

    nic_id: Id


class ChangeNic(Job, frozen=True):
    """Other addresses or another `guard` for a NIC that is there. Since version 3."""

    nic: NicSpec


class DeleteVm(Job, frozen=True):
    """Remove the guest, running or not. Deleting what is gone succeeds.

    With `keep_disks` the disk files move to the host's kept/ folder, with a note of what
    they were.
    """

    keep_disks: bool = False


JobArguments = (
    CreateVm
    | StartVm
    | ShutdownVm
    | StopVm
    | RebootVm
    | ResizeVm
    | RenameVm
    | TellVm
    | AttachNic
    | DetachNic
    | ChangeNic
    | DeleteVm
)
