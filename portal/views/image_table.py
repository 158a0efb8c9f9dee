"""The table of images."""

from typing import Any

import django_tables2 as tables
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from portal.templatetags.basalt import ago, gib, icon
from portal.views.tables import NOTHING, NUMBER, WIDE, WIDER, ChoosingTable
from vms.models import Image


class ImageTable(ChoosingTable):
    name = tables.Column()
    version = tables.Column(
        empty_values=(), orderable=False, accessor="id", verbose_name="Version", attrs=WIDE
    )
    source = tables.Column(
        empty_values=(), orderable=False, accessor="id", verbose_name="Comes from", attrs=WIDE
    )
    size = tables.Column(
        empty_values=(), orderable=False, accessor="id", verbose_name="Size", attrs=NUMBER
    )
    tenant = tables.Column(empty_values=(), verbose_name="For", order_by="tenant__name", attrs=WIDE)
    created_at = tables.Column(verbose_name="Added", attrs=WIDER)
    actions = tables.Column(
        empty_values=(),
        orderable=False,
        accessor="id",
        verbose_name="",
        attrs={"td": {"class": "tight"}},
    )

    class Meta:
        order_by = ("name",)

    def _newest(self, image: Image) -> Any:
        return next(iter(image.versions.all()), None)

    def render_name(self, record: Image) -> SafeString:
        retired = (
            format_html(' <span class="state state-idle">{}Retired</span>', icon("history"))
            if record.retired_at
            else ""
        )
        return format_html(
            '<span class="name">{}</span>{}<div class="sub">{} · user {} · {}</div>',
            record.name,
            retired,
            record.os or "Disk image",
            record.default_username,
            self._identity(record),
        )

    def render_version(self, record: Image) -> SafeString:
        version = self._newest(record)
        if version is None:
            return SafeString('<span class="muted">none</span>')
        if version.state == "broken":
            return format_html(
                '<span class="state state-bad" title="{}">{}v{} broken</span>',
                version.problem,
                icon("alert-triangle"),
                version.number,
            )
        return format_html(
            'v{}<div class="sub mono nowrap" title="SHA-256 {}">{}…<button type="button" '
            'class="btn-copy" data-copy="{}" aria-label="Copy the SHA-256">{}</button></div>',
            version.number,
            version.sha256,
            version.sha256[:12],
            version.sha256,
            icon("copy", "icon-sm"),
        )

    def render_source(self, record: Image) -> str:
        version = self._newest(record)
        if version is None:
            return NOTHING
        if version.source == "url":
            host = version.url.split("/")[2] if version.url.count("/") > 2 else version.url
            return format_html('<span title="{}">{}</span>', version.url, host)
        return "This portal"

    def render_size(self, record: Image) -> str:
        version = self._newest(record)
        return gib(version.size) if version else "—"

    def render_tenant(self, record: Image) -> str:
        return record.tenant.name if record.tenant else "Everybody"

    def render_created_at(self, record: Image) -> SafeString:
        return ago(record.created_at)

    def _identity(self, record: Image) -> SafeString:
        """Which metadata its guests look for, and the way to change it."""
        words = format_html("{} metadata", record.get_identity_display())
        if not self._may_change(record):
            return words
        address = reverse("image-identity", args=(record.id,))
        return format_html('<a href="{}">{}</a>', address, words)

    def _may_change(self, record: Image) -> bool:
        return not record.retired_at and record.tenant_id in getattr(self, "manageable", ())

    def render_actions(self, record: Image) -> SafeString:
        if not self._may_change(record):
            return SafeString("")
        return format_html(
            '<a class="btn btn-plain btn-sm" href="{}" aria-label="New version of {}">'
            "New version…</a> "
            '<a class="btn btn-plain btn-sm" href="{}" aria-label="Retire {}">Retire…</a>',
            reverse("image-version", args=(record.id,)),
            record.name,
            reverse("image-retire", args=(record.id,)),
            record.name,
        )
