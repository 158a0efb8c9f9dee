"""What of hosts a second person can be asked about."""

from hypervisors.models import Hypervisor
from hypervisors.services.hypervisors import hypervisor_remove
from tenants.services.second_person_kinds import Kind, Thing, kind_register


def second_person_kinds_register() -> None:
    """Called when the app is ready."""
    kind_register(
        Kind(
            name="hypervisor.remove",
            verb="Remove",
            done="removed",
            nouns=("host", "hosts"),
            permissions=("hypervisor.manage",),
            rows=lambda: Hypervisor.objects.select_related("tenant__parent__parent", "site"),
            thing=lambda host, _: Thing(
                host.name, host.site.name, "is forgotten, with its networks and its activity"
            ),
            carry_out=lambda actor, host, _: hypervisor_remove(actor=actor, hypervisor=host),
            counted={"hypervisor.remove": ""},
        )
    )
