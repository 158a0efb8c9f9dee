"""What all pages share: who may see them, how they are drawn, how refusals are told."""

from collections.abc import Callable
from typing import Any, ClassVar, TypeVar
from urllib.parse import urlencode

from django import forms
from django.contrib import messages
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import ImproperlyConfigured, ObjectDoesNotExist
from django.db import models
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.cache import add_never_cache_headers
from django.views import View

from tenants.actor import Actor
from tenants.errors import RuleError
from tenants.models import Membership, User
from tenants.models.holdings import Along
from tenants.permissions import check_known
from tenants.services.second_person_rules import SecondPersonNeededError

SIGNED_IN = "signed-in"
"""In place of a permission, on pages about nothing but the person themselves."""
ANYBODY = "anybody"
"""In place of a permission, on pages that a secret in their address opens."""

M = TypeVar("M", bound=models.Model)


class PageView(View):
    """One page, or one action of it. A view that declares no permission does not answer."""

    permission: ClassVar[str]
    template_name: ClassVar[str] = ""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        declared = getattr(cls, "permission", None)
        if declared is not None and declared not in (SIGNED_IN, ANYBODY):
            check_known(declared)

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if not hasattr(self, "permission"):
            raise ImproperlyConfigured(f"{type(self).__name__} declares no permission")
        if self.permission != ANYBODY and not request.user.is_authenticated:
            return redirect_to_login(request.get_full_path())
        try:
            response = super().dispatch(request, *args, **kwargs)
        except SecondPersonNeededError as needed:
            response = self._ask_second_person(needed)
        except ObjectDoesNotExist as error:
            # Found, and deleted by somebody else before it was locked.
            raise Http404 from error
        # What a person may see to-day is nobody else's, and not for the back button either.
        add_never_cache_headers(response)
        return response

    def _ask_second_person(self, needed: SecondPersonNeededError) -> HttpResponseBase:
        """What one person can't do, leads to where they ask for another."""
        if "agreement.manage" not in Membership.objects.permissions_of(self.user):
            messages.error(
                self.request, f"{needed.why} Your role can't ask for one: ask a colleague to do it."
            )
            return redirect("dashboard")
        query = urlencode({"kind": needed.kind.name, "row": needed.row_id, "option": needed.option})
        return redirect(f"{reverse('second-person-ask')}?{query}")

    @property
    def user(self) -> User:
        assert isinstance(self.request.user, User)  # noqa: S101 - dispatch saw to it
        return self.request.user

    @property
    def actor(self) -> Actor:
        actor: Actor = self.request.actor  # type: ignore[attr-defined]
        return actor

    def one(self, rows: "models.QuerySet[M]", *, permission: str | None = None, **lookup: Any) -> M:
        """The one row that the person may see. Raises Http404 alike for none and not theirs."""
        allowed = rows.allowed(self.user, permission or self.permission)  # type: ignore[attr-defined]
        found = allowed.filter(**lookup).first()
        if found is None:
            raise Http404
        row: M = found
        return row

    def may(self, row: models.Model) -> frozenset[str]:
        """What the person may do on this tenant or row of one, for leaving out buttons."""
        return Membership.objects.permissions_on(self.user, row)

    def along(self, row: models.Model) -> Along:
        """The same for its site and tenant too, for leaving out links to what is not theirs."""
        return Membership.objects.permissions_along(self.user, row)

    def page(
        self, context: dict[str, Any], *, template: str | None = None, status: int = 200
    ) -> HttpResponse:
        """The page; or, for a part of it that asks again, the page without its frame. `here` in
        the context is the page's own address, where it answers an action on it."""
        layout = "layouts/part.html" if self.request.htmx else "layouts/page.html"  # type: ignore[attr-defined]
        return render(
            self.request,
            template or self.template_name,
            {"layout": layout, **context},
            status=status,
        )

    def attempt(self, action: Callable[[], str | None]) -> bool:
        """Do it and tell the sentence it answers, or tell why a rule forbids it."""
        try:
            done = action()
        except RuleError as refusal:
            messages.error(self.request, refusal.message)
            return False
        if done:
            messages.success(self.request, done)
        return True


def tell_form(form: forms.Form, refusal: RuleError, **renamed: str) -> None:
    """Put a refusal beside the field it is about. `renamed`: the service's name for a field
    to the form's, where they differ."""
    field = renamed.get(refusal.field or "", refusal.field)
    form.add_error(field if field in form.fields else None, refusal.message)
