"""What there is of all that quotas limit. The one place that counts it."""

import uuid
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from django.db.models import Case, Count, Exists, OuterRef, Q, QuerySet, Sum, Value, When
from django.db.models.functions import Coalesce

from hypervisors.models import ACTIVE, Job, Status
from tenants.models import Tenant
from tenants.models.tenant import at_or_below
from vms.models import Disk, Quota, VirtualMachine
from vms.models.quota import LIMITS

Place = tuple[frozenset[uuid.UUID], uuid.UUID]
"""Where something is: its tenant with those above, and its site."""

NAMES = {
    "vms": "VMs",
    "vcpus": "vCPUs",
    "memory_mib": "memory",
    "disk_gib": "disk",
    "snapshots": "snapshots",
}


@dataclass(frozen=True, kw_only=True)
class Amounts:
    """So much of everything: MiB of memory, GiB of disk."""

    vms: int = 0
    vcpus: int = 0
    memory_mib: int = 0
    disk_gib: int = 0
    snapshots: int = 0

    def __add__(self, other: "Amounts") -> "Amounts":
        return Amounts(**{name: self[name] + other[name] for name in LIMITS})

    def __getitem__(self, name: str) -> int:
        value: int = getattr(self, name)
        return value

    def as_dict(self) -> dict[str, int]:
        return asdict(self)


NONE = Amounts()
OVER = 101
"""Percent of what is over, be it by ever so little: full is 100."""


def vm_amounts(*, vcpus: int, memory_mib: int, disks_gib: Iterable[int], vms: int = 0) -> Amounts:
    """What a VM of these sizes takes; `vms` 1 where it is a new one."""
    return Amounts(vms=vms, vcpus=vcpus, memory_mib=memory_mib, disk_gib=sum(disks_gib))


def amount_words(name: str, amount: int) -> str:
    """ "16 GiB", "512 MiB", "2 TiB", "4": so much of what is called `name`."""
    if name == "disk_gib":
        return f"{amount:,} GiB" if amount < 10_240 else f"{amount / 1024:,.1f} TiB"
    if name == "memory_mib":
        if amount % 1024 and amount < 1024:
            return f"{amount} MiB"
        if amount >= 10_240 * 1024:
            return f"{amount / 1024**2:,.1f} TiB"
        return f"{amount / 1024:,.2f}".rstrip("0").rstrip(".") + " GiB"
    return f"{amount:,}"


# ------------------------------------------------------------------ counting


def quota_usages(quotas: Collection[Quota]) -> dict[uuid.UUID, Amounts]:
    """By the id of each quota, what there is of what it bounds. Four queries, however many.

    It counts what is promised: a VM from the moment it is asked for until it is gone from its
    host; and while a resize is under way, the greater of both sizes.
    """
    if not quotas:
        return {}
    tenants = {quota.tenant_id for quota in quotas if quota.site_id is None}
    sites = {quota.site_id for quota in quotas if quota.site_id is not None}
    counted = _counted(
        VirtualMachine.objects.filter(
            at_or_below(tenants, "tenant__") | Q(hypervisor__site_id__in=sites)
        )
    )
    found = {}
    for quota in quotas:
        used = NONE
        for (line, site_id), amounts in counted.items():
            if quota.tenant_id in line if quota.site_id is None else quota.site_id == site_id:
                used += amounts
        found[quota.pk] = used
    return found


def filled(used: int, limit: int) -> int:
    """Percent: 100 when it is full and no sooner, above when it is over. A limit of nothing is
    full."""
    if used > limit:
        return max(used * 100 // limit, OVER) if limit else OVER
    return used * 100 // limit if limit else 100


def by_fullness(rows: "QuerySet[Quota]") -> "QuerySet[Quota]":
    """The same rows with `fullness`, percent of the fullest of what each limits, to sort and to
    choose by. It counts for all of them at once, in five queries."""
    quotas = list(rows)
    usages = quota_usages(quotas)
    alike: dict[int, list[uuid.UUID]] = defaultdict(list)
    for quota in quotas:
        used, limits = usages[quota.pk], quota.limits
        full = [filled(used[name], limit) for name, limit in limits.items() if limit is not None]
        alike[max(full, default=0)].append(quota.pk)
    known = Case(*(When(pk__in=ids, then=Value(percent)) for percent, ids in alike.items()))
    # One set since then has no fullness yet, and comes last.
    return rows.annotate(fullness=Coalesce(known, Value(0)) if alike else Value(0))


def tenant_usage(tenant: Tenant) -> Amounts:
    """What a tenant and all below it have."""
    vms = VirtualMachine.objects.filter(at_or_below([tenant.pk], "tenant__"))
    return sum(_counted(vms).values(), NONE)


def _counted(vms: Any) -> Mapping[Place, Amounts]:
    vms = vms.order_by()
    above = ("tenant_id", "tenant__parent_id", "tenant__parent__parent_id")
    found: dict[Place, Amounts] = defaultdict(Amounts)
    for *line, site_id, count, vcpus, memory_mib in vms.values_list(
        *above, "hypervisor__site_id"
    ).annotate(Count("pk"), Sum("vcpus"), Sum("memory_mib")):
        found[_place(line, site_id)] += Amounts(vms=count, vcpus=vcpus, memory_mib=memory_mib)
    disks = Disk.objects.filter(vm__in=vms.values("pk")).order_by()
    for *line, site_id, size_gib in disks.values_list(
        *(f"vm__{name}" for name in above), "vm__hypervisor__site_id"
    ).annotate(Sum("size_gib")):
        found[_place(line, site_id)] += Amounts(disk_gib=size_gib)
    for place, snapshots in _snapshots(vms).items():
        found[place] += Amounts(snapshots=snapshots)
    wanted = {job.subject_id: job.arguments for job in _resizes(vms)}
    if wanted:
        growing = vms.filter(pk__in=wanted).values_list(
            "pk", *above, "hypervisor__site_id", "vcpus", "memory_mib"
        )
        sizes = growing.annotate(Sum("disks__size_gib"))
        for vm_id, *line, site_id, vcpus, memory_mib, disk_gib in sizes:
            more = _growth(wanted[vm_id], vcpus, memory_mib, disk_gib or 0)
            found[_place(line, site_id)] += more
    return found


def _place(line: Iterable[uuid.UUID | None], site_id: uuid.UUID) -> Place:
    return frozenset(one for one in line if one is not None), site_id


def _snapshots(_vms: Any) -> Mapping[Place, int]:
    """How many snapshots these VMs have. There are none yet: what will make them counts them
    here, and asks `quotas_hold` before it makes one."""
    return {}


def _resizes(vms: Any) -> Any:
    """Resizes that may still come true. Of a lost one nobody knows, until its VM is asked
    something else: the host, back again, has told of it by then."""
    later = Job.objects.filter(
        subject_id=OuterRef("subject_id"), created_at__gt=OuterRef("created_at")
    )
    return Job.objects.filter(
        Q(status__in=ACTIVE) | Q(~Exists(later), status=Status.LOST),
        kind="vm.resize",
        subject_id__in=vms.values("pk"),
    ).only("subject_id", "arguments")


def _growth(wanted: dict[str, Any], vcpus: int, memory_mib: int, disk_gib: int) -> Amounts:
    disks = wanted.get("disks")
    return Amounts(
        vcpus=max(int(wanted.get("vcpus") or 0) - vcpus, 0),
        memory_mib=max(int(wanted.get("memory_mib") or 0) - memory_mib, 0),
        disk_gib=max(sum(disk["size_gib"] for disk in disks) - disk_gib, 0) if disks else 0,
    )
