"""Many rows of a list at once: first what will happen to each, then, confirmed, it is done."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar
from uuid import UUID

from django.contrib import messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.safestring import SafeString

from portal.views.base import PageView
from tenants.actor import Actor
from tenants.errors import RuleError
from tenants.models import Membership
from tenants.services.second_person import asked_words, rows_wanted, second_person_ask
from tenants.services.second_person_kinds import kind_named
from tenants.services.second_person_mail import second_person_ask_mail
from tenants.services.second_person_people import agreers, in_words
from tenants.services.second_person_rules import (
    NOT_NEEDED,
    Needed,
    SecondPersonNeededError,
    second_person_needed,
)

MOST_AT_ONCE = 100
_TOLD = 5
"""Refusals that are told one by one; of more, only how many."""


@dataclass(frozen=True)
class Button:
    """One under a list's rows: leads to the preview of `action`, on the page named `page`."""

    page: str
    action: str
    permission: str
    icon: str
    words: str


@dataclass(frozen=True)
class Fate:
    """What would happen to one row. `why_not` is empty where it will."""

    what: str
    why_not: str = ""


@dataclass(frozen=True)
class Action:
    """Something that can be done to many rows."""

    verb: str
    """ "Start", on the page and its button."""
    done: str
    """ "being started", told afterwards."""
    icon: str
    fate: Callable[[Any], Fate]
    carry_out: Callable[[Actor, Any], object]
    loss: str = ""
    """What is lost for good. It makes the button red."""
    typed: bool = False
    """Whether the number of rows must be typed to confirm."""
    kind: str = ""
    """What a second person is asked about, where it destroys something."""


@dataclass(frozen=True)
class Plan:
    """One row of the preview."""

    row: Any
    name: str
    url: str
    under: str
    state: SafeString
    fate: Fate


