"""Rows for tests, as the services would leave them."""

import hashlib
import itertools
import uuid
from datetime import timedelta
from typing import Any

import factory
from django.utils import timezone
from factory.django import DjangoModelFactory

from agent.protocol import VERSION, generate_seal_key, generate_sign_key
from hypervisors.models import Hypervisor, Job, JoinToken, Network
from tenants.models import (
    AccessRule,
    IdentityProvider,
    Membership,
    Role,
    SignInPolicy,
    Site,
    Tenant,
    User,
)
from tenants.services.roles import built_in_roles_sync
from vms.models import Disk, Image, ImageVersion, Nic, VirtualMachine

GIB = 1024**3
FACTS: dict[str, Any] = {
    "hostname": "host.example",
    "os": "Debian GNU/Linux 12 (bookworm)",
    "kernel": "6.1.0-28-amd64",
    "architecture": "x86_64",
    "cpu_model": "AMD EPYC 7302P",
    "cpus": 16,
    "memory_mib": 32768,
    "disk_total": 500 * GIB,
    "accelerator": "kvm",
    "libvirt": "9.0.0",
    "qemu": "7.2.13",
    "boot_id": "0f0e0d0c-0b0a-4909-8807-060504030201",
    "firmwares": ["bios", "uefi"],
    "bridges": [{"name": "br0", "addresses": ["192.0.2.2/24"]}],
    "problems": [],
}
USAGE: dict[str, Any] = {
    "cpu_percent": 7,
    "memory_used_mib": 2048,
    "disk_used": 20 * GIB,
    "load1": 0.4,
}
SSH_KEY = (
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGFCkEBZdDBPvMqMHJpU1hCkXbDYsLGYqYf3hZb9i3fD "
    "technician@example"
)

_macs = itertools.count(1)


class UserFactory(DjangoModelFactory[User]):
    class Meta:
        model = User
        skip_postgeneration_save = True

    email = factory.Sequence(lambda n: f"person{n}@example.com")
    name = factory.Sequence(lambda n: f"Person {n}")

    @factory.post_generation
    def password(self, create: bool, extracted: str | None, **_: Any) -> None:
        self.set_password(extracted or "a long enough password")
        if create:
            self.save()


class MspFactory(DjangoModelFactory[Tenant]):
    class Meta:
        model = Tenant

    kind = Tenant.Kind.MSP
    name = factory.Sequence(lambda n: f"MSP {n}")
    slug = factory.Sequence(lambda n: f"msp-{n}")


class CustomerFactory(DjangoModelFactory[Tenant]):
    class Meta:
        model = Tenant

    kind = Tenant.Kind.CUSTOMER
    name = factory.Sequence(lambda n: f"Customer {n}")
    slug = factory.Sequence(lambda n: f"customer-{n}")
    parent = factory.SubFactory(MspFactory)


class SiteFactory(DjangoModelFactory[Site]):
    class Meta:
        model = Site

    tenant = factory.SubFactory(CustomerFactory)
    name = factory.Sequence(lambda n: f"Site {n}")
    slug = factory.Sequence(lambda n: f"site-{n}")


class MembershipFactory(DjangoModelFactory[Membership]):
    """`role` may be the slug of a built-in role: MembershipFactory(role="msp-owner")."""

    class Meta:
        model = Membership

    user = factory.SubFactory(UserFactory)
    tenant = factory.SubFactory(CustomerFactory)
    role = "customer-administrator"

    @classmethod
    def _adjust_kwargs(cls, **kwargs: Any) -> dict[str, Any]:
        if isinstance(kwargs["role"], str):
            # Tests with real transactions truncate the table between them.
            if not Role.objects.filter(tenant=None).exists():
                built_in_roles_sync()
            kwargs["role"] = Role.objects.get(tenant=None, slug=kwargs["role"])
        return kwargs


def deny(user: User, thing: Any, **fields: Any) -> AccessRule:
    """An exception: `user` may not see this tenant, site or VM."""
    return AccessRule.objects.create(user=user, effect="deny", **_about(thing), **fields)


def grant(user: User, thing: Any, role: str = "customer-viewer", **fields: Any) -> AccessRule:
    """A built-in role on one site or VM alone."""
    if not Role.objects.filter(tenant=None).exists():
        built_in_roles_sync()
    found = Role.objects.get(tenant=None, slug=role)
    return AccessRule.objects.create(
        user=user, effect="allow", role=found, **_about(thing), **fields
    )


def _about(thing: Any) -> dict[str, Any]:
    if isinstance(thing, Tenant):
        return {"tenant": thing}
    return {"tenant": thing.tenant, "site" if isinstance(thing, Site) else "vm": thing}


class HypervisorFactory(DjangoModelFactory[Hypervisor]):
    """An online host with room. `sign_private` and `seal_private` are its keys, kept as
    plain attributes for tests that play the agent."""

    class Meta:
        model = Hypervisor

    site = factory.SubFactory(SiteFactory)
    tenant = factory.SelfAttribute("site.tenant")
    name = factory.Sequence(lambda n: f"host-{n}")
    machine_id = factory.LazyFunction(lambda: uuid.uuid4().hex)
    agent_version = "0.1.0"
    protocol = VERSION
    online = True
    run_id = factory.LazyFunction(lambda: str(uuid.uuid4()))
    connected_at = factory.LazyFunction(timezone.now)
    last_seen_at = factory.LazyFunction(timezone.now)
    observed_at = factory.LazyFunction(timezone.now)
    facts = factory.LazyFunction(lambda: dict(FACTS))
    usage = factory.LazyFunction(lambda: dict(USAGE))

    @classmethod
    def _create(cls, model_class: type[Hypervisor], *args: Any, **kwargs: Any) -> Hypervisor:
        sign_private, sign_public = generate_sign_key()
        seal_private, seal_public = generate_seal_key()
        kwargs.setdefault("sign_public", sign_public)
        kwargs.setdefault("seal_public", seal_public)
        host = super()._create(model_class, *args, **kwargs)
        host.sign_private = sign_private
        host.seal_private = seal_private
        return host


