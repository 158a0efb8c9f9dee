"""Service accounts: the list, and one of them with its roles and tokens."""

from typing import Any
from uuid import UUID

from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse

from portal.views.base import PageView, tell_form
from portal.views.forms.tokens import ServiceAccountForm, ServiceAccountWordsForm, TokenForm
from portal.views.lists import ListPage
from portal.views.people_tables import membership_words
from portal.views.service_account_list import ServiceAccountFilters, ServiceAccountTable
from portal.views.tokens import TokenPage
from tenants.errors import RuleError
from tenants.models import Membership, Role, ServiceAccount, Tenant
from tenants.scope import system_scope
from tenants.services.comparing import surplus_of
from tenants.services.people import api_token_revoke
from tenants.services.service_accounts import (
    service_account_change,
    service_account_close,
    service_account_create,
    service_account_delete,
    service_account_open,
)
from tenants.services.tokens_read import service_accounts_for_list, tokens_of


class ServiceAccountsView(ListPage):
    permission = "user.view"
    table_class = ServiceAccountTable
    filters_class = ServiceAccountFilters
    name = "service-accounts"
    columns = (
        ("name", lambda row: row.name),
        ("tenant", lambda row: row.tenant.name),
        ("state", lambda row: "open" if row.user.is_active else "closed"),
        ("roles", lambda row: "; ".join(map(membership_words, row.user.seen_memberships))),
        ("tokens", lambda row: len(row.user.seen_tokens)),
        ("made_by", lambda row: row.made_by_name),
        ("id", lambda row: row.id),
    )

    def rows(self) -> "QuerySet[ServiceAccount]":
        return service_accounts_for_list(self.user)

    def about(self) -> dict[str, Any]:
        return {
            "title": "Service accounts",
            "lead": "What scripts and other systems work as. Nobody signs in as one.",
            "events": ["person"],
            "action": ("service-account-new", "Make a service account", "user.manage"),
            "empty": (
                "settings",
                "No service account yet",
                (
                    "A backup, a deployment or a monitor should not work with a person's own "
                    "token: it would stop when they leave. Give each its own account, with a role "
                    "as small as its work, and a token."
                ),
            ),
        }


class ServiceAccountCreateView(PageView):
    permission = "user.manage"
    template_name = "pages/service_account_new.html"

    def get(self, request: HttpRequest) -> HttpResponse:
        return self.page({"form": self.form()})

    def post(self, request: HttpRequest) -> HttpResponse:
        form = self.form(request.POST)
        if form.is_valid():
            try:
                account = service_account_create(actor=self.actor, **form.cleaned_data)
            except RuleError as refusal:
                tell_form(form, refusal)
            else:
                return redirect("service-account", account_id=account.pk)
        return self.page({"form": form}, status=422)

    def form(self, data: Any = None) -> ServiceAccountForm:
        tenants = Tenant.objects.allowed(self.user, self.permission).order_by("-kind", "name")
        if not tenants.exists():
            raise PermissionDenied
        roles = Role.objects.allowed(self.user, "user.view")
        held = Membership.objects.permissions_of(self.user)
        return ServiceAccountForm(
            data, tenants=tenants, roles=roles.filter(permissions__contained_by=sorted(held))
        )


class ServiceAccountPage(TokenPage):
    """The account named in the address. Actions on it are subclasses."""

    template_name = "pages/service_account.html"

    def account(self, account_id: UUID) -> ServiceAccount:
        rows = service_accounts_for_list(self.user, self.permission)
        found = rows.filter(pk=account_id).first()
        if found is None:
            raise Http404
        return found

    def account_page(
        self,
        account: ServiceAccount,
        form: TokenForm | None = None,
        *,
        status: int = 200,
        **context: Any,
    ) -> HttpResponse:
        may = self.may(account)
        with system_scope("what it may do may be beyond whoever looks"):
            held = Membership.objects.permissions_of(account.user)
        words = {"name": account.name, "description": account.description}
        manages = "user.manage" in may
        return self.page(
            {
                "here": reverse("service-account", args=(account.pk,)),
                "account": account,
                "roles": [membership_words(row) for row in account.user.seen_memberships],  # type: ignore[attr-defined]
                "manages": manages,
                "beyond": manages and bool(surplus_of(account.user, self.user)),
                "words_form": ServiceAccountWordsForm(initial=words),
                "open_dialog": "",
                **self.token_context(account.user, form or self.token_form(), held),
                **context,
            },
            status=status,
        )


