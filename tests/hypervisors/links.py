"""What tests of a link need of a host's row."""

from hypervisors.models import Hypervisor
from hypervisors.services.jobs import job_create
from hypervisors.sockets import in_database
from tenants.actor import SYSTEM
from tests.factories import HypervisorFactory


async def make_host(**options):
    return await in_database(lambda: HypervisorFactory(online=False, run_id="", **options))


async def fresh(row):
    return await in_database(lambda: type(row).objects.get(pk=row.pk))


def online(host):
    return lambda: Hypervisor.objects.filter(pk=host.pk, online=True).exists()


def offline(host):
    return lambda: Hypervisor.objects.filter(pk=host.pk, online=False).exists()


def start_of(vm):
    return lambda: job_create(
        actor=SYSTEM,
        hypervisor=Hypervisor.objects.get(pk=vm.hypervisor_id),
        kind="vm.start",
        subject_id=vm.id,
        subject_name=vm.name,
    )
