"""Tables of people and of invitations. A cell is escaped by `format_html`, always."""

import django_tables2 as tables
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from portal.templatetags.basalt import ago, icon, invitation_state, person_state
from portal.views.tables import NOTHING, WIDE, WIDER
from tenants.models import AccessRule, Invitation, Membership, User
from tenants.words import until_words

_SHOWN = 3


def membership_words(held: Membership | AccessRule) -> str:
    """ "Customer operator of Alder Ltd, until Friday 27 Nov"; of a single site or VM, too."""
    thing = held.tenant if isinstance(held, Membership) else held.thing
    words = f"{held.role.name if held.role else ''} of {thing}"
    if has_ended(held):
        return f"{words} (ended)"
    ends = until_words(held.expires_at)
    return f"{words}, {ends}" if ends else words


def has_ended(held: Membership | AccessRule) -> bool:
    """Whether it gives nothing any more."""
    return held.expires_at is not None and held.expires_at <= timezone.now()


class PeopleTable(tables.Table):  # type: ignore[misc]
    name = tables.Column(order_by=("name", "email"), empty_values=())
    state = tables.Column(verbose_name="State", accessor="id", orderable=False, empty_values=())
    roles = tables.Column(
        verbose_name="Roles", accessor="id", orderable=False, empty_values=(), attrs=WIDE
    )
    second_factor = tables.Column(
        verbose_name="Second factor",
        accessor="id",
        orderable=False,
        empty_values=(),
        attrs=WIDER,
    )
    last_seen = tables.Column(verbose_name="Last seen", attrs=WIDE, empty_values=())

    class Meta:
        order_by = ("name",)

    def render_name(self, record: User) -> SafeString:
        address = reverse("person", args=(record.pk,))
        return format_html(
            '<a class="name" href="{}">{}</a><div class="sub">{}</div>',
            address,
            record.name or record.email,
            record.email,
        )

    def render_state(self, record: User) -> SafeString:
        return person_state(record)

    def render_roles(self, record: User) -> SafeString:
        seen = [*record.seen_memberships, *record.seen_grants]  # type: ignore[attr-defined]
        held = [one for one in seen if not has_ended(one)] or seen
        if not held:
            return NOTHING
        lines = format_html_join(
            "", "<div>{}</div>", [(membership_words(one),) for one in held[:_SHOWN]]
        )
        if len(held) > _SHOWN:
            more = len(held) - _SHOWN
            lines += format_html('<div class="sub">and {} more</div>', more)
        return lines

    def render_second_factor(self, record: User) -> SafeString:
        known: dict[object, bool] = getattr(self, "second_factors", {})
        if record.pk not in known:
            return NOTHING
        if known[record.pk]:
            return format_html('<span class="state state-good">{}Yes</span>', icon("shield-check"))
        return format_html('<span class="state state-idle">{}No</span>', icon("x"))

    def render_last_seen(self, record: User) -> SafeString:
        return ago(record.last_seen)  # type: ignore[attr-defined]


class InvitationTable(tables.Table):  # type: ignore[misc]
    email = tables.Column(verbose_name="E-mail")
    state = tables.Column(verbose_name="State", accessor="id", orderable=False, empty_values=())
    tenant = tables.Column(verbose_name="To", order_by=("tenant__name", "role__name"), attrs=WIDE)
    invited_by = tables.Column(
        verbose_name="By", order_by="invited_by__email", empty_values=(), attrs=WIDER
    )
    sent_at = tables.Column(verbose_name="Sent", attrs=WIDE)
    expires_at = tables.Column(verbose_name="Link good", attrs=WIDER)
    act = tables.Column(
        empty_values=(),
        orderable=False,
        accessor="id",
        verbose_name="",
        attrs={"td": {"class": "tight"}},
    )

    class Meta:
        order_by = ("-sent_at",)

    def render_email(self, record: Invitation) -> SafeString:
        ends = until_words(record.membership_expires_at)
        return format_html(
            '<span class="name">{}</span><div class="sub">{}{}</div>'
            '<div class="sub d-md-none">{}</div>',
            record.email,
            record.role.name,
            f", {ends}" if ends else "",
            record.tenant.name,
        )

    def render_state(self, record: Invitation) -> SafeString:
        return invitation_state(record)

    def render_tenant(self, record: Invitation) -> str:
        return record.tenant.name

    def render_invited_by(self, record: Invitation) -> str:
        return str(record.invited_by or "somebody above")

    def render_sent_at(self, record: Invitation) -> SafeString:
        return ago(record.sent_at)

    def render_expires_at(self, record: Invitation) -> str:
        return until_words(record.expires_at) if record.state == Invitation.State.OPEN else "—"

    def render_act(self, record: Invitation) -> SafeString:
        if record.state in {Invitation.State.ACCEPTED, Invitation.State.REVOKED}:
            return SafeString("")
        if record.tenant_id not in getattr(self, "manageable", ()):
            return SafeString("")
        return format_html_join(
            "",
            '<button class="btn btn-plain btn-sm" type="submit" form="act" formaction="{}" '
            'title="{}" aria-label="{} the invitation of {}">{}<span class="d-none d-lg-inline">{}'
            "</span></button> ",
            [
                (reverse(name, args=(record.pk,)), words, words, record.email, icon(image), words)
                for name, words, image in (
                    ("invitation-renew", "Send again", "send"),
                    ("invitation-revoke", "Take back", "x"),
                )
            ],
        )
