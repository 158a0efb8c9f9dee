"""The list of service accounts: its table and its filters."""

from typing import Any

import django_filters as filters
import django_tables2 as tables
from django.db.models import QuerySet
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from portal.templatetags.basalt import ago, icon
from portal.views.filters import customer_filter, search_filter
from portal.views.people_tables import has_ended, membership_words
from portal.views.tables import NOTHING, WIDE, WIDER
from tenants.models import ServiceAccount

_SHOWN = 3


class ServiceAccountFilters(filters.FilterSet):  # type: ignore[misc]
    q = search_filter(field_name="name", lookup_expr="icontains")
    customer = customer_filter()
    state = filters.ChoiceFilter(
        choices=[("open", "Open"), ("closed", "Closed")],
        method="by_state",
        label="State",
        empty_label="Any state",
    )

    class Meta:
        model = ServiceAccount
        fields: list[str] = []

    def by_state(
        self, rows: "QuerySet[ServiceAccount]", name: str, value: str
    ) -> "QuerySet[ServiceAccount]":
        return rows.filter(user__is_active=value == "open")


class ServiceAccountTable(tables.Table):  # type: ignore[misc]
    name = tables.Column()
    state = tables.Column(verbose_name="State", accessor="id", orderable=False, empty_values=())
    tenant = tables.Column(verbose_name="Of", order_by="tenant__name", attrs=WIDE)
    roles = tables.Column(
        verbose_name="Roles", accessor="id", orderable=False, empty_values=(), attrs=WIDER
    )
    tokens = tables.Column(
        verbose_name="Tokens", accessor="id", orderable=False, empty_values=(), attrs=WIDE
    )
    last_used = tables.Column(
        verbose_name="Last used", accessor="id", orderable=False, empty_values=(), attrs=WIDE
    )

    class Meta:
        order_by = ("name",)

    def render_name(self, record: ServiceAccount) -> SafeString:
        return format_html(
            '<a class="name" href="{}">{}</a><div class="sub">{}</div>',
            reverse("service-account", args=(record.pk,)),
            record.name,
            record.description,
        )

    def render_state(self, record: ServiceAccount) -> SafeString:
        return service_state(record)

    def render_tenant(self, record: ServiceAccount) -> str:
        return record.tenant.name

    def render_roles(self, record: ServiceAccount) -> SafeString:
        held = [row for row in _user(record).seen_memberships if not has_ended(row)]
        if not held:
            return NOTHING
        lines = [(membership_words(row),) for row in held[:_SHOWN]]
        if len(held) > _SHOWN:
            lines.append((f"and {len(held) - _SHOWN} more",))
        return format_html_join("", "<div>{}</div>", lines)

    def render_tokens(self, record: ServiceAccount) -> int:
        return len([token for token in _user(record).seen_tokens if not token.expired])

    def render_last_used(self, record: ServiceAccount) -> SafeString:
        used = [token.last_used_at for token in _user(record).seen_tokens if token.last_used_at]
        return ago(max(used)) if used else NOTHING


def service_state(account: ServiceAccount) -> SafeString:
    """Whether it may work."""
    if account.user.is_active:
        return format_html('<span class="state state-good">{}Open</span>', icon("circle-check"))
    return format_html('<span class="state state-idle">{}Closed</span>', icon("lock"))


def _user(record: ServiceAccount) -> Any:
    return record.user
