"""A second person for what destroys many things: asking, agreeing, and when it is wanted."""

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse

from portal.views.base import PageView
from tenants.errors import RuleError
from tenants.models import Membership, SecondPersonRequest, SecondPersonRule, Tenant
from tenants.services.house import of_the_house
from tenants.services.second_person import (
    asked_words,
    cannot_decide,
    kind_of,
    rows_wanted,
    second_person_ask,
    second_person_carry_out,
    second_person_decide,
    second_person_withdraw,
)
from tenants.services.second_person_kinds import Kind, kind_named
from tenants.services.second_person_mail import (
    second_person_answer_mail,
    second_person_ask_mail,
)
from tenants.services.second_person_people import agreers, in_words
from tenants.services.second_person_rules import second_person_rule_set

_SHOWN = 30


class SecondPersonView(PageView):
    """What waits for a second person, what came of it, and the rules."""

    permission = "agreement.manage"
    template_name = "pages/second_person.html"

    def get(self, request: HttpRequest) -> HttpResponse:
        may = Membership.objects.permissions_of(self.user)
        if not may & {self.permission, "consent.manage"}:
            raise PermissionDenied
        requests = SecondPersonRequest.objects.allowed(self.user, self.permission)
        requests = requests.select_related("tenant", "decided_by")
        waiting = list(requests.waiting()[:_SHOWN])
        for wish in waiting:
            wish.cannot = cannot_decide(self.user, wish)  # type: ignore[attr-defined]
        over = requests.exclude(pk__in=[wish.pk for wish in waiting])[:_SHOWN]
        return self.page(
            {
                "here": reverse("second-person"),
                "waiting": [_shown(wish) for wish in waiting],
                "over": [_shown(wish) for wish in over],
                "rules": self._rules(may),
                "tab": "second-person",
            }
        )

    def _rules(self, may: frozenset[str]) -> list[dict[str, Any]]:
        """Of the tenants that the person speaks for."""
        if "consent.manage" not in may:
            return []
        tenants = Tenant.objects.allowed(self.user, "consent.manage")[:_SHOWN]
        own = [one for one in tenants if of_the_house(self.user, one, "consent.manage")]
        rules = SecondPersonRule.objects.filter(
            tenant__in={pk for tenant in own for pk in tenant.line()}
        ).select_related("tenant")
        return [
            {
                "tenant": tenant,
                "rule": next((rule for rule in rules if rule.tenant_id == tenant.pk), None),
                "above": [rule for rule in rules if rule.tenant_id in tenant.line()[1:]],
            }
            for tenant in own
        ]

    def post(self, request: HttpRequest) -> HttpResponse:
        wish = self.one(
            SecondPersonRequest.objects.select_related("tenant"),
            pk=_uuid(request.POST.get("second", "")),
        )
        decision = request.POST.get("decision", "")
        if decision == "withdraw":
            self.attempt(lambda: self._withdraw(wish))
        elif decision in ("agree", "refuse"):
            self.attempt(lambda: self._decide(wish, agree=decision == "agree"))
        else:
            raise Http404
        return redirect("second-person")

    def _withdraw(self, wish: SecondPersonRequest) -> str:
        second_person_withdraw(actor=self.actor, request=wish)
        return "Taken back. Nothing is done."

    def _decide(self, wish: SecondPersonRequest, *, agree: bool) -> str | None:
        word = self.request.POST.get("word", "")
        wish = second_person_decide(actor=self.actor, request=wish, agree=agree, word=word)
        if agree:
            wish = second_person_carry_out(wish.pk)
        second_person_answer_mail(wish)
        if not agree:
            return f"Refused. Nothing is done, and {wish.asker_name} is told."
        for thing in wish.skipped[:5]:
            messages.error(self.request, f"{thing['name']} is left alone: {thing['told']}")
        kind, done = kind_of(wish), wish.done
        if not done:
            return None
        return (
            f"{done} {kind.nouns[done != 1]} {'is' if done == 1 else 'are'} {kind.done}. What a "
            "host has to do is under Activity."
        )


class SecondPersonAskView(PageView):
    """Asking about one thing, which its own page did not do."""

    permission = "agreement.manage"
    template_name = "pages/second_person_ask.html"

    def get(self, request: HttpRequest) -> HttpResponse:
        return self._page(request.GET)

    def post(self, request: HttpRequest) -> HttpResponse:
        kind, row, option = self._wanted(request.POST)
        try:
            made = second_person_ask(
                actor=self.actor,
                kind=kind,
                rows=[row],
                reason=request.POST.get("reason", ""),
                option=option,
            )
        except RuleError as refusal:
            return self._page(request.POST, refusal.message)
        second_person_ask_mail(made)
        messages.success(request, asked_words(kind, [row.pk]))
        return redirect("second-person")

    def _wanted(self, asked: Any) -> tuple[Kind, Any, str]:
        kind, row_id = kind_named(asked.get("kind", "")), _uuid(asked.get("row", ""))
        option = asked.get("option", "")
        rows = rows_wanted(kind, self.user, [row_id]) if kind else []
        if kind is None or not rows or not kind.option_good(option):
            raise Http404
        return kind, rows[0], option

    def _page(self, asked: Any, wrong: str = "") -> HttpResponse:
        kind, row, option = self._wanted(asked)
        return self.page(
            {
                "kind": kind,
                "row": row,
                "option": option,
                "thing": kind.thing(row, option),
                "tenant": kind.tenant(row),
                "who": in_words(agreers(kind, [row], but=self.user), reader=self.user),
                "reason": asked.get("reason", ""),
                "wrong": wrong,
            },
            status=422 if wrong else 200,
        )


class SecondPersonRuleView(PageView):
    """From how many things on a second person is wanted; or not any more."""

    permission = "consent.manage"

    def post(self, request: HttpRequest) -> HttpResponse:
        tenant = self.one(Tenant.objects.all(), pk=_uuid(request.POST.get("tenant", "")))
        wanted = request.POST.get("threshold", "")
        threshold = int(wanted) if wanted.isascii() and wanted.isdigit() and len(wanted) < 4 else 0

        def set_rule() -> str:
            off = request.POST.get("wanted") == "no"
            second_person_rule_set(
                actor=self.actor, tenant=tenant, threshold=None if off else threshold
            )
            if off:
                return f"In {tenant.name}, one person is enough."
            things = "thing" if threshold == 1 else "things"
            return f"In {tenant.name}, a second person agrees from {threshold} {things} on."

        self.attempt(set_rule)
        return redirect("second-person")


def _shown(wish: SecondPersonRequest) -> dict[str, Any]:
    kind, count = kind_named(wish.kind), len(wish.things)
    what = f"{kind.verb} {count} {kind.nouns[count != 1]}" if kind else wish.kind
    return {"wish": wish, "what": what}


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError as error:
        raise Http404 from error
