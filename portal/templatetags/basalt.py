"""Tags and filters of the pages. Everything they are given is escaped."""

import json
import re
from contextlib import suppress
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django import template
from django.forms import BoundField
from django.templatetags.static import static
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe
from django.utils.timesince import timesince

from hypervisors.models import Hypervisor, Job
from hypervisors.services.job_kinds import job_kind_labels
from portal.views import states
from portal.views.audit_words import action_words
from portal.views.boot_words import nic_look
from tenants.models import Invitation, Site, User
from tenants.words import until_words
from vms.models import Nic, VirtualMachine

register = template.Library()

GIB = 1024**3
_EVENT = re.compile(r"\A[a-z]+(:[0-9a-f-]{36})?\Z")


@register.simple_tag
def icon(name: str, extra: str = "") -> SafeString:
    """An icon of the sprite. Decoration: the word beside it says the same."""
    return format_html(
        '<svg class="icon {}" aria-hidden="true" focusable="false" width="20" height="20" '
        'viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="1.75" '
        'stroke-linecap="round" stroke-linejoin="round"><use href="{}#{}"/></svg>',
        extra,
        static("dist/icons.svg"),
        name,
    )


def _state(look: states.Look, size: str = "", test_id: str = "") -> SafeString:
    attributes = format_html_join(
        "",
        ' {}="{}"',
        [(key, value) for key, value in (("title", look.hint), ("data-testid", test_id)) if value],
    )
    return format_html(
        '<span class="state state-{} {}"{}>{}{}</span>',
        look.tone,
        size,
        attributes,
        icon(look.icon, "spin" if look.spin else ""),
        look.word,
    )


@register.simple_tag(name="state")
def state(look: states.Look, size: str = "", test_id: str = "") -> SafeString:
    """A look that its page has found out itself."""
    return _state(look, size, test_id)


@register.simple_tag
def vm_state(
    vm: VirtualMachine, job_kind: str | None = None, size: str = "", test_id: str = ""
) -> SafeString:
    return _state(states.vm_look(vm, job_kind), size, test_id)


@register.simple_tag
def host_state(host: Hypervisor, size: str = "") -> SafeString:
    return _state(states.host_look(host), size)


@register.simple_tag
def site_state(site: Site) -> SafeString:
    return _state(states.site_look(site))


@register.filter
def site_tone(site: Site) -> str:
    """The colour of a site on the dashboard."""
    return states.site_look(site).tone


@register.simple_tag
def job_state(job: Job, size: str = "") -> SafeString:
    return _state(states.job_look(job), size)


@register.simple_tag
def cloud_init_state(vm: VirtualMachine) -> SafeString:
    return _state(states.cloud_init_look(vm), test_id="vm-cloud-init")


@register.simple_tag
def look_state(look: states.Look, test_id: str = "") -> SafeString:
    """Of a look that a view has made."""
    return _state(look, test_id=test_id)


@register.simple_tag
def nic_metadata_state(nic: Nic) -> SafeString:
    return _state(nic_look(nic), test_id="nic-metadata-state")


@register.simple_tag
def person_state(person: User) -> SafeString:
    """Of one that `people_for_list` found."""
    return _state(states.person_look(person), test_id="person-state")


@register.simple_tag
def invitation_state(invitation: Invitation) -> SafeString:
    return _state(states.invitation_look(invitation), test_id="invitation-state")


@register.simple_tag
def job_tone(status: str) -> str:
    """The colour of a step of a job."""
    return states.job_look(Job(status=status)).tone


@register.filter
def job_label(kind: str) -> str:
    """ "vm.create" to "Create VM"."""
    return job_kind_labels().get(kind, kind)


@register.filter(name="action_words")
def audit_action(action: str) -> str:
    """ "vm.create" to "Created a VM"."""
    return action_words(action)


@register.simple_tag
def ago(at: datetime | None, zone: str = "", never: str = "never") -> SafeString:
    """How long ago, with the exact time, and the site's own time, on hover."""
    if at is None:
        return format_html('<span class="muted">{}</span>', never)
    title = f"{timezone.localtime(at):%a %d %b %Y %H:%M:%S %Z}"
    if zone:
        with suppress(ZoneInfoNotFoundError, ValueError):
            title += f" · at the site {timezone.localtime(at, ZoneInfo(zone)):%d %b %H:%M %Z}"
    return format_html(
        '<time class="nowrap" datetime="{}" title="{}" data-ago>{}</time>',
        at.isoformat(),
        title,
        _ago_words(at),
    )


