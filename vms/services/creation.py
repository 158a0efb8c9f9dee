"""Making a VM: everything is checked here, before the host hears of it."""

import re
import secrets
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from django.db import IntegrityError, transaction

from hypervisors.models import Hypervisor, Job, Network
from hypervisors.services.jobs import host_must_be_online, job_create
from hypervisors.services.networks import address_allocate
from tenants.actor import Actor
from tenants.errors import InvalidInputError, NameTakenError
from tenants.models import Tenant
from tenants.scope import system_scope
from tenants.services.audit import audit_record
from tenants.services.live import live_publish
from tenants.ssh_keys import ssh_keys_check
from vms.models import Disk, Image, ImageVersion, Nic, VirtualMachine
from vms.services.capacity import GIB, host_capacity, must_fit
from vms.services.credentials import password_check, username_check
from vms.services.sealed import SealedSecrets, secrets_seal, vm_id_check
from vms.services.setup import Setup, setup_check, setup_cloud_config, setup_joined
from vms.services.tags import tags_check
from vms.services.user_data import user_data_check
from vms.services.variables import filled_in, guest_variables

MAX_VCPUS = 512
MIN_MEMORY_MIB = 64
MAX_MEMORY_MIB = 16_777_216
MAX_DISKS = 24
MAX_DISK_GIB = 65_536
MAX_NICS = 8
# Since this version of the protocol hosts take user-data in clear and sealed parts.
_TOLD_IN_PARTS = 3
# RFC 1123: the name is the guest's host name too.
_NAME = re.compile(r"\A[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\Z")


@dataclass(frozen=True, kw_only=True)
class NicRequest:
    """A NIC on `network`. `address` None: the next free one, or the site's DHCP."""

    network: Network
    address: str | None = None


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
    secret_user_data: bool = True
    """Whether `user_data` is sealed to the host. What is not can be read in the portal, and in
    the guest after its first boot."""
    sealed: SealedSecrets | None = None
    """In place of `password` and of a secret `user_data`."""
    setup: Setup = field(default_factory=Setup)
    """The usual wishes, which nobody must write YAML for. They are not secret."""
    tags: Mapping[str, str] = field(default_factory=dict)
    firmware: Literal["bios", "uefi"] = "bios"
    autostart: bool = True

    @property
    def has_password(self) -> bool:
        return self.sealed.has_password if self.sealed else self.password is not None


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
        Nic.objects.create(
            vm=vm,
            position=position,
            network=nic.network,
            mac=_new_mac(),
            address=_address(nic),
        )
    _tell(vm, hypervisor, request)
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
        tags=tags_check(request.tags),
    )
    clean = replace(clean, setup=setup_check(request.setup, username=clean.username))
    if clean.sealed is not None:
        if clean.password is not None or (clean.user_data is not None and clean.secret_user_data):
            raise InvalidInputError(
                "Give secrets either sealed or in clear, not both.", field="sealed_secrets"
            )
        vm_id_check(clean.sealed.vm_id)
    if not clean.has_password and not clean.ssh_keys:
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
    try:
        with transaction.atomic():
            return VirtualMachine.objects.create(
                id=request.sealed.vm_id if request.sealed else uuid.uuid4(),
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
                tags=dict(request.tags),
                has_password=request.has_password,
                created_by=actor.user,
            )
    except IntegrityError as error:
        raise name_taken(request.name, hypervisor.tenant) from error


def _tell(vm: VirtualMachine, hypervisor: Hypervisor, request: VmRequest) -> None:
    """Write down what the guest is to be told, checked as it will read it. Needs the NICs: their
    addresses are variables. Raises InvalidInputError."""
    text = request.user_data or ""
    secret, own = (text, "") if request.secret_user_data else ("", text)
    told = setup_joined(setup_cloud_config(request.setup), own)
    variables = guest_variables(vm)
    for part in (told, secret):
        user_data_check(filled_in(part, variables))
    vm.has_user_data = bool(told or secret)
    if request.sealed and request.sealed.has_user_data:
        vm.has_user_data = True
    if hypervisor.protocol < _TOLD_IN_PARTS and told:
        # Such a host knows one sealed user-data, and fills nothing in.
        if request.sealed:
            raise InvalidInputError(
                f"The agent of {hypervisor.name} is too old for a first boot in parts. Update it, "
                "or put everything into the script.",
                field="hypervisor",
            )
        secret, told = filled_in(setup_joined(told, secret), variables), ""
    vm.user_data = told
    vm.sealed_secrets = (
        request.sealed.box
        if request.sealed
        else secrets_seal(
            hypervisor=hypervisor, vm_id=vm.id, password=request.password, user_data=secret
        )
    )
    vm.save(update_fields=["user_data", "sealed_secrets", "has_user_data"])


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
    return nics


def _address(nic: NicRequest) -> str | None:
    if nic.network.addressing == Network.Addressing.PORTAL:
        return address_allocate(network=nic.network, wanted=nic.address or None)
    if nic.address:
        raise InvalidInputError(
            f"Addresses on {nic.network.name} come from the site's own DHCP. Leave the address "
            "out, or choose a network whose addresses the portal gives.",
            field="nics",
        )
    return None


def _new_mac() -> str:
    """A free address under 52:54:00, QEMU's customary prefix for its guests."""
    while True:
        mac = "52:54:00:" + ":".join(f"{byte:02x}" for byte in secrets.token_bytes(3))
        with system_scope("a MAC address is unique in the whole portal"):
            taken = Nic.objects.filter(mac=mac).exists()
        if not taken:
            return mac


def _visible(vm: VirtualMachine, request: VmRequest) -> dict[str, object]:
    """What activity and audit show: no password, no user-data."""
    return {
        "name": vm.name,
        "hypervisor": vm.hypervisor.name,
        "image": str(vm.image_version),
        "vcpus": vm.vcpus,
        "memory_mib": vm.memory_mib,
        "disks_gib": list(request.disks_gib),
        "nics": [
            {"network": nic.network.name, "address": nic.address}
            for nic in vm.nics.select_related("network")
        ],
        "username": vm.username,
        "has_password": vm.has_password,
        "ssh_keys": len(vm.ssh_keys),
        "has_user_data": vm.has_user_data,
        "tags": vm.tags,
        "firmware": vm.firmware,
        "autostart": vm.autostart,
    }
