"""The audit log: who did what, to what, and from where."""

import json
from collections.abc import Iterable, Iterator
from datetime import date, datetime, time
from itertools import islice
from typing import Any

import django_filters as filters
import django_tables2 as tables
from asgiref.sync import sync_to_async
from django import forms
from django.core.handlers.asgi import ASGIRequest
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from hypervisors.models import Hypervisor
from portal.templatetags.basalt import ago
from portal.views.audit_words import ACTIONS, KINDS, action_words, kind_words
from portal.views.base import PageView
from portal.views.filters import customer_filter, search_filter, sites
from portal.views.keyset import Ordering
from portal.views.lists import ListPage, paths_of, sorts
from portal.views.tables import NOTHING, WIDE, WIDER
from tenants.models import (
    AuditCheckpoint,
    AuditEvent,
    AuditVerification,
    DeletedTenant,
    ServiceAccount,
    Site,
    Tenant,
    User,
)
from tenants.scope import system_scope
from tenants.services.audit import list_exported
from vms.models import VirtualMachine

PERMISSION = "audit.view"
_SHOWN = 6
"""Events on the page of the thing that they are about."""


def events_of(user: User, **about: Any) -> "QuerySet[AuditEvent]":
    """The last events about one thing, for its page. Empty for who may not read the log."""
    return AuditEvent.objects.allowed(user, PERMISSION).filter(**about)[:_SHOWN]


def _day(**attributes: str) -> forms.DateInput:
    return forms.DateInput(attrs={"type": "date", **attributes}, format="%Y-%m-%d")


class AuditFilters(filters.FilterSet):  # type: ignore[misc]
    q = search_filter(method="search")
    customer = customer_filter()
    site = filters.ModelChoiceFilter(
        field_name="site_id", queryset=sites, method="at_site", label="Site",
        empty_label="All sites",
    )  # fmt: skip
    action = filters.ChoiceFilter(
        choices=sorted(ACTIONS.items(), key=lambda item: item[1]), label="Action",
        empty_label="Any action",
    )  # fmt: skip
    kind = filters.ChoiceFilter(
        field_name="object_kind", choices=sorted(KINDS.items(), key=lambda item: item[1]),
        label="Kind of thing", empty_label="Anything",
    )  # fmt: skip
    person = filters.CharFilter(
        field_name="actor_name", lookup_expr="icontains", label="Person",
        widget=forms.TextInput(attrs={"placeholder": "Person"}),
    )  # fmt: skip
    address = filters.CharFilter(
        method="from_address", label="Address",
        widget=forms.TextInput(attrs={"placeholder": "From address", "inputmode": "decimal"}),
    )  # fmt: skip
    since = filters.DateFilter(method="from_day", label="From day", widget=_day())
    until = filters.DateFilter(method="to_day", label="To day", widget=_day())
    object = filters.UUIDFilter(field_name="object_id", label="Thing", widget=forms.HiddenInput())

    class Meta:
        model = AuditEvent
        fields: list[str] = []

    def search(self, rows: Any, name: str, value: str) -> Any:
        text = value.strip()
        return rows.filter(
            Q(object_name__icontains=text)
            | Q(actor_name__icontains=text)
            | Q(tenant_name__icontains=text)
            | Q(action__icontains=text)
        )

    def at_site(self, rows: Any, name: str, value: Site) -> Any:
        return rows.filter(site_id=value.id)

    def from_address(self, rows: Any, name: str, value: str) -> Any:
        # Only where the address may be seen: else this would tell it, a digit at a time.
        return rows.filter(whence=True, ip__startswith=value.strip())

    def from_day(self, rows: Any, name: str, value: date) -> Any:
        return rows.filter(created_at__gte=_moment(value, time.min))

    def to_day(self, rows: Any, name: str, value: date) -> Any:
        return rows.filter(created_at__lte=_moment(value, time.max))


def _moment(day: date, at: time) -> datetime:
    """In the person's own zone."""
    return timezone.make_aware(datetime.combine(day, at))


