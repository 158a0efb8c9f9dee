"""One's own account: name, time zone and SSH keys."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse

from portal.views.base import SIGNED_IN, PageView
from portal.views.forms.account import ProfileForm
from tenants.models import AccessRule, ApiToken, Membership
from tenants.services.people import user_change


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
                "tokens": ApiToken.objects.good().filter(user=person).count(),
                "memberships": Membership.objects.current()
                .filter(user=person)
                .select_related("tenant", "role"),
                "grants": AccessRule.objects.grants(person).select_related("role", "site", "vm"),
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
