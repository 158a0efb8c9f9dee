"""Making a VM: everything is checked here, before the host hears of it."""

import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import msgspec
from django.db import IntegrityError, transaction

from agent.protocol import SealError, seal
from hypervisors.models import Hypervisor, Job, Network
from hypervisors.services.addresses import addresses_allocate
from hypervisors.services.jobs import host_must_be_online, host_must_speak, job_create
from tenants.actor import Actor
from tenants.errors import InvalidInputError, NameTakenError
from tenants.models import Tenant
from tenants.services.audit import audit_record
from tenants.services.live import live_publish
from tenants.ssh_keys import ssh_keys_check
from vms.models import Disk, Image, ImageVersion, Nic, VirtualMachine
from vms.services.capacity import GIB, host_capacity, must_fit
from vms.services.credentials import password_check, username_check
from vms.services.nics import MAX_NICS, PROTOCOL, mac_new, nic_facts
from vms.services.user_data import user_data_check

MAX_VCPUS = 512
MIN_MEMORY_MIB = 64
MAX_MEMORY_MIB = 16_777_216
MAX_DISKS = 24
MAX_DISK_GIB = 65_536
# RFC 1123: the name is the guest's host name too.
_NAME = re.compile(r"\A[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\Z")


@dataclass(frozen=True, kw_only=True)
class NicRequest:
    """A NIC on `network`. An address that is None: the next free one, or the site's DHCP."""

    network: Network
    address: str | None = None
    address6: str | None = None


@dataclass(frozen=True, kw_only=True)
class VmRequest:
    """What a person asks for. `disks_gib`: the first is the boot disk. `nics` None: one NIC
    on the host's first network. At least one of `password` and `ssh_keys` is needed."""

    name: str
    image: Image
    vcpus: int
    memory_mib: int
    disks_gib: Sequence[int]
    username: str
    nics: Sequence[NicRequest] | None = None
    password: str | None = field(default=None, repr=False)
    ssh_keys: Sequence[str] = ()
    user_data: str | None = field(default=None, repr=False)
    firmware: Literal["bios", "uefi"] = "bios"
    autostart: bool = True


@transaction.atomic
def vm_create(
    *, actor: Actor, hypervisor: Hypervisor, request: VmRequest
) -> tuple[VirtualMachine, Job]:
    """Rows of a VM being created, and the job that makes it. Returns at once.

    Raises InvalidInputError, NameTakenError, NotEnoughMemoryError, NotEnoughDiskError,
    HostOfflineError, AddressTakenError, AddressOutsideError, PoolEmptyError.
    """
    # Two creations on one host take turns, so that no memory is given away twice.
    hypervisor = Hypervisor.objects.select_for_update(no_key=True).get(pk=hypervisor.pk)
    host_must_be_online(hypervisor)
    request = _checked(request, hypervisor)
    version = _image_version(request, hypervisor.tenant)
    vcpus_check(request.vcpus, hypervisor)
    must_fit(
        hypervisor,
        host_capacity(hypervisor),
        memory_mib=request.memory_mib,
        disk_gib=sum(request.disks_gib),
    )
    vm = _insert(actor, hypervisor, request, version)
    for position, size_gib in enumerate(request.disks_gib):
        Disk.objects.create(vm=vm, position=position, size_gib=size_gib)
    for position, nic in enumerate(_nics(request, hypervisor)):
        address, address6 = addresses_allocate(
            network=nic.network, address=nic.address, address6=nic.address6
        )
        Nic.objects.create(
            vm=vm,
            position=position,
            network=nic.network,
            mac=mac_new(),
            address=address,
            address6=address6,
        )
    visible = _visible(vm, request)
    job = job_create(
        actor=actor,
        hypervisor=hypervisor,
        kind="vm.create",
        subject_id=vm.id,
        subject_name=vm.name,
        arguments=visible,
    )
    audit_record(
        actor=actor,
        tenant=vm.tenant,
        action="vm.create",
        object_kind="vm",
        object_id=vm.id,
        object_name=vm.name,
        site_id=vm.hypervisor.site_id,
        after=visible,
    )
    live_publish(tenant_id=vm.tenant_id, kind="vm", object_id=vm.id)
    return vm, job


def name_check(name: str) -> str:
    """The name, stripped. Raises InvalidInputError."""
    name = name.strip()
    if not _NAME.match(name):
        raise InvalidInputError(
            "A VM's name is its host name too: 1 to 63 letters, digits and hyphens, with a "
            "letter or digit at both ends.",
            field="name",
        )
    return name


def name_taken(name: str, tenant: Tenant) -> NameTakenError:
    return NameTakenError(
        f"{tenant.name} has a VM named “{name}” already. Choose another name.", field="name"
    )


def vcpus_check(vcpus: int, hypervisor: Hypervisor) -> None:
    """Raises InvalidInputError."""
    most = min(int(hypervisor.facts.get("cpus") or MAX_VCPUS), MAX_VCPUS)
    if not 1 <= vcpus <= most:
        raise InvalidInputError(
            f"{hypervisor.name} has {most} processor{'s' if most > 1 else ''}: give the VM "
            f"between 1 and {most}.",
            field="vcpus",
        )


def memory_check(memory_mib: int, image: Image) -> None:
    """Raises InvalidInputError."""
    least = max(MIN_MEMORY_MIB, image.min_memory_mib)
    if memory_mib < least:
        raise InvalidInputError(
            f"{image.name} needs at least {least} MiB of memory.", field="memory_mib"
        )
    if memory_mib > MAX_MEMORY_MIB:
        raise InvalidInputError("A VM can have at most 16 TiB of memory.", field="memory_mib")


