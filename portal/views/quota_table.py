"""The table of quotas."""

from typing import Any

import django_tables2 as tables
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from portal.templatetags.basalt import icon, state
from portal.views.quota_bars import LABELS, Bar, Bars
from portal.views.tables import WIDE
from vms.models import Quota

_UNLIMITED = SafeString('<span class="muted">no limit</span>')


def _limit(name: str) -> Any:
    return tables.Column(verbose_name=LABELS[name], empty_values=(), attrs=WIDE)


class QuotaTable(tables.Table):  # type: ignore[misc]
    of = tables.Column(
        verbose_name="Quota of",
        empty_values=(),
        accessor="id",
        order_by=("tenant__name", "site__name"),
    )
    state = tables.Column(verbose_name="State", empty_values=(), accessor="id", order_by="fullness")
    vms = _limit("vms")
    vcpus = _limit("vcpus")
    memory_mib = _limit("memory_mib")
    disk_gib = _limit("disk_gib")
    snapshots = _limit("snapshots")
    act = tables.Column(
        empty_values=(),
        orderable=False,
        verbose_name="",
        accessor="id",
        attrs={"td": {"class": "tight"}},
    )

    class Meta:
        # Who looks here looks for trouble.
        order_by = ("-state", "of")

    def _bars(self, record: Quota) -> Bars:
        found: dict[Any, Bars] = self.bars
        return found[record.pk]

    def render_of(self, record: Quota) -> SafeString:
        tenant, site = record.tenant, record.site
        if site is not None:
            address, under = reverse("site", args=(tenant.slug, site.slug)), tenant.name
        else:
            address, under = reverse("customer", args=(tenant.slug,)), tenant.get_kind_display()
        return format_html(
            '<a class="name" href="{}">{}</a><div class="sub">{}</div>', address, record.name, under
        )

    def render_state(self, record: Quota) -> SafeString:
        worst = self._bars(record).worst
        return format_html(
            '{}<div class="sub">{}</div>', state(worst.look, test_id="quota-state"), worst.label
        )

    def _bar(self, record: Quota, name: str) -> SafeString:
        found = self._bars(record)
        bar = next((one for one in found.bars if one.name == name), None)
        return _drawn(bar, record.name) if bar else _UNLIMITED

    def render_vms(self, record: Quota) -> SafeString:
        return self._bar(record, "vms")

    def render_vcpus(self, record: Quota) -> SafeString:
        return self._bar(record, "vcpus")

    def render_memory_mib(self, record: Quota) -> SafeString:
        return self._bar(record, "memory_mib")

    def render_disk_gib(self, record: Quota) -> SafeString:
        return self._bar(record, "disk_gib")

    def render_snapshots(self, record: Quota) -> SafeString:
        return self._bar(record, "snapshots")

    def render_act(self, record: Quota) -> SafeString:
        if not self._bars(record).settable:
            return SafeString("")
        address = reverse("quota-change", args=(record.pk,))
        # With the page's script it opens here; without, on a page of its own.
        return format_html(
            '<a class="btn btn-plain btn-sm" href="{}" data-dialog="quota-dialog" hx-get="{}" '
            'hx-target="#quota-form" hx-select="#quota-form" hx-swap="outerHTML" '
            'aria-label="Change the quota of {}" data-testid="quota-edit">{}Change…</a>',
            address,
            address,
            record.name,
            icon("pencil", "icon-sm"),
        )


def _drawn(bar: Bar, of: str) -> SafeString:
    look = bar.look
    sign = "" if look.tone == "good" else icon(look.icon, "icon-sm me-1")
    return format_html(
        '<div class="bar bar-thin {}" role="progressbar" aria-label="{} of {}" aria-valuemin="0" '
        'aria-valuemax="100" aria-valuenow="{}" aria-valuetext="{}, {}">'
        '<span style="width: {}%"></span></div>'
        '<div class="sub num nowrap" title="{}">{}{}</div>',
        "" if look.tone == "good" else look.tone,
        bar.label,
        of,
        bar.percent,
        bar.words,
        look.word.lower(),
        bar.percent,
        look.hint or look.word,
        sign,
        bar.words,
    )