class JoinTokenFactory(DjangoModelFactory[JoinToken]):
    class Meta:
        model = JoinToken

    site = factory.SubFactory(SiteFactory)
    tenant = factory.SelfAttribute("site.tenant")
    prefix = "bj_test"
    hash = factory.Sequence(lambda number: f"{number:064x}")
    max_uses = 1
    expires_at = factory.LazyFunction(lambda: timezone.now() + timedelta(days=1))


class NetworkFactory(DjangoModelFactory[Network]):
    """The managed NAT network; NetworkFactory(bridged=True) is on the host's br0."""

    class Meta:
        model = Network

    class Params:
        bridged = factory.Trait(
            kind=Network.Kind.BRIDGE,
            addressing=Network.Addressing.SITE,
            bridge="br0",
            subnet="",
            gateway=None,
        )

    hypervisor = factory.SubFactory(HypervisorFactory)
    tenant = factory.SelfAttribute("hypervisor.tenant")
    name = factory.Sequence(lambda n: f"net-{n}")
    kind = Network.Kind.NAT
    addressing = Network.Addressing.PORTAL
    subnet = "10.77.0.0/24"
    gateway = "10.77.0.1"


class ImageFactory(DjangoModelFactory[Image]):
    """Everybody's image, without a version: use ImageVersionFactory for a usable one."""

    class Meta:
        model = Image

    tenant = None
    name = factory.Sequence(lambda n: f"debian-12-{n}")
    os = "Debian 12"
    default_username = "debian"
    min_disk_gib = 2
    min_memory_mib = 256


class ImageVersionFactory(DjangoModelFactory[ImageVersion]):
    class Meta:
        model = ImageVersion

    image = factory.SubFactory(ImageFactory)
    number = 1
    source = ImageVersion.Source.URL
    url = "https://images.example.com/debian-12.qcow2"
    format = "qcow2"
    sha256 = factory.Sequence(lambda n: hashlib.sha256(str(n).encode()).hexdigest())
    size = 400 * 1024**2
    virtual_size = 2 * GIB


class VirtualMachineFactory(DjangoModelFactory[VirtualMachine]):
    """A running guest with one disk and one NIC, on a network of its host.

    VirtualMachineFactory(disks=[10, 20], network=network): sizes in GiB, and the NIC's network.
    """

    class Meta:
        model = VirtualMachine
        skip_postgeneration_save = True

    hypervisor = factory.SubFactory(HypervisorFactory)
    tenant = factory.SelfAttribute("hypervisor.tenant")
    name = factory.Sequence(lambda n: f"vm-{n}")
    hostname = factory.SelfAttribute("name")
    state = VirtualMachine.State.READY
    vcpus = 1
    memory_mib = 1024
    image_version = factory.SubFactory(ImageVersionFactory)
    username = "debian"
    ssh_keys = factory.LazyFunction(lambda: [SSH_KEY])
    observed_power = "running"
    observed_at = factory.LazyFunction(timezone.now)
    cloud_init = "done"

    @factory.post_generation
    def disks(self, create: bool, extracted: list[int] | None, **_: Any) -> None:
        for position, size_gib in enumerate(extracted or [10]):
            Disk.objects.create(vm=self, position=position, size_gib=size_gib)

    @factory.post_generation
    def network(self, create: bool, extracted: Network | None, **options: Any) -> None:
        network = extracted or self.hypervisor.networks.first()
        if network is None:
            network = NetworkFactory(hypervisor=self.hypervisor)
        number = next(_macs)
        Nic.objects.create(
            vm=self,
            position=0,
            network=network,
            mac=f"52:54:00:{number >> 16 & 255:02x}:{number >> 8 & 255:02x}:{number & 255:02x}",
            address=f"10.77.0.{100 + number % 100}" if network.subnet else None,
        )


class JobFactory(DjangoModelFactory[Job]):
    """A queued start of a VM. Other states: JobFactory(status=Status.RUNNING)."""

    class Meta:
        model = Job

    hypervisor = factory.SubFactory(HypervisorFactory)
    tenant = factory.SelfAttribute("hypervisor.tenant")
    kind = "vm.start"
    subject_id = factory.LazyFunction(uuid.uuid4)
    subject_name = "vm"
    step = "Waiting for the host"
    requested_by_name = factory.LazyAttribute(
        lambda job: job.requested_by.email if getattr(job, "requested_by", None) else ""
    )
    deadline = factory.LazyFunction(lambda: timezone.now() + timedelta(hours=1))


class SignInPolicyFactory(DjangoModelFactory[SignInPolicy]):
    class Meta:
        model = SignInPolicy

    tenant = factory.SubFactory(MspFactory)


class IdentityProviderFactory(DjangoModelFactory[IdentityProvider]):
    class Meta:
        model = IdentityProvider

    tenant = factory.SubFactory(CustomerFactory, parent=factory.SubFactory(MspFactory))
    kind = IdentityProvider.Kind.OIDC
    name = factory.Sequence(lambda n: f"Directory {n}")
    issuer = "https://id.example.com"
    client_id = "basalt"
