"""Tables of the lists. A cell is escaped by `format_html`, always."""

from typing import Any

import django_tables2 as tables
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from hypervisors.models import Hypervisor, Job
from portal.templatetags.basalt import (
    ago,
    duration,
    gib,
    host_state,
    icon,
    job_label,
    job_state,
    mib,
    vm_state,
)
from portal.views.sparks import spark
from tenants.models import Site, Tenant
from vms.models import VirtualMachine

WIDE = {"td": {"class": "d-none d-md-table-cell"}, "th": {"class": "d-none d-md-table-cell"}}
WIDER = {"td": {"class": "d-none d-xl-table-cell"}, "th": {"class": "d-none d-xl-table-cell"}}
NUMBER = {
    "td": {"class": "d-none d-lg-table-cell num text-end"},
    "th": {"class": "d-none d-lg-table-cell text-end"},
}
PICTURE = {"td": {"class": "d-none d-lg-table-cell"}, "th": {"class": "d-none d-lg-table-cell"}}

NOTHING = SafeString('<span class="muted">—</span>')


def _link(name: str, words: Any, *args: Any, css: str = "name") -> SafeString:
    return format_html('<a class="{}" href="{}">{}</a>', css, reverse(name, args=args), words)


def _place(tenant: Tenant, site: Site) -> SafeString:
    return format_html(
        '{}<div class="sub">{}</div>',
        _link("site", site.name, tenant.slug, site.slug, css="text-reset"),
        tenant.name,
    )


class ChoosingTable(tables.Table):  # type: ignore[misc]
    """Rows can be chosen, for the list's bulk actions."""

    choose = tables.Column(
        empty_values=(),
        orderable=False,
        verbose_name="",
        accessor="id",
        attrs={"td": {"class": "tight"}, "th": {"class": "tight"}},
    )

    def render_choose(self, record: Any) -> SafeString:
        return format_html(
            '<input class="form-check-input m-0" type="checkbox" name="chosen" value="{}" '
            'form="bulk" data-choose aria-label="Choose {}">',
            record.id,
            self.word_for(record),
        )

    def word_for(self, record: Any) -> str:
        return str(record.name)


class VmTable(ChoosingTable):
    name = tables.Column()
    observed_power = tables.Column(verbose_name="State")
    address = tables.Column(empty_values=(), orderable=False, verbose_name="IP address", attrs=WIDE)
    site = tables.Column(
        accessor="hypervisor__site__name",
        verbose_name="Site",
        order_by=("tenant__name", "hypervisor__site__name"),
        attrs=WIDE,
    )
    hypervisor = tables.Column(verbose_name="Host", order_by="hypervisor__name", attrs=WIDER)
    vcpus = tables.Column(verbose_name="vCPU", attrs=NUMBER)
    memory_mib = tables.Column(verbose_name="Memory", attrs=NUMBER)
    usage = tables.Column(
        empty_values=(),
        orderable=False,
        accessor="id",
        verbose_name="Last 24 hours",
        attrs=PICTURE,
    )
    created_at = tables.Column(verbose_name="Created", attrs=WIDER)
    console = tables.Column(
        empty_values=(),
        orderable=False,
        verbose_name="",
        accessor="id",
        attrs={"td": {"class": "tight"}},
    )

    class Meta:
        order_by = ("name",)

    def render_name(self, record: VirtualMachine) -> SafeString:
        return format_html(
            '{}<div class="sub d-md-none">{}</div><div class="sub d-none d-md-block">{}</div>',
            _link("vm", record.name, record.tenant.slug, record.name),
            record.tenant.name,
            record.image_version.image.name,
        )

    def render_observed_power(self, record: VirtualMachine) -> SafeString:
        return vm_state(record, getattr(record, "active_kind", None))

    def render_address(self, record: VirtualMachine) -> SafeString:
        found = []
        for nic in record.nics.all():
            seen = [address.split("/")[0] for address in nic.observed_addresses]
            found += nic.given or seen[:2]
        if not found:
            return NOTHING
        return format_html_join(
            SafeString("<br>"),
            '<span class="mono">{}</span><button type="button" class="btn-copy" data-copy="{}" '
            'aria-label="Copy {}">{}</button>',
            [(address, address, address, icon("copy", "icon-sm")) for address in found],
        )

    def render_site(self, record: VirtualMachine) -> SafeString:
        return _place(record.tenant, record.hypervisor.site)

    def render_hypervisor(self, record: VirtualMachine) -> SafeString:
        return _link(
            "host",
            record.hypervisor.name,
            record.tenant.slug,
            record.hypervisor.name,
            css="text-reset",
        )

    def render_memory_mib(self, value: int) -> str:
        return mib(value)

    def render_usage(self, record: VirtualMachine) -> SafeString:
        found = getattr(self, "sparks", {}).get(record.pk, {})
        cpu = spark("Processor", found.get("cpu_percent"), 100, css="first")
        memory = spark("Memory", found.get("memory_used_mib"), record.memory_mib, css="second")
        if not cpu:
            return NOTHING
        return format_html(
            '<div class="sparks"><span aria-hidden="true">CPU</span>{}'
            '<span aria-hidden="true">RAM</span>{}</div>',
            cpu,
            memory or NOTHING,
        )

    def render_created_at(self, record: VirtualMachine) -> SafeString:
        return ago(record.created_at, record.hypervisor.site.time_zone)

    def render_console(self, record: VirtualMachine) -> SafeString:
        if record.id not in getattr(self, "with_console", ()):
            return SafeString("")
        return format_html(
            '<a class="btn btn-ghost btn-icon btn-sm" href="{}" aria-label="Console of {}" '
            'title="Console">{}</a>',
            reverse("console", args=(record.tenant.slug, record.name)),
            record.name,
            icon("terminal-2"),
        )


