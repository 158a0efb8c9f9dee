"""The reach of a person, and changing it: memberships, denials, single sites and VMs."""

from collections.abc import Callable
from typing import Any

from django import forms
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse

from portal.views.base import PageView, tell_form
from portal.views.forms.access import (
    DenialForm,
    GrantForm,
    MembershipChangeForm,
    MembershipForm,
)
from tenants.errors import RuleError
from tenants.models import AccessRule, Membership, Tenant, User
from tenants.services.memberships import (
    access_deny,
    access_grant,
    access_rule_end,
    membership_add,
    membership_change,
    membership_end,
)
from tenants.services.reach import explain, people_of
from tenants.services.see_as import SeeAsError, see_as_check

_FIELDS = {"expires_at": "until"}


class ReachPage(PageView):
    """The person named in the address. Actions on their access are subclasses."""

    template_name = "pages/reach.html"

    def person(self, user_id: str) -> User:
        found = people_of(self.user, self.permission).filter(pk=user_id).first()
        if found is None:
            raise Http404
        return found

    def reach_page(self, person: User, *, status: int = 200, **context: Any) -> HttpResponse:
        explained = explain(person, self.user)
        told = [one for one in explained if one.state != "out" or one.reasons or one.parts]
        managed = set(Tenant.objects.allowed(self.user, "user.manage").values_list("id", flat=True))
        may_change = bool(managed) and person != self.user
        if may_change:
            context = {**self._forms(person, managed, context.pop("typed", {})), **context}
        return self.page(
            {
                "here": reverse("person-reach", args=(person.pk,)),
                "person": person,
                "told": told,
                "untold": len(explained) - len(told),
                "managed": managed,
                "may_change": may_change,
                "why_not_see_as": self._why_not_see_as(person) if may_change else "",
                "open_dialog": "",
                **context,
            },
            status=status,
        )

    def _forms(self, person: User, managed: set[Any], typed: dict[Any, Any]) -> dict[str, Any]:
        """Every dialog's form, as it is when nothing was typed; or `typed`, by membership."""
        members = Membership.objects.filter(user=person, tenant__in=managed)
        rules = AccessRule.objects.allowed(self.user, "user.manage").filter(user=person)
        return {
            "memberships": [
                (row, typed.get(row.pk) or MembershipChangeForm(user=self.user, membership=row))
                for row in members.select_related("tenant", "role").order_by("created_at")
            ],
            "rules": rules.select_related("tenant", "site", "vm", "role"),
            "add": MembershipForm(user=self.user),
            "denial": DenialForm(user=self.user),
            "grant": GrantForm(user=self.user),
        }

    def _why_not_see_as(self, person: User) -> str:
        try:
            see_as_check(viewer=self.user, user=person)
        except SeeAsError as refusal:
            return refusal.message
        return ""


class PersonReachView(ReachPage):
    permission = "user.view"

    def get(self, request: HttpRequest, user_id: str) -> HttpResponse:
        return self.reach_page(self.person(user_id))


class AccessFormView(ReachPage):
    """A form that gives or takes; refused, the page shows it again with the reason."""

    permission = "user.manage"
    dialog = ""
    form_class: type[forms.Form]
    service: Callable[..., Any]

    def post(self, request: HttpRequest, user_id: str) -> HttpResponse:
        person = self.person(user_id)
        form: Any = self.form_class(request.POST, user=self.user)  # type: ignore[call-arg]
        if form.is_valid():
            try:
                type(self).service(actor=self.actor, user=person, **form.wishes())
            except RuleError as refusal:
                tell_form(form, refusal, **_FIELDS)
            else:
                return redirect("person-reach", user_id=person.pk)
        context = {self.dialog: form, "open_dialog": self.dialog}
        return self.reach_page(person, status=422, **context)


class MembershipAddView(AccessFormView):
    permission = "user.manage"
    dialog, form_class = "add", MembershipForm
    service = staticmethod(membership_add)


class DenialAddView(AccessFormView):
    permission = "user.manage"
    dialog, form_class = "denial", DenialForm
    service = staticmethod(access_deny)


class GrantAddView(AccessFormView):
    permission = "user.manage"
    dialog, form_class = "grant", GrantForm
    service = staticmethod(access_grant)


class MembershipChangeView(ReachPage):
    permission = "user.manage"

    def post(self, request: HttpRequest, membership_id: str) -> HttpResponse:
        membership = self.one(
            Membership.objects.select_related("user", "tenant", "role"), id=membership_id
        )
        form = MembershipChangeForm(request.POST, user=self.user, membership=membership)
        if form.is_valid():
            wishes = form.wishes()
            if "until" not in form.changed_data:
                wishes["expires_at"] = membership.expires_at
            try:
                membership_change(actor=self.actor, membership=membership, **wishes)
            except RuleError as refusal:
                tell_form(form, refusal, **_FIELDS)
            else:
                return redirect("person-reach", user_id=membership.user_id)
        dialog = f"change-{membership.pk.hex}"
        return self.reach_page(
            membership.user, status=422, typed={membership.pk: form}, open_dialog=dialog
        )


class MembershipEndView(PageView):
    permission = "user.manage"

    def post(self, request: HttpRequest, membership_id: str) -> HttpResponse:
        membership = self.one(
            Membership.objects.select_related("user", "tenant", "role"), id=membership_id
        )

        def end() -> str:
            membership_end(actor=self.actor, membership=membership)
            return f"{membership.user} is no longer {membership.role.name} of {membership.tenant}."

        self.attempt(end)
        return redirect("person-reach", user_id=membership.user_id)


class AccessRuleEndView(PageView):
    permission = "user.manage"

    def post(self, request: HttpRequest, rule_id: str) -> HttpResponse:
        rule = self.one(AccessRule.objects.select_related("user", "role"), id=rule_id)

        def end() -> str:
            access_rule_end(actor=self.actor, rule=rule)
            if rule.role is None:
                return f"{rule.thing} is kept from {rule.user} no longer."
            return f"{rule.user} is no longer {rule.role.name} of {rule.thing}."

        self.attempt(end)
        return redirect("person-reach", user_id=rule.user_id)