class AuditTable(tables.Table):  # type: ignore[misc]
    action = tables.Column(orderable=False, verbose_name="What")
    actor_name = tables.Column(orderable=False, verbose_name="Who", attrs=WIDE)
    tenant_name = tables.Column(orderable=False, verbose_name="Customer", attrs=WIDE)
    ip = tables.Column(empty_values=(), orderable=False, verbose_name="From", attrs=WIDER)
    created_at = tables.Column(verbose_name="When")

    class Meta:
        order_by = ("-created_at",)

    def render_action(self, record: AuditEvent) -> SafeString:
        return format_html(
            '<a class="name" href="/audit/{}/">{}</a><div class="sub">{} {}</div>'
            '<div class="sub d-md-none">{}</div>',
            record.id,
            action_words(record.action),
            kind_words(record.object_kind),
            record.object_name,
            record.actor_name,
        )

    def render_actor_name(self, record: AuditEvent) -> SafeString:
        known = record.actor_kind in ("person", "system")
        kind = "" if known else record.get_actor_kind_display()
        return format_html('{}<div class="sub">{}</div>', record.actor_name, kind)

    def render_ip(self, record: AuditEvent) -> SafeString:
        if not record.whence or not record.ip:  # type: ignore[attr-defined]
            return NOTHING
        return format_html(
            '<span class="mono">{}</span><div class="sub">{}</div>', record.ip, record.user_agent
        )

    def render_created_at(self, record: AuditEvent) -> SafeString:
        return ago(record.created_at)


def _whence(name: str) -> Any:
    return lambda row: getattr(row, name) if row.whence else ""


class AuditView(ListPage):
    permission = PERMISSION
    template_name = "pages/audit.html"
    table_class = AuditTable
    filters_class = AuditFilters
    name = "audit"
    columns = (
        ("when", lambda row: row.created_at.isoformat()),
        ("number", lambda row: row.link.seq if hasattr(row, "link") else ""),
        ("action", lambda row: row.action),
        ("who", lambda row: row.actor_name),
        ("kind_of_who", lambda row: row.actor_kind),
        ("customer", lambda row: row.tenant_name),
        ("thing", lambda row: row.object_kind),
        ("name", lambda row: row.object_name),
        ("thing_id", lambda row: row.object_id),
        ("before", lambda row: json.dumps(row.before, ensure_ascii=False)),
        ("after", lambda row: json.dumps(row.after, ensure_ascii=False)),
        ("from", _whence("ip")),
        ("with", _whence("user_agent")),
        ("credential", _whence("credential")),
        ("id", lambda row: row.id),
        ("hash", lambda row: bytes(row.link.hash).hex() if hasattr(row, "link") else ""),
    )

    def rows(self) -> "QuerySet[AuditEvent]":
        events = AuditEvent.objects.allowed(self.user, PERMISSION)
        return events.with_whence(self.user).select_related("link")

    def get(self, request: HttpRequest) -> HttpResponseBase:
        if request.GET.get("format") != "jsonl":
            return super().get(request)
        found = AuditFilters(request.GET, queryset=self.rows(), request=request)
        table = AuditTable(found.qs, order_by=sorts(AuditTable, request.GET))
        rows = Ordering(found.qs, paths_of(table)).sorted(found.qs).iterator(chunk_size=500)
        list_exported(actor=self.actor, list_name=self.name, query=request.GET, format_="JSON")
        return _json_lines(request, rows, self.columns)

    def about(self) -> dict[str, Any]:
        return {
            "title": "Audit",
            "lead": "Who did what, to what, and from where. Nobody can change what stands here.",
            "events": [],
            "action": None,
            "chains": chains_told(self.user),
            "empty": (
                "history",
                "Nothing has been done yet",
                "Every change by a person, a token or Basalt itself is noted here.",
            ),
        }


