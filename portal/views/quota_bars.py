"""Quotas as bars: what there is of what is allowed, in words, and how close it is."""

from collections.abc import Collection
from dataclasses import dataclass

from portal.views.forms.quotas import QuotaForm
from portal.views.states import Look
from tenants.models import Site, Tenant, User
from vms.models import Quota, VirtualMachine
from vms.models.quota import LIMITS, tenants_settable
from vms.services.quota_usage import Amounts, amount_words, filled, quota_usages

NEARLY = 80
"""Percent from which one should look."""
LABELS = {
    "vms": "VMs",
    "vcpus": "vCPU",
    "memory_mib": "Memory",
    "disk_gib": "Disk",
    "snapshots": "Snapshots",
}


@dataclass(frozen=True)
class Bar:
    """One limit. `used` and `limit` in the field's own unit; `percent` 0 to 100, for drawing."""

    name: str
    used: int
    limit: int

    @property
    def label(self) -> str:
        return LABELS[self.name]

    @property
    def words(self) -> str:
        return f"{amount_words(self.name, self.used)} of {amount_words(self.name, self.limit)}"

    @property
    def filled(self) -> int:
        """Percent, above 100 too."""
        return filled(self.used, self.limit)

    @property
    def percent(self) -> int:
        return min(self.filled, 100)

    @property
    def look(self) -> Look:
        if self.used > self.limit:
            over = amount_words(self.name, self.used - self.limit)
            return Look("bad", "alert-triangle", "Over", hint=f"{over} more than the quota")
        if self.filled >= 100:
            return Look("bad", "alert-circle", "Full", hint="Nothing more fits")
        if self.filled >= NEARLY:
            left = amount_words(self.name, self.limit - self.used)
            return Look("warn", "alert-triangle", "Nearly full", hint=f"{left} left")
        return Look("good", "circle-check", "Room left")


@dataclass(frozen=True)
class Bars:
    """A quota with the bars of all that it limits. `settable`: whether the person may set it."""

    quota: Quota
    used: Amounts
    settable: bool = False

    @property
    def bars(self) -> list[Bar]:
        limits = self.quota.limits
        return [Bar(name, self.used[name], limits[name] or 0) for name in self.limited]

    @property
    def bars_of_vms(self) -> list[Bar]:
        """Those that a new or greater VM must fit."""
        return [bar for bar in self.bars if bar.name != "snapshots"]

    @property
    def limited(self) -> list[str]:
        return [name for name in LIMITS if self.quota.limits[name] is not None]

    @property
    def worst(self) -> Bar:
        return max(self.bars, key=lambda bar: bar.filled)

    @property
    def over(self) -> bool:
        return any(bar.used > bar.limit for bar in self.bars)

    @property
    def together(self) -> bool:
        """Whether it counts more than one customer's."""
        return self.quota.site is None and self.quota.tenant.kind != Tenant.Kind.CUSTOMER


def bars_of(user: User, quotas: Collection[Quota]) -> list[Bars]:
    """In a fixed number of queries."""
    usages = quota_usages(quotas)
    tenants = {quota.tenant_id for quota in quotas}
    settable = (
        set(tenants_settable(user).filter(id__in=tenants).values_list("id", flat=True))
        if tenants
        else set()
    )
    return [Bars(quota, usages[quota.pk], quota.tenant_id in settable) for quota in quotas]


def bars_over(
    user: User, tenant: Tenant, site: Site | None = None, *, permission: str = "tenant.view"
) -> list[Bars]:
    """All quotas that a new VM there must fit, and that the person may see; the nearest first."""
    quotas = Quota.objects.allowed(user, permission).for_pages()
    line = tenant.line()
    found = sorted(
        quotas.over(tenant, site.pk if site else None),
        key=lambda quota: (quota.site_id is None, line.index(quota.tenant_id)),
    )
    return bars_of(user, found)


def quota_card(user: User, of: Tenant | Site) -> dict[str, object]:
    """What components/quota_card.html asks for, on the page of a tenant or a site: its own quota,
    and whether the person may set one."""
    if isinstance(of, Site):
        tenant, rows = of.tenant, Quota.objects.allowed(user, "site.view").filter(site=of)
    else:
        tenant, rows = of, Quota.objects.allowed(user, "tenant.view").filter(tenant=of, site=None)
    found = bars_of(user, list(rows.for_pages()))
    settable = found[0].settable if found else tenants_settable(user).filter(pk=tenant.pk).exists()
    return {
        "quota": found[0] if found else None,
        "quota_settable": settable,
        "quota_form": QuotaForm(quota=found[0].quota) if found and settable else None,
        "quota_value": f"site:{of.pk}" if isinstance(of, Site) else f"tenant:{of.pk}",
        "quota_of": of.name,
    }


def vm_sizes(vm: VirtualMachine) -> dict[str, int]:
    """What a VM takes already: for showing what another size would make of its quotas."""
    return {
        "vcpus": vm.vcpus,
        "memory_mib": vm.memory_mib,
        "disk_gib": sum(disk.size_gib for disk in vm.disks.all()),
    }
