"""What of hosts a second person can be asked about."""

from functools import partial

from hypervisors.models import Hypervisor
from hypervisors.models.hypervisor import HypervisorQuerySet
from hypervisors.services.hypervisors import hypervisor_remove
from tenants.services.second_person_kinds import Kind, Thing, kind_register


def hosts() -> HypervisorQuerySet:
    """Hosts with all that the kinds ask of one."""
    return Hypervisor.objects.select_related("tenant__parent__parent", "site")


def host_thing(host: Hypervisor, loss: str) -> Thing:
    return Thing(host.name, host.site.name, loss)


host_kind = partial(Kind, nouns=("host", "hosts"))


def second_person_kinds_register() -> None:
    """Called when the app is ready."""
    kind_register(
        host_kind(
            name="hypervisor.remove",
            verb="Remove",
            done="removed",
            permissions=("hypervisor.manage",),
            rows=hosts,
            thing=lambda host, _: host_thing(
                host, "is forgotten, with its networks and its activity"
            ),
            carry_out=lambda actor, host, _: hypervisor_remove(actor=actor, hypervisor=host),
            counted={"hypervisor.remove": ""},
        )
    )
