"""Invitations as those see them who send them."""

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from portal.views.base import PageView, tell_form
from portal.views.forms.people import InvitationForm
from portal.views.lists import ListPage
from portal.views.people_filters import InvitationFilters
from portal.views.people_tables import InvitationTable
from tenants.errors import RuleError
from tenants.models import Invitation, Membership, Tenant
from tenants.services.invitation_mail import invitation_link, invitation_mail, mail_is_set_up
from tenants.services.invitations import invitation_create, invitation_renew, invitation_revoke


class InvitationsView(ListPage):
    permission = "user.view"
    table_class = InvitationTable
    filters_class = InvitationFilters
    template_name = "pages/invitations.html"
    name = "invitations"
    columns = (
        ("email", lambda row: row.email),
        ("state", lambda row: row.state),
        ("tenant", lambda row: row.tenant.name),
        ("role", lambda row: row.role.name),
        ("until", lambda row: row.membership_expires_at and row.membership_expires_at.isoformat()),
        ("invited_by", lambda row: row.invited_by or ""),
        ("sent", lambda row: row.sent_at.isoformat()),
        ("link_expires", lambda row: row.expires_at.isoformat()),
        ("id", lambda row: row.id),
    )

    def rows(self) -> "QuerySet[Invitation]":
        return Invitation.objects.allowed(self.user, "user.view").select_related(
            "tenant", "role", "invited_by"
        )

    def for_table(self) -> dict[str, Any]:
        managed = Tenant.objects.allowed(self.user, "user.manage").order_by()
        return {"manageable": set(managed.values_list("id", flat=True))}

    def about(self) -> dict[str, Any]:
        return {
            "title": "Invitations",
            "lead": "Who was invited to what. An invitation changes nothing until it is accepted.",
            "events": ["invitation"],
            "action": ("invitation-new", "Invite somebody", "user.manage"),
            "empty": (
                "mail",
                "Nobody has been invited",
                (
                    "Send a link to somebody's e-mail address. Whoever opens it chooses a "
                    "password, and gets the role that you chose."
                ),
            ),
        }


class InvitationPage(PageView):
    """One invitation. `told` says what became of its message, and shows the link where it must be
    passed on by hand: this once."""

    permission = "user.manage"
    template_name = "pages/invitation_sent.html"

    def invitation(self, invitation_id: UUID) -> Invitation:
        return self.one(Invitation.objects.select_related("tenant", "role"), pk=invitation_id)

    def send(self, invitation: Invitation, secret: str) -> HttpResponse:
        if invitation_mail(invitation=invitation, secret=secret):
            messages.success(self.request, f"The invitation is on its way to {invitation.email}.")
            return redirect("invitations")
        return self.page(
            {
                "invitation": invitation,
                "link": invitation_link(secret),
                "mail_is_set_up": mail_is_set_up(),
            }
        )


class InvitationCreateView(InvitationPage):
    permission = "user.manage"

    def get(self, request: HttpRequest) -> HttpResponse:
        self._must_be_allowed()
        initial = {"tenant": request.GET.get("customer")}
        return self._form(InvitationForm(user=self.user, initial=initial))

    def post(self, request: HttpRequest) -> HttpResponse:
        self._must_be_allowed()
        form = InvitationForm(request.POST, user=self.user)
        if not form.is_valid():
            return self._form(form, status=422)
        try:
            invitation, secret = invitation_create(actor=self.actor, **form.wishes())
        except RuleError as refusal:
            tell_form(form, refusal)
            return self._form(form, status=422)
        return self.send(invitation, secret)

    def _form(self, form: InvitationForm, *, status: int = 200) -> HttpResponse:
        return self.page(
            {"form": form, "mail_is_set_up": mail_is_set_up()},
            template="pages/invitation_new.html",
            status=status,
        )

    def _must_be_allowed(self) -> None:
        if self.permission not in Membership.objects.permissions_of(self.user):
            raise PermissionDenied


class InvitationRenewView(InvitationPage):
    permission = "user.manage"

    def post(self, request: HttpRequest, invitation_id: UUID) -> HttpResponse:
        try:
            invitation, secret = invitation_renew(
                actor=self.actor, invitation=self.invitation(invitation_id)
            )
        except RuleError as refusal:
            messages.error(request, refusal.message)
            return redirect("invitations")
        return self.send(invitation, secret)


class InvitationRevokeView(InvitationPage):
    permission = "user.manage"

    def post(self, request: HttpRequest, invitation_id: UUID) -> HttpResponse:
        invitation = self.invitation(invitation_id)

        def revoke() -> str:
            invitation_revoke(actor=self.actor, invitation=invitation)
            return f"The link that {invitation.email} was sent opens nothing any more."

        self.attempt(revoke)
        return redirect("invitations")