class HostTable(ChoosingTable):
    name = tables.Column()
    online = tables.Column(verbose_name="State")
    site = tables.Column(order_by=("tenant__name", "site__name"), attrs=WIDE)
    vm_count = tables.Column(verbose_name="VMs", attrs=NUMBER)
    cpu = tables.Column(
        verbose_name="CPU", empty_values=(), orderable=False, accessor="id", attrs=WIDE
    )
    memory = tables.Column(
        empty_values=(), orderable=False, accessor="id", verbose_name="Memory", attrs=WIDE
    )
    disk = tables.Column(
        empty_values=(), orderable=False, accessor="id", verbose_name="Disk", attrs=WIDER
    )
    last_seen_at = tables.Column(verbose_name="Last seen", attrs=WIDER)

    class Meta:
        order_by = ("name",)

    def render_name(self, record: Hypervisor) -> SafeString:
        return format_html(
            '{}<div class="sub">{}</div>',
            _link("host", record.name, record.tenant.slug, record.name),
            "simulated" if record.simulated else record.facts.get("os", ""),
        )

    def render_online(self, record: Hypervisor) -> SafeString:
        return host_state(record)

    def render_site(self, record: Hypervisor) -> SafeString:
        return _place(record.tenant, record.site)

    def render_cpu(self, record: Hypervisor) -> SafeString:
        return _bar("Processor load", record.usage.get("cpu_percent"), 100, "%") + self._spark(
            record, "Processor", "cpu_percent", 100, css="first"
        )

    def render_memory(self, record: Hypervisor) -> SafeString:
        used, total = record.usage.get("memory_used_mib"), record.facts.get("memory_mib")
        return _bar("Memory in use", used, total, f" of {mib(total)}") + self._spark(
            record, "Memory", "memory_used_mib", total, css="second"
        )

    def render_disk(self, record: Hypervisor) -> SafeString:
        used, total = record.usage.get("disk_used"), record.facts.get("disk_total")
        return _bar("Disk in use", used, total, f" of {gib(total)}")

    def _spark(
        self, record: Hypervisor, name: str, figure: str, whole: float | None, *, css: str
    ) -> SafeString:
        found = getattr(self, "sparks", {}).get(record.pk, {})
        return spark(name, found.get(figure), whole, css=css)

    def render_last_seen_at(self, record: Hypervisor) -> SafeString:
        return ago(record.last_seen_at, record.site.time_zone)


