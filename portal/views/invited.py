"""The page that the link of an invitation opens."""

from typing import Any

from allauth.account.utils import perform_login
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.utils.cache import add_never_cache_headers

from portal.views.base import ANYBODY, PageView, tell_form
from portal.views.forms.people import NewAccountForm
from tenants.errors import RuleError
from tenants.middleware import actor_for
from tenants.models import Invitation
from tenants.scope import sign_in_scope
from tenants.services.invitations import (
    AccountExistsError,
    invitation_accept,
    invitation_accept_new,
    invitation_by_secret,
)


class InvitedView(PageView):
    """The same for an address with an account and without: whoever only looks learns nothing."""

    permission = ANYBODY
    template_name = "pages/invited.html"

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        response = super().dispatch(request, *args, **kwargs)
        add_never_cache_headers(response)
        return response

    def get(self, request: HttpRequest, secret: str) -> HttpResponse:
        return self._page(secret)

    def post(self, request: HttpRequest, secret: str) -> HttpResponse:
        if request.user.is_authenticated:
            return self._as_oneself(secret)
        return self._as_somebody_new(secret)

    def _as_oneself(self, secret: str) -> HttpResponse:
        try:
            invitation_accept(actor=self.actor, secret=secret)
        except RuleError as refusal:
            return self._page(secret, refusal=refusal)
        return redirect("dashboard")

    def _as_somebody_new(self, secret: str) -> HttpResponse:
        try:
            invitation = invitation_by_secret(secret)
        except RuleError as refusal:
            return self._page(secret, refusal=refusal)
        form = NewAccountForm(self.request.POST, email=invitation.email)
        if not form.is_valid():
            return self._page(secret, form=form, status=422)
        try:
            _, user = invitation_accept_new(
                actor=actor_for(self.request), secret=secret, **form.cleaned_data
            )
        except AccountExistsError as refusal:
            tell_form(form, refusal)
            return self._page(secret, form=form, status=422)
        except RuleError as refusal:
            return self._page(secret, refusal=refusal)
        with sign_in_scope():
            signed_in: HttpResponse = perform_login(
                self.request, user, email_verification="none", redirect_url="/"
            )
        return signed_in

    def _page(
        self,
        secret: str,
        *,
        form: NewAccountForm | None = None,
        refusal: RuleError | None = None,
        status: int = 200,
    ) -> HttpResponse:
        invitation: Invitation | None = None
        if refusal is None:
            try:
                invitation = invitation_by_secret(secret)
            except RuleError as closed:
                refusal = closed
        context: dict[str, Any] = {
            "here": self.request.path,
            "invitation": invitation,
            "refusal": refusal,
            "inviter": invitation and invitation.invited_by,
        }
        if invitation is not None:
            context["form"] = form or NewAccountForm(email=invitation.email)
            user = self.request.user
            context["is_me"] = (
                user.is_authenticated and user.email.lower() == invitation.email.lower()
            )
        return render(
            self.request,
            self.template_name,
            context,
            status=refusal.status if refusal is not None else status,
        )