class ServiceAccountView(ServiceAccountPage):
    permission = "user.view"

    def get(self, request: HttpRequest, account_id: UUID) -> HttpResponse:
        return self.account_page(self.account(account_id))


class ServiceAccountTokenView(ServiceAccountPage):
    """Makes a token, and shows its secret in the answer: once."""

    permission = "user.manage"

    def post(self, request: HttpRequest, account_id: UUID) -> HttpResponse:
        account = self.account(account_id)
        form = self.token_form(request.POST)
        made = self.token_made(account.user, form)
        if made is None:
            return self.account_page(account, form, status=422)
        return self.account_page(account, **made)


class ServiceAccountTokenRevokeView(ServiceAccountPage):
    permission = "user.manage"

    def post(self, request: HttpRequest, account_id: UUID, token_id: UUID) -> HttpResponse:
        account = self.account(account_id)
        token = tokens_of(account.user).filter(pk=token_id).first()
        if token is None:
            raise Http404

        def revoke() -> str:
            api_token_revoke(actor=self.actor, token=token)
            return f"The token “{token.name}” opens nothing any more."

        self.attempt(revoke)
        return redirect("service-account", account_id=account.pk)


class ServiceAccountChangeView(ServiceAccountPage):
    permission = "user.manage"

    def post(self, request: HttpRequest, account_id: UUID) -> HttpResponse:
        account = self.account(account_id)
        form = ServiceAccountWordsForm(request.POST)
        if form.is_valid():
            try:
                service_account_change(actor=self.actor, account=account, **form.cleaned_data)
            except RuleError as refusal:
                tell_form(form, refusal)
            else:
                return redirect("service-account", account_id=account.pk)
        return self.account_page(account, words_form=form, open_dialog="change", status=422)


class ServiceAccountCloseView(ServiceAccountPage):
    permission = "user.manage"

    def post(self, request: HttpRequest, account_id: UUID) -> HttpResponse:
        account = self.account(account_id)

        def close() -> str:
            ended = service_account_close(actor=self.actor, account=account)
            tokens = f"{ended} token{'s' * (ended != 1)}"
            return f"{account} is closed, and {tokens} revoked. Whatever works as it has stopped."

        self.attempt(close)
        return redirect("service-account", account_id=account.pk)


class ServiceAccountOpenView(ServiceAccountPage):
    permission = "user.manage"

    def post(self, request: HttpRequest, account_id: UUID) -> HttpResponse:
        account = self.account(account_id)

        def open_again() -> str:
            service_account_open(actor=self.actor, account=account)
            return f"{account} may work again. Make it a new token."

        self.attempt(open_again)
        return redirect("service-account", account_id=account.pk)


class ServiceAccountDeleteView(ServiceAccountPage):
    permission = "user.manage"

    def post(self, request: HttpRequest, account_id: UUID) -> HttpResponse:
        account = self.account(account_id)
        if request.POST.get("name", "").strip() != account.name:
            return self.account_page(
                account,
                open_dialog="delete",
                delete_problem=f"Type “{account.name}” to delete it.",
                status=422,
            )

        def delete() -> str:
            service_account_delete(actor=self.actor, account=account)
            return f"{account} is deleted, with its roles and tokens."

        if self.attempt(delete):
            return redirect("service-accounts")
        return redirect("service-account", account_id=account_id)
