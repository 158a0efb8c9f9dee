"""Tokens of the API: one's own, and a person's, for whoever manages them everywhere."""

from collections.abc import Collection
from typing import Any
from uuid import UUID

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse

from portal.views.base import SIGNED_IN, PageView, tell_form
from portal.views.forms.tokens import TokenForm
from portal.views.people import PersonPage
from tenants.errors import RuleError
from tenants.models import Membership, Tenant, User
from tenants.permissions import by_subject
from tenants.services.comparing import managed_by
from tenants.services.people import api_token_create, api_token_revoke
from tenants.services.tokens_read import token_words, tokens_of


class TokenPage(PageView):
    """Tokens of an account with the form for another; the answer to it shows the secret, once."""

    def token_form(self, data: Any = None) -> TokenForm:
        reached = Tenant.objects.allowed(self.user, "tenant.view").order_by("name")
        return TokenForm(data, user=self.user, tenants=reached)

    def token_context(self, owner: User, form: TokenForm, held: Collection[str]) -> dict[str, Any]:
        return {
            "tokens": token_words(tokens_of(owner)),
            "token_form": form,
            "subjects": [
                (subject, [(n, words, n in form.chosen, n in held) for n, words in some])
                for subject, some in by_subject()
            ],
            "origin": settings.BASALT_ORIGIN,
        }

    def token_made(self, owner: User, form: TokenForm) -> dict[str, Any] | None:
        """The new token and its secret for the page; None where the form tells why not."""
        if form.is_valid():
            try:
                token, secret = api_token_create(actor=self.actor, user=owner, **form.wishes())
            except RuleError as refusal:
                tell_form(form, refusal, expires_at="days")
            else:
                return {"secret": secret, "made": token}
        return None


class TokensView(TokenPage):
    """One's own."""

    permission = SIGNED_IN
    template_name = "pages/tokens.html"

    def get(self, request: HttpRequest) -> HttpResponse:
        return self.tokens_page(self.token_form())

    def post(self, request: HttpRequest) -> HttpResponse:
        form = self.token_form(request.POST)
        made = self.token_made(self.user, form)
        if made is None:
            return self.tokens_page(form, status=422)
        return self.tokens_page(self.token_form(), **made)

    def tokens_page(self, form: TokenForm, *, status: int = 200, **context: Any) -> HttpResponse:
        held = Membership.objects.permissions_of(self.user)
        return self.page(
            {
                "here": reverse("tokens"),
                **self.token_context(self.user, form, held),
                **context,
            },
            status=status,
        )


class TokenRevokeView(PageView):
    permission = SIGNED_IN

    def post(self, request: HttpRequest, token_id: UUID) -> HttpResponse:
        token = tokens_of(self.user).filter(pk=token_id).first()
        if token is None:
            raise Http404

        def revoke() -> str:
            api_token_revoke(actor=self.actor, token=token)
            return f"The token “{token.name}” opens nothing any more."

        self.attempt(revoke)
        return redirect("tokens")


class PersonTokenRevokeView(PersonPage):
    """Of somebody whom one manages wherever they have access."""

    permission = "user.manage"

    def post(self, request: HttpRequest, person_id: UUID, token_id: UUID) -> HttpResponse:
        person = self.person(person_id)
        token = tokens_of(person).filter(pk=token_id).first()
        if token is None or not managed_by(person, self.user):
            raise Http404

        def revoke() -> str:
            api_token_revoke(actor=self.actor, token=token)
            return f"The token “{token.name}” of {person} opens nothing any more."

        self.attempt(revoke)
        return redirect("person", person_id=person.pk)
