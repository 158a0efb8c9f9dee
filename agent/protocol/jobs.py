"""The jobs a portal may ask of a host. There is no "run this command" job, on purpose."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from agent.protocol.types import Bytes, Id, Interface, Mac, Name, Sha256, Short

Firmware = Literal["bios", "uefi"]
UserData = Annotated[str, Meta(max_length=65_536)]


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


class NetworkSpec(msgspec.Struct, frozen=True, kw_only=True):
    """The network a NIC is on.

    kind "nat": the agent makes bridge and masquerade for `subnet` with `gateway` as its
    own address. kind "bridge": an existing bridge of the host named `bridge`.
    """

    network_id: Id
    kind: Literal["nat", "bridge"]
    bridge: Interface | None = None
    subnet: Short | None = None
    gateway: Short | None = None
    dns: Annotated[list[Short], Meta(max_length=8)] = []
    """Name servers for given addresses. Empty on NAT: the host's own."""
    mtu: Annotated[int, Meta(ge=576, le=9216)] = 1500


class NicSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A virtual NIC. `address` in CIDR form is given by the portal; None: the site's DHCP."""

    nic_id: Id
    mac: Mac
    network: NetworkSpec
    address: Short | None = None


class GuestSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What the guest is told at its first boot, through the metadata service.

    `sealed_secrets` is a `seal`ed msgpack map {"password": str | None, "user_data":
    str | None}, readable by this host alone.
    """

    instance_id: Short
    hostname: Name
    username: Annotated[str, Meta(pattern=r"\A[a-z_][a-z0-9_-]{0,31}\Z")]
    ssh_keys: Annotated[list[Annotated[str, Meta(max_length=8192)]], Meta(max_length=64)] = []
    sealed_secrets: Annotated[bytes, Meta(max_length=262_144)] | None = None


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


class DeleteVm(Job, frozen=True):
    """Remove the guest, running or not. Deleting what is gone succeeds.

    With `keep_disks` the disk files move to the host's kept/ folder, with a note of what
    they were.
    """

    keep_disks: bool = False


JobArguments = CreateVm | StartVm | ShutdownVm | StopVm | RebootVm | ResizeVm | RenameVm | DeleteVm