def _bar(words: str, part: float | None, whole: float | None, unit: str) -> SafeString:
    from portal.templatetags.basalt import fullness, percent_of

    if part is None or not whole:
        return NOTHING
    percent = percent_of(part, whole)
    return format_html(
        '<div class="bar bar-thin {}" role="progressbar" aria-label="{}" aria-valuemin="0" '
        'aria-valuemax="100" aria-valuenow="{}"><span style="width: {}%"></span></div>'
        '<div class="sub num nowrap">{}%{}</div>',
        fullness(percent),
        words,
        percent,
        percent,
        percent,
        "" if unit == "%" else unit,
    )


class CustomerTable(tables.Table):  # type: ignore[misc]
    name = tables.Column()
    site_count = tables.Column(verbose_name="Sites", attrs=NUMBER)
    host_count = tables.Column(verbose_name="Hosts", attrs=NUMBER)
    online_count = tables.Column(verbose_name="Hosts online", attrs=NUMBER)
    vm_count = tables.Column(verbose_name="VMs", attrs=NUMBER)
    created_at = tables.Column(verbose_name="Since", attrs=WIDE)

    class Meta:
        order_by = ("name",)

    def render_name(self, record: Tenant) -> SafeString:
        kind = record.get_kind_display()
        if record.parent is not None and record.parent.kind == Tenant.Kind.GROUP:
            kind = f"{kind} · {record.parent.name}"
        return format_html(
            '{}<div class="sub">{}</div>', _link("customer", record.name, record.slug), kind
        )

    def render_created_at(self, record: Tenant) -> SafeString:
        return ago(record.created_at)


class SiteTable(tables.Table):  # type: ignore[misc]
    name = tables.Column()
    tenant = tables.Column(verbose_name="Customer", order_by="tenant__name", attrs=WIDE)
    address = tables.Column(attrs=WIDER)
    host_count = tables.Column(verbose_name="Hosts", attrs=NUMBER)
    online_count = tables.Column(verbose_name="Online", attrs=NUMBER)
    vm_count = tables.Column(verbose_name="VMs", attrs=NUMBER)

    class Meta:
        order_by = ("name",)

    def render_name(self, record: Site) -> SafeString:
        return format_html(
            '{}<div class="sub d-md-none">{}</div>',
            _link("site", record.name, record.tenant.slug, record.slug),
            record.tenant.name,
        )

    def render_tenant(self, record: Site) -> SafeString:
        return _link("customer", record.tenant.name, record.tenant.slug, css="text-reset")


class JobTable(ChoosingTable):
    status = tables.Column(verbose_name="Outcome")
    kind = tables.Column(verbose_name="What")
    hypervisor = tables.Column(verbose_name="Host", order_by="hypervisor__name", attrs=WIDE)
    requested_by = tables.Column(
        empty_values=(), verbose_name="By", order_by="requested_by_name", attrs=WIDER
    )
    took = tables.Column(
        empty_values=(), orderable=False, accessor="id", verbose_name="Took", attrs=NUMBER
    )
    created_at = tables.Column(verbose_name="When")

    class Meta:
        order_by = ("-created_at",)

    def word_for(self, record: Job) -> str:
        return f"{job_label(record.kind)} {record.subject_name}"

    def render_status(self, record: Job) -> SafeString:
        return job_state(record)

    def render_kind(self, record: Job) -> SafeString:
        under = record.error_message
        if record.active:
            under = f"{record.step} · {record.progress} %"
        return format_html(
            '{} {}<div class="sub">{}</div>',
            _link("job", job_label(record.kind), record.id),
            record.subject_name,
            under[:140],
        )

    def render_hypervisor(self, record: Job) -> SafeString:
        host = record.hypervisor
        return format_html(
            '{}<div class="sub">{}</div>',
            _link("host", host.name, record.tenant.slug, host.name, css="text-reset"),
            record.tenant.name,
        )

    def render_requested_by(self, record: Job) -> str:
        return record.asked_by

    def render_took(self, record: Job) -> str:
        return duration(record)

    def render_created_at(self, record: Job) -> SafeString:
        return ago(record.created_at)
