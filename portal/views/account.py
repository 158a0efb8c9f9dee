"""One's own account: name, time zone, and tokens for the API."""

from datetime import timedelta
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone

from portal.views.base import SIGNED_IN, PageView
from portal.views.forms.account import ProfileForm, TokenForm
from tenants.models import AccessRule, ApiToken, Membership
from tenants.services.people import api_token_create, api_token_revoke, user_change


class AccountPage(PageView):
    permission = SIGNED_IN
    template_name = "pages/account.html"

    def account_page(self, *, status: int = 200, **context: Any) -> HttpResponse:
        person = self.user
        return self.page(
            {
                "here": reverse("account"),
                "profile": ProfileForm(
                    initial={
                        "name": person.name,
                        "time_zone": person.time_zone,
                        "ssh_keys": "\n".join(person.ssh_keys),
                    }
                ),
                "token_form": TokenForm(),
                "tokens": ApiToken.objects.filter(user=person, revoked_at=None),
                "memberships": Membership.objects.current()
                .filter(user=person)
                .select_related("tenant", "role"),
                "grants": AccessRule.objects.grants(person).select_related("role", "site", "vm"),
                "now": timezone.now(),
                **context,
            },
            status=status,
        )


class AccountView(AccountPage):
    permission = SIGNED_IN

    def get(self, request: HttpRequest) -> HttpResponse:
        return self.account_page()

    def post(self, request: HttpRequest) -> HttpResponse:
        form = ProfileForm(request.POST)
        if not form.is_valid():
            return self.account_page(profile=form, status=422)

        def change() -> str:
            user_change(actor=self.actor, user=self.user, **form.cleaned_data)
            return "Your account is changed."

        self.attempt(change)
        return redirect("account")


class TokenCreateView(AccountPage):
    """Makes a token, and shows its secret in the answer: once."""

    permission = SIGNED_IN

    def post(self, request: HttpRequest) -> HttpResponse:
        form = TokenForm(request.POST)
        if not form.is_valid():
            return self.account_page(token_form=form, status=422)
        days = form.cleaned_data["days"]
        _, secret = api_token_create(
            actor=self.actor,
            user=self.user,
            name=form.cleaned_data["name"],
            expires_at=timezone.now() + timedelta(days=int(days)) if days else None,
        )
        return self.account_page(secret=secret)


class TokenRevokeView(AccountPage):
    permission = SIGNED_IN

    def post(self, request: HttpRequest, token_id: str) -> HttpResponse:
        token = ApiToken.objects.filter(user=self.user, id=token_id).first()
        if token is None:
            raise Http404

        def revoke() -> str:
            api_token_revoke(actor=self.actor, token=token)
            return f"The token “{token.name}” opens nothing any more."

        self.attempt(revoke)
        return redirect("account")
