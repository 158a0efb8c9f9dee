"""The form that sets a quota."""

from decimal import Decimal
from typing import Any

from django import forms

from tenants.models import Site, Tenant, User
from vms.models import Quota
from vms.models.quota import LIMITS, tenants_settable

_MOST = 2_000_000
"""In GiB of memory, just what MiB in PostgreSQL's integer can say."""


def _number(label: str, help_text: str = "") -> forms.IntegerField:
    return forms.IntegerField(
        label=label,
        required=False,
        min_value=0,
        max_value=_MOST,
        help_text=help_text,
        widget=forms.NumberInput(attrs={"placeholder": "no limit"}),
    )


class QuotaForm(forms.Form):
    """Limits. An empty field is no limit."""

    use_required_attribute = False

    vms = _number("VMs")
    vcpus = _number("vCPU")
    memory_gib = forms.DecimalField(
        label="Memory (GiB)",
        required=False,
        min_value=0,
        max_value=_MOST,
        # A MiB is 1/1024 GiB, which takes ten.
        decimal_places=10,
        widget=forms.NumberInput(attrs={"placeholder": "no limit", "step": "0.25"}),
    )
    disk_gib = _number("Disk (GiB)", "All disks of all VMs, at their full size.")
    snapshots = _number("Snapshots", "Nothing counts here yet: VMs have no snapshots so far.")

    def __init__(self, *args: Any, quota: Quota | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if quota is not None:
            self.initial.update(quota.limits)
            if quota.memory_mib is not None:
                self.initial["memory_gib"] = f"{(Decimal(quota.memory_mib) / 1024).normalize():f}"

    @property
    def limits(self) -> dict[str, int | None]:
        """As `quota_set` wants them."""
        values = self.cleaned_data
        memory: Decimal | None = values["memory_gib"]
        return {
            **{name: values[name] for name in LIMITS if name != "memory_mib"},
            "memory_mib": None if memory is None else int(memory * 1024),
        }


class NewQuotaForm(QuotaForm):
    """`of`: "tenant:<id>" or "site:<id>", of those that the person may set one for and that have
    none yet."""

    of = forms.ChoiceField(label="Of")
    field_order = ("of",)

    def __init__(self, *args: Any, user: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        tenants = tenants_settable(user).order_by("name", "id")
        taken: set[tuple[Any, Any]] = set(
            Quota.objects.filter(tenant__in=tenants).values_list("tenant_id", "site_id")
        )
        self.places: dict[str, tuple[Tenant, Site | None]] = {}
        sites: dict[Any, list[Site]] = {}
        for one in Site.objects.filter(tenant__in=tenants).order_by("name", "id"):
            sites.setdefault(one.tenant_id, []).append(one)
        choices = []
        for tenant in tenants:
            group = []
            whole = "" if tenant.kind == Tenant.Kind.CUSTOMER else ", all its customers together"
            places: list[tuple[str, str, Site | None]] = [
                (f"tenant:{tenant.pk}", f"{tenant.name}{whole}", None),
                *((f"site:{one.pk}", f"Site {one.name}", one) for one in sites.get(tenant.pk, ())),
            ]
            for value, words, site in places:
                if (tenant.pk, site.pk if site else None) not in taken:
                    self.places[value] = (tenant, site)
                    group.append((value, words))
            choices.append((tenant.name, group))
        field = self.fields["of"]
        assert isinstance(field, forms.ChoiceField)  # noqa: S101 - declared above
        field.choices = [group for group in choices if group[1]]

    @property
    def place(self) -> tuple[Tenant, Site | None]:
        return self.places[self.cleaned_data["of"]]
