"""Giving up a host that is gone for good: stolen, burnt down, or returned to its lessor."""

from django.db import transaction

from hypervisors.models import Hypervisor, Job
from hypervisors.services.hypervisors import hypervisor_drop
from tenants.actor import Actor
from tenants.errors import RuleError
from tenants.services.audit import audit_record
from tenants.services.live import live_publish
from tenants.services.second_person_rules import second_person_check
from vms.models import VirtualMachine


class HostIsOnlineError(RuleError):
    """A host that answers can delete its VMs itself, disks and all."""

    code = "host_online"
    status = 409


@transaction.atomic
def host_forget(*, actor: Actor, hypervisor: Hypervisor) -> int:
    """Forget a host that has no link, together with its VMs. Answers how many VMs it had.

    Nothing is asked of the machine: should it still run somewhere, its guests go on, and its
    agent is refused. Raises HostIsOnlineError, SecondPersonNeededError.
    """
    second_person_check(actor=actor, kind="hypervisor.forget", row=hypervisor)
    # In the order of everybody who locks: host, jobs, VMs.
    host = Hypervisor.objects.select_for_update(of=("self",)).get(pk=hypervisor.pk)
    if host.online:
        raise HostIsOnlineError(
            f"{host.name} is online. Delete its VMs, so that their disks go too, then remove it."
        )
    list(Job.objects.select_for_update().filter(hypervisor=host).order_by("id").values("id"))
    vms = list(VirtualMachine.objects.select_for_update().filter(hypervisor=host).order_by("id"))
    for vm in vms:
        audit_record(
            actor=actor,
            tenant=host.tenant,
            action="vm.forget",
            object_kind="vm",
            object_id=vm.id,
            object_name=vm.name,
            site_id=host.site_id,
            before={"name": vm.name, "hypervisor": host.name},
        )
        live_publish(tenant_id=host.tenant_id, kind="vm", object_id=vm.id)
    VirtualMachine.objects.filter(id__in=[vm.id for vm in vms]).delete()
    hypervisor_drop(actor=actor, hypervisor=host)
    return len(vms)
