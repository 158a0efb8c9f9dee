"""What people change about hosts."""

import re

from django.db import IntegrityError, transaction
from django.db.models import ProtectedError

from hypervisors.models import Hypervisor
from hypervisors.services.links import link_end
from tenants.actor import Actor
from tenants.errors import InvalidInputError, NameTakenError, RuleError
from tenants.services.audit import audit_record
from tenants.services.live import live_publish
from tenants.services.second_person_rules import second_person_check

_NAME = re.compile(r"\A[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\Z")


class HostHasVmsError(RuleError):
    code = "host_has_vms"
    status = 409


@transaction.atomic
def hypervisor_rename(*, actor: Actor, hypervisor: Hypervisor, name: str) -> Hypervisor:
    """Another name in the portal; the machine's own host name stays.

    Raises InvalidInputError, NameTakenError.
    """
    name = name.strip()
    if not _NAME.match(name):
        raise InvalidInputError(
            "A host's name has 1 to 63 letters, digits and dashes, and begins and ends with a "
            "letter or digit.",
            field="name",
        )
    host = Hypervisor.objects.select_for_update(of=("self",)).get(pk=hypervisor.pk)
    before, host.name = host.name, name
    if before == name:
        return host
    try:
        with transaction.atomic():
            host.save(update_fields=["name"])
    except IntegrityError as error:
        raise NameTakenError(
            f"There is a host named “{name}” already. Choose another name.", field="name"
        ) from error
    audit_record(
        actor=actor,
        tenant=host.tenant,
        action="hypervisor.rename",
        object_kind="hypervisor",
        object_id=host.id,
        object_name=name,
        site_id=host.site_id,
        before={"name": before},
        after={"name": name},
    )
    live_publish(tenant_id=host.tenant_id, kind="hypervisor", object_id=host.id)
    return host


@transaction.atomic
def hypervisor_remove(*, actor: Actor, hypervisor: Hypervisor) -> None:
    """Forget a host, with its networks and the record of its jobs. Its link ends, and its
    keys open nothing any more. Raises HostHasVmsError, SecondPersonNeededError."""
    second_person_check(actor=actor, kind="hypervisor.remove", row=hypervisor)
    hypervisor_drop(actor=actor, hypervisor=hypervisor)


@transaction.atomic
def hypervisor_drop(*, actor: Actor, hypervisor: Hypervisor) -> None:
    """The same as a part of something else, which has asked whether it may be."""
    host = Hypervisor.objects.select_for_update(of=("self",)).get(pk=hypervisor.pk)
    host_id = host.id
    try:
        with transaction.atomic():
            host.delete()
    except ProtectedError as error:
        raise HostHasVmsError(
            f"{host.name} has VMs. Delete them first, then remove the host. If the machine is gone "
            "for good, forget it together with its VMs."
        ) from error
    audit_record(
        actor=actor,
        tenant=host.tenant,
        action="hypervisor.remove",
        object_kind="hypervisor",
        object_id=host_id,
        object_name=host.name,
        site_id=host.site_id,
        before={"name": host.name, "site": host.site.name},
    )
    live_publish(tenant_id=host.tenant_id, kind="hypervisor", object_id=host_id)
    link_end(host_id)