def _ago_words(at: datetime) -> str:
    if (timezone.now() - at).total_seconds() < 60:
        return "just now"
    return f"{timesince(at, depth=1)} ago"


@register.filter
def until(at: datetime | None) -> str:
    """ "until Friday 27 Nov"; "" for what does not end."""
    return until_words(at)


@register.filter
def duration(job: Job) -> str:
    """How long a job took, or has taken so far, in words."""
    seconds = ((job.finished_at or timezone.now()) - job.created_at).total_seconds()
    if seconds < 60:
        return f"{max(round(seconds), 0)} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


@register.filter
def gib(size: float | None) -> str:
    """Bytes as GiB (or TiB)."""
    if size is None:
        return "—"
    if 0 < size < GIB / 10:
        return f"{max(size / 1024**2, 0.1):.1f}".removesuffix(".0") + " MiB"
    amount = size / GIB
    if amount >= 10_000:
        return f"{amount / 1024:.1f} TiB"
    return f"{amount:.1f}".removesuffix(".0") + " GiB" if amount < 100 else f"{amount:.0f} GiB"


@register.filter
def mib(size: float | None) -> str:
    """MiB as GiB, or as MiB below one."""
    if size is None:
        return "—"
    if size < 1024 and size % 512:
        return f"{size:.0f} MiB"
    return f"{size / 1024:.1f}".removesuffix(".0") + " GiB"


@register.filter
def percent_of(part: float | None, whole: float | None) -> int:
    """0 to 100."""
    if not part or not whole:
        return 0
    return max(0, min(100, round(part / whole * 100)))


@register.filter
def fullness(percent: int) -> str:
    """The colour of a bar this full."""
    return "bad" if percent >= 92 else "warn" if percent >= 80 else ""


@register.filter(name="json")
def as_json(value: Any) -> str:
    """JSON for a data attribute. Escaped as all text is."""
    return json.dumps(value)


@register.filter
def initials(name: str) -> str:
    words = [word for word in re.split(r"[\s.@_-]+", name) if word]
    return "".join(word[0] for word in words[:2]).upper()


@register.simple_tag(takes_context=True)
def live(context: template.Context, part: str, *events: str) -> SafeString:
    """Attributes by which the part of the page with the id `part` asks again, when one of
    `events` ("vm", "vm:<id>") was announced, and while the live socket is down."""
    wanted = [event for event in events if _EVENT.match(event)]
    trigger = ", ".join(f"live:{name} from:body delay:60ms" for name in [*wanted, "poll"])
    return format_html(
        'id="{}" hx-get="{}" hx-trigger="{}" hx-select="#{}" hx-swap="morph" hx-target="this"',
        part,
        context.get("here") or context["request"].get_full_path(),
        trigger,
        part,
    )


@register.filter
def event(kind: str, object_id: Any) -> str:
    """ "vm" and an id to "vm:<id>", for `live`."""
    return f"{kind}:{object_id}"


@register.simple_tag
def control(field: BoundField, **attributes: Any) -> SafeString:
    """A form's control with what makes it whole: classes, its error and hint, data-testid."""
    widget = field.field.widget
    kind = type(widget).__name__
    known = widget.attrs.get("class", "")
    base = "form-select" if "Select" in kind else "form-control"
    if kind == "CheckboxInput":
        base = "form-check-input"
    extra: dict[str, Any] = {
        key.replace("_", "-").replace("x-bind-", "x-bind:"): value
        for key, value in attributes.items()
    }
    extra["class"] = " ".join(filter(None, [base, known, extra.pop("class", "")]))
    described = []
    if field.errors:
        extra["class"] += " is-invalid"
        extra["aria-invalid"] = "true"
        described.append(f"{field.id_for_label}-error")
    if field.help_text:
        described.append(f"{field.id_for_label}-hint")
    extra["aria-describedby"] = " ".join(described) or None
    return mark_safe(  # noqa: S308 - a widget escapes its own values
        field.as_widget(attrs={key: value for key, value in extra.items() if value is not None})
    )


@register.simple_tag(takes_context=True)
def query(context: template.Context, **changes: Any) -> str:
    """This page's query string with some keys changed; None drops a key."""
    values = context["request"].GET.copy()
    for key, value in changes.items():
        values.pop(key, None)
        if value is not None:
            values[key] = str(value)
    encoded = values.urlencode()
    return f"?{encoded}" if encoded else "?"
