"""Pictures of usage: sparklines for the rows of a list, and a page's charts."""

from collections.abc import Sequence
from typing import Any

from django.urls import reverse

from hypervisors.models import HostUsage, Hypervisor
from hypervisors.services.usage import usage_sparks
from tenants.models import User
from vms.models import Power, VirtualMachine, VmUsage

_RANGES = (("1h", "1 h"), ("24h", "24 h"), ("7d", "7 days"), ("30d", "30 days"))
_CHARTS = (
    ("cpu", "Processor"),
    ("memory", "Memory"),
    ("disk", "Disk"),
    ("network", "Network"),
)


def host_sparks(user: User, hosts: Sequence[Hypervisor]) -> dict[Any, Any]:
    """By host, what `spark` draws. One query for all of them."""
    samples = HostUsage.objects.allowed(user, "hypervisor.view")
    return usage_sparks(samples, [host.pk for host in hosts])


def vm_sparks(user: User, vms: Sequence[VirtualMachine]) -> dict[Any, Any]:
    """By VM, what `spark` draws. One query for all of them."""
    samples = VmUsage.objects.allowed(user, "vm.view")
    return usage_sparks(samples, [vm.pk for vm in vms])


def host_charts(host: Hypervisor) -> dict[str, Any]:
    """What components/usage_charts.html asks for."""
    return _charts(
        address=reverse("api-hypervisor-usage", args=(host.pk,)),
        heading="How busy it was",
        memory_mib=host.facts.get("memory_mib"),
        empty="No values from this time. A host with a link to the portal sends some each "
        "minute: the first minute's values appear here soon.",
    )


def vm_charts(vm: VirtualMachine) -> dict[str, Any]:
    """What components/usage_charts.html asks for."""
    if vm.observed_power == Power.RUNNING:
        hint = "Its host measures it each minute: the first minute's values appear here soon."
    else:
        hint = "A VM has values while it runs: start it, and the first appear within minutes."
    return _charts(
        address=reverse("api-vm-usage", args=(vm.pk,)),
        heading="How busy it was",
        memory_mib=vm.memory_mib,
        empty=f"No values from this time. {hint}",
    )


def _charts(**about: Any) -> dict[str, Any]:
    return {**about, "usage_ranges": _RANGES, "usage_charts": _CHARTS}
