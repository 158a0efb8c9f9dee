"""300 customers of one MSP with 10,000 VMs, as rows, for the benches that need many."""

import uuid
from datetime import timedelta
from typing import Any

from django.db import connection
from django.utils import timezone

from hypervisors.models import Hypervisor, Job, Network
from tenants.models import Membership, Role, Site, Tenant, User
from tests.factories import FACTS, USAGE, ImageVersionFactory
from vms.models import Disk, Nic, VirtualMachine


def fleet_make(*, tenants: int, vms: int) -> User:
    """The rows, with statistics gathered. Returns the MSP's technician."""
    msp = Tenant.objects.create(kind="msp", name="Northwind", slug="northwind")
    customers = Tenant.objects.bulk_create(
        Tenant(kind="customer", name=f"Customer {n}", slug=f"customer-{n}", parent=msp)
        for n in range(tenants)
    )
    sites = Site.objects.bulk_create(
        Site(tenant=tenant, name="Office", slug="office") for tenant in customers
    )
    version = ImageVersionFactory(image__tenant=msp)
    hosts = Hypervisor.objects.bulk_create(
        Hypervisor(
            tenant=site.tenant, site=site, name=f"host-{n}", machine_id=uuid.uuid4().hex,
            sign_public=n.to_bytes(32, "big"), seal_public=n.to_bytes(32, "big"), online=True,
            facts=FACTS, usage=USAGE, last_seen_at=timezone.now(),
        )
        for n, site in enumerate(sites)
    )  # fmt: skip
    networks = Network.objects.bulk_create(
        Network(
            tenant=host.tenant, hypervisor=host, name="nat", kind="nat", addressing="portal",
            subnet="10.77.0.0/16", gateway="10.77.0.1",
        )
        for host in hosts
    )  # fmt: skip
    made = VirtualMachine.objects.bulk_create(
        (_vm(n, hosts[n % tenants], version) for n in range(vms)), batch_size=2000
    )
    Disk.objects.bulk_create((Disk(vm=vm, position=0, size_gib=10) for vm in made), batch_size=5000)
    Nic.objects.bulk_create(
        (
            Nic(
                vm=vm, position=0, network=networks[n % tenants],
                address=f"10.77.{n >> 8}.{n & 255}",
                mac=f"52:54:00:{n >> 16:02x}:{n >> 8 & 255:02x}:{n & 255:02x}",
            )
            for n, vm in enumerate(made)
        ),
        batch_size=5000,
    )  # fmt: skip
    Job.objects.bulk_create(
        (
            Job(
                tenant=vm.tenant, hypervisor=vm.hypervisor, kind="vm.create", subject_id=vm.id,
                status="succeeded", deadline=timezone.now() + timedelta(hours=1),
            )
            for vm in made
        ),
        batch_size=5000,
    )  # fmt: skip
    user = User.objects.create_user("technician@northwind.example")
    role = Role.objects.get(tenant=None, slug="msp-owner")
    Membership.objects.create(user=user, tenant=msp, role=role)
    return user


def statistics_gather() -> None:
    """What autovacuum would do a little later. As the owner of the tables."""
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")


def _vm(n: int, host: Hypervisor, version: Any) -> VirtualMachine:
    return VirtualMachine(
        tenant=host.tenant, hypervisor=host, name=f"vm-{n}", hostname=f"vm-{n}", state="ready",
        vcpus=1, memory_mib=1024, image_version=version, username="debian",
        observed_power="running", cloud_init="done",
    )  # fmt: skip
