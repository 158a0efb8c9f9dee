"""Reads that more than one page needs, each in a fixed number of queries."""

from typing import Any

from django.db.models import Count, IntegerField, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce

from hypervisors.models import Hypervisor, Job
from hypervisors.models.job import JobQuerySet
from tenants.models import Site, Tenant, User
from vms.models import VirtualMachine

_TROUBLE = Q(observed_power="crashed") | Q(state="missing")


def vms_for_list(user: User, permission: str = "vm.view") -> "QuerySet[VirtualMachine]":
    """VMs with all that a list shows; `active_kind` is the kind of the job that holds one."""
    active = Job.objects.active().filter(subject_id=OuterRef("pk")).order_by("-created_at")
    return (
        VirtualMachine.objects.allowed(user, permission)
        .for_pages()
        .annotate(active_kind=Subquery(active.values("kind")[:1]))
    )


def _count(rows: "QuerySet[Any]", key: str) -> Coalesce:
    """How many of `rows` belong to the outer row, by the column `key`. A subquery each, as
    joining several counts would multiply them."""
    counted = rows.filter(**{key: OuterRef("pk")}).order_by().values(key).annotate(n=Count("pk"))
    return Coalesce(Subquery(counted.values("n"), output_field=IntegerField()), 0)


def hosts_for_list(user: User, permission: str = "hypervisor.view") -> "QuerySet[Hypervisor]":
    """Hosts with their site, customer and `vm_count`."""
    return (
        Hypervisor.objects.allowed(user, permission)
        .select_related("tenant", "site")
        .annotate(vm_count=_count(VirtualMachine.objects.allowed(user, "vm.view"), "hypervisor"))
    )


def jobs_for_list(user: User) -> JobQuerySet:
    return Job.objects.allowed(user, "job.view").select_related(
        "hypervisor", "tenant", "requested_by"
    )


def sites_for_list(user: User) -> "QuerySet[Site]":
    """Sites with `host_count`, `online_count`, `problem_count`, and `vm_count`, of which
    `running_count` and `trouble_count`."""
    vms = VirtualMachine.objects.allowed(user, "vm.view")
    hosts = Hypervisor.objects.allowed(user, "hypervisor.view")
    return (
        Site.objects.allowed(user, "site.view")
        .select_related("tenant")
        .annotate(
            host_count=_count(hosts, "site"),
            online_count=_count(hosts.filter(online=True), "site"),
            problem_count=_count(
                hosts.filter(online=True, facts__problems__0__isnull=False), "site"
            ),
            vm_count=_count(vms, "hypervisor__site"),
            running_count=_count(
                vms.filter(observed_power="running", state="ready"), "hypervisor__site"
            ),
            trouble_count=_count(vms.filter(_TROUBLE), "hypervisor__site"),
        )
    )


def customers_for_list(user: User) -> "QuerySet[Tenant]":
    """Customers (and the MSPs over them) with their counts."""
    hosts = Hypervisor.objects.allowed(user, "hypervisor.view")
    return (
        Tenant.objects.allowed(user, "tenant.view")
        .select_related("parent")
        .annotate(
            site_count=_count(Site.objects.allowed(user, "site.view"), "tenant"),
            host_count=_count(hosts, "tenant"),
            online_count=_count(hosts.filter(online=True), "tenant"),
            vm_count=_count(VirtualMachine.objects.allowed(user, "vm.view"), "tenant"),
        )
    )


def fleet_counts(user: User) -> dict[str, dict[str, int]]:
    """Hosts and VMs by state, of all that the person may see. Two queries."""
    hosts = Hypervisor.objects.allowed(user, "hypervisor.view").aggregate(
        total=Count("pk"), online=Count("pk", filter=Q(online=True))
    )
    hosts["offline"] = hosts["total"] - hosts["online"]
    states = {
        "running": Q(observed_power="running", state="ready"),
        "off": Q(observed_power="off", state="ready"),
        "creating": Q(state="creating"),
        "trouble": _TROUBLE,
    }
    vms = VirtualMachine.objects.allowed(user, "vm.view").aggregate(
        total=Count("pk"), **{name: Count("pk", filter=rule) for name, rule in states.items()}
    )
    vms["other"] = vms["total"] - sum(vms[name] for name in states)
    return {"hosts": hosts, "vms": vms}