class BulkPage(PageView):
    """A list's actions on many rows. Only rows on which the person holds `permission` count."""

    template_name = "pages/bulk.html"
    needed: Needed
    """Of the rows at hand, those that a second person must agree to."""
    list_name: ClassVar[str]
    nouns: ClassVar[tuple[str, str]]
    """One, and many: "VM", "VMs"."""
    followed_at: ClassVar[str]
    """The page where one sees what becomes of it."""
    follow: ClassVar[str] = ""

    def actions(self) -> dict[str, Action]:
        raise NotImplementedError

    def rows(self) -> "QuerySet[Any]":
        """All rows that the person may do this to."""
        raise NotImplementedError

    def describe(self, row: Any) -> tuple[str, str, str, SafeString]:
        """A row's name, its page, what stands under its name, and its state."""
        raise NotImplementedError

    def get(self, request: HttpRequest) -> HttpResponse:
        return redirect(self.list_name)

    def post(self, request: HttpRequest) -> HttpResponse:
        action = self.actions().get(request.POST.get("action", ""))
        if action is None:
            return redirect(self.list_name)
        ids = {text for text in request.POST.getlist("chosen") if _is_uuid(text)}
        one, many = self.nouns
        if not ids:
            messages.error(request, f"Choose at least one {one}, then press the button again.")
            return redirect(self.list_name)
        if len(ids) > MOST_AT_ONCE:
            messages.error(
                request, f"That is {len(ids)} {many}. Choose at most {MOST_AT_ONCE} at a time."
            )
            return redirect(self.list_name)
        plans = [self._plan(row, action) for row in self.rows().filter(id__in=ids)]
        self.needed = self._needed(action, plans)
        unseen = len(ids) - len(plans)
        if "confirmed" not in request.POST:
            return self._preview(action, plans, unseen=unseen)
        # The preview sends along the rows that it said it would touch, and no others.
        if action.typed and request.POST.get("count", "").strip() != str(len(ids)):
            wrong = "This is not their number. Nothing was done."
            return self._preview(action, plans, unseen=unseen, wrong=wrong)
        do = self._confirm_asking if self.needed else self._carry_out
        return do(action, plans)

    def _confirm_asking(self, action: Action, plans: list[Plan]) -> HttpResponse:
        """Ask for what needs a second person, then do the rest."""
        try:
            asked = self._ask(action, plans)
        except RuleError as refusal:
            return self._preview(action, plans, unseen=0, no_ask=refusal.message)
        rest = [plan for plan in plans if plan.row.pk not in self.needed.ids]
        if rest:
            self._carry_out(action, rest)
        messages.success(self.request, asked)
        return redirect("second-person")

    def _needed(self, action: Action, plans: list[Plan]) -> Needed:
        """Which rows a second person must agree to."""
        kind = kind_named(action.kind)
        rows = [plan.row for plan in plans if not plan.fate.why_not]
        if kind is None:
            return NOT_NEEDED
        return second_person_needed(actor=self.actor, kind=kind, rows=rows)

    def _ask(self, action: Action, plans: list[Plan]) -> str:
        """Ask for those rows that need it, as they were previewed. Raises RuleError."""
        kind = kind_named(action.kind)
        assert kind is not None  # noqa: S101 - else nothing is needed
        if "agreement.manage" not in Membership.objects.permissions_of(self.user):
            raise RuleError("Your role can't ask a second person. Ask a colleague to do it.")
        ids = [plan.row.pk for plan in plans if plan.row.pk in self.needed.ids]
        made = second_person_ask(
            actor=self.actor,
            kind=kind,
            rows=rows_wanted(kind, self.user, ids),
            reason=self.request.POST.get("reason", ""),
        )
        second_person_ask_mail(made)
        return asked_words(kind, ids)

    def _plan(self, row: Any, action: Action) -> Plan:
        return Plan(row, *self.describe(row), fate=action.fate(row))

    def _preview(
        self,
        action: Action,
        plans: list[Plan],
        *,
        unseen: int,
        wrong: str = "",
        no_ask: str = "",
    ) -> HttpResponse:
        doable = [plan for plan in plans if not plan.fate.why_not]
        return self.page(
            {
                "action": action,
                "action_name": self.request.POST["action"],
                "plans": plans,
                "doable": doable,
                "noun": self.nouns[len(doable) != 1],
                "nouns": self.nouns,
                "unseen": unseen,
                "list_name": self.list_name,
                "here": self.request.path,
                "wrong": wrong,
                "needed": self.needed,
                "who": self._who(action, plans),
                "no_ask": no_ask,
            },
            status=422 if wrong or no_ask else 200,
        )

    def _who(self, action: Action, plans: list[Plan]) -> str:
        """Who could agree, in words."""
        kind = kind_named(action.kind)
        if kind is None or not self.needed:
            return ""
        rows = [plan.row for plan in plans if plan.row.pk in self.needed.ids]
        return in_words(agreers(kind, rows, but=self.user), reader=self.user)

    def _carry_out(self, action: Action, plans: list[Plan]) -> HttpResponse:
        done, refused = 0, []
        for plan in plans:
            if plan.fate.why_not:
                refused.append(f"{plan.name} is left alone: {plan.fate.why_not}.")
                continue
            try:
                action.carry_out(self.actor, plan.row)
                done += 1
            except RuleError as refusal:
                refused.append(f"{plan.name}: {refusal.message}")
            except SecondPersonNeededError as needed:
                refused.append(f"{plan.name}: {needed.why} Choose it again to ask for one.")
        if done:
            words = f"{done} {self.nouns[done != 1]} {'is' if done == 1 else 'are'} {action.done}."
            messages.success(self.request, f"{words} {self.follow}".strip())
        for sentence in refused[:_TOLD]:
            messages.error(self.request, sentence)
        if len(refused) > _TOLD:
            messages.error(
                self.request, f"{len(refused) - _TOLD} more were left alone, for such reasons."
            )
        return redirect(self.followed_at if done else self.list_name)


def _is_uuid(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True