def disks_check(sizes_gib: Sequence[int]) -> None:
    """Raises InvalidInputError."""
    if not 1 <= len(sizes_gib) <= MAX_DISKS:
        raise InvalidInputError(f"A VM has between 1 and {MAX_DISKS} disks.", field="disks")
    if not all(1 <= size <= MAX_DISK_GIB for size in sizes_gib):
        raise InvalidInputError(f"A disk has between 1 and {MAX_DISK_GIB} GiB.", field="disks")


def _checked(request: VmRequest, hypervisor: Hypervisor) -> VmRequest:
    """The request with clean values. What needs only itself is checked here."""
    disks_check(request.disks_gib)
    firmwares = hypervisor.facts.get("firmwares") or ["bios"]
    if request.firmware not in firmwares:
        raise InvalidInputError(
            f"{hypervisor.name} can't start guests with {request.firmware.upper()}: it has "
            f"{' and '.join(name.upper() for name in firmwares)}. Choose that, or install the "
            "ovmf package on the host.",
            field="firmware",
        )
    clean = replace(
        request,
        name=name_check(request.name),
        username=username_check(request.username or request.image.default_username),
        password=password_check(request.password),
        ssh_keys=ssh_keys_check(list(request.ssh_keys)),
        user_data=user_data_check(request.user_data or "") or None,
    )
    if clean.password is None and not clean.ssh_keys:
        raise InvalidInputError(
            "Give a password or an SSH key (or both): without them nobody could get in.",
            field="password",
        )
    return clean


def _image_version(request: VmRequest, tenant: Tenant) -> ImageVersion:
    image = Image.objects.usable_by(tenant).filter(pk=request.image.pk).first()
    version = image.latest if image else None
    if image is None or version is None:
        raise InvalidInputError(
            f"The image {request.image.name} is retired or has no usable version. Choose another.",
            field="image",
        )
    memory_check(request.memory_mib, image)
    least = max(image.min_disk_gib, -(-(version.virtual_size or 0) // GIB))
    if request.disks_gib[0] < least:
        raise InvalidInputError(
            f"{image.name} needs a boot disk of at least {least} GiB.", field="disks"
        )
    return version


def _insert(
    actor: Actor, hypervisor: Hypervisor, request: VmRequest, version: ImageVersion
) -> VirtualMachine:
    vm_id = uuid.uuid4()
    try:
        with transaction.atomic():
            return VirtualMachine.objects.create(
                id=vm_id,
                tenant=hypervisor.tenant,
                hypervisor=hypervisor,
                name=request.name,
                hostname=request.name.lower(),
                vcpus=request.vcpus,
                memory_mib=request.memory_mib,
                firmware=request.firmware,
                autostart=request.autostart,
                image_version=version,
                username=request.username,
                ssh_keys=list(request.ssh_keys),
                sealed_secrets=_sealed(vm_id, hypervisor, request),
                has_password=request.password is not None,
                has_user_data=request.user_data is not None,
                created_by=actor.user,
            )
    except IntegrityError as error:
        raise name_taken(request.name, hypervisor.tenant) from error


def _sealed(vm_id: uuid.UUID, hypervisor: Hypervisor, request: VmRequest) -> bytes | None:
    if request.password is None and request.user_data is None:
        return None
    plain = msgspec.msgpack.encode({"password": request.password, "user_data": request.user_data})
    try:
        return seal(bytes(hypervisor.seal_public), plain, purpose=f"vm:{vm_id}")
    except SealError as error:
        raise InvalidInputError(
            f"The key of {hypervisor.name} can't be used to keep secrets. Remove the host and "
            "let it join again.",
            field="hypervisor",
        ) from error


def _nics(request: VmRequest, hypervisor: Hypervisor) -> Sequence[NicRequest]:
    nics = request.nics
    if nics is None:
        first = hypervisor.networks.order_by("created_at", "name").first()
        nics = [NicRequest(network=first)] if first else []
    if not 1 <= len(nics) <= MAX_NICS:
        raise InvalidInputError(
            f"A VM has between 1 and {MAX_NICS} NICs: it gets its configuration over the first. "
            "Add a network to the host if it has none.",
            field="nics",
        )
    for nic in nics:
        if nic.network.hypervisor_id != hypervisor.pk:
            raise InvalidInputError(
                f"The network {nic.network.name} is not one of {hypervisor.name}'s. Choose one "
                "of the host's own networks.",
                field="nics",
            )
        if nic.network.vlan is not None or nic.network.subnet6:
            host_must_speak(hypervisor, PROTOCOL)
    return nics


def _visible(vm: VirtualMachine, request: VmRequest) -> dict[str, object]:
    """What activity and audit show: no password, no user-data."""
    return {
        "name": vm.name,
        "hypervisor": vm.hypervisor.name,
        "image": str(vm.image_version),
        "vcpus": vm.vcpus,
        "memory_mib": vm.memory_mib,
        "disks_gib": list(request.disks_gib),
        "nics": [nic_facts(nic) for nic in vm.nics.select_related("network")],
        "username": vm.username,
        "has_password": vm.has_password,
        "ssh_keys": len(vm.ssh_keys),
        "has_user_data": vm.has_user_data,
        "firmware": vm.firmware,
        "autostart": vm.autostart,
    }