def chains_told(user: User) -> list[dict[str, Any]]:
    """How far the chains are verified, for those who read a whole MSP's log. Two queries."""
    roots = Tenant.objects.allowed(user, PERMISSION).filter(parent=None)
    checked = AuditVerification.objects.filter(chain_id__in=roots.values("id")).order_by("name")
    marks = AuditCheckpoint.objects.filter(chain_id__in=roots.values("id"))
    latest = {row.chain_id: row for row in marks.order_by("seq", "made_at")[:5000]}
    return [{"checked": row, "mark": latest.get(row.chain_id)} for row in checked]


def _json_lines(
    request: HttpRequest, rows: Iterable[AuditEvent], columns: Any
) -> StreamingHttpResponse:
    """A line of JSON for each, sent as they are read."""
    objects = {"before": "before", "after": "after"}

    def lines() -> Iterator[str]:
        for row in rows:
            said = {name: value(row) for name, value in columns if name not in objects}
            said |= {name: getattr(row, field) for name, field in objects.items()}
            yield json.dumps(said, ensure_ascii=False, default=str) + "\n"

    made = lines()

    def part() -> str:
        return "".join(islice(made, 500))

    async def in_parts() -> Any:
        # In the request's own thread, as database connections belong to threads.
        while text := await sync_to_async(part)():
            yield text

    content: Any = in_parts() if isinstance(request, ASGIRequest) else made
    answer = StreamingHttpResponse(content, content_type="application/jsonl; charset=utf-8")
    day = timezone.localtime().strftime("%Y-%m-%d")
    answer["Content-Disposition"] = f'attachment; filename="basalt-audit-{day}.jsonl"'
    return answer


class AuditEventView(PageView):
    """One event, with what was before beside what was after."""

    permission = PERMISSION
    template_name = "pages/audit_event.html"

    def get(self, request: HttpRequest, audit_event_id: str) -> HttpResponse:
        rows = AuditEvent.objects.with_whence(self.user).select_related("link")
        event = self.one(rows, id=audit_event_id)
        link = getattr(event, "link", None)
        return self.page(
            {
                "event": event,
                "what": action_words(event.action),
                "kind": kind_words(event.object_kind),
                "values": _side_by_side(event),
                "link": link,
                "service": self._service(event),
                "hash": bytes(link.hash).hex() if link else "",
                "thing": self._thing(event),
                "gone": DeletedTenant.objects.filter(id=event.tenant_id).first()
                if event.tenant_id
                else None,
                "site": Site.objects.allowed(self.user, "site.view")
                .filter(id__in=[event.site_id] if event.site_id else [])
                .first(),
            }
        )

    def _service(self, event: AuditEvent) -> ServiceAccount | None:
        """The service account that did it, if it is there yet: who made it is for every reader."""
        if event.actor_kind != AuditEvent.ActorKind.SERVICE:
            return None
        with system_scope("who reads what an account did may know who answers for it"):
            return ServiceAccount.objects.filter(user=event.actor_id).first()

    def _thing(self, event: AuditEvent) -> Any:
        """Where the thing's own page is, if it is there yet and may be seen."""
        kinds: dict[str, tuple[Any, str]] = {
            "vm": (VirtualMachine.objects.select_related("tenant"), "vm.view"),
            "hypervisor": (Hypervisor.objects.select_related("tenant"), "hypervisor.view"),
            "site": (Site.objects.select_related("tenant"), "site.view"),
            "tenant": (Tenant.objects.all(), "tenant.view"),
        }
        if event.object_kind not in kinds or event.object_id is None:
            return None
        rows, permission = kinds[event.object_kind]
        return rows.allowed(self.user, permission).filter(id=event.object_id).first()


def _side_by_side(event: AuditEvent) -> list[dict[str, Any]]:
    names = dict.fromkeys([*event.before, *event.after])
    return [
        {
            "name": name.replace("_", " "),
            "before": _text(event.before.get(name)) if name in event.before else "",
            "after": _text(event.after.get(name)) if name in event.after else "",
            "changed": event.before.get(name) != event.after.get(name),
        }
        for name in names
    ]


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if value is None:
        return "—"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list) and all(isinstance(item, str | int) for item in value):
        return ", ".join(map(str, value))
    return json.dumps(value, ensure_ascii=False, indent=2)
