"""Roles: what each may do, and composing one's own."""

from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from portal.views.base import PageView, tell_form
from portal.views.forms.access import RoleForm
from tenants.errors import RuleError
from tenants.models import Membership, Role, Tenant
from tenants.permissions import BUILT_IN_ROLES, by_subject
from tenants.services.roles import role_change, role_create, role_delete


class RolesView(PageView):
    """All that can be given, as one table of roles by permissions."""

    permission = "user.view"
    template_name = "pages/roles.html"

    def get(self, request: HttpRequest) -> HttpResponse:
        found = Role.objects.allowed(self.user, self.permission).select_related("tenant")
        order = {slug: number for number, slug in enumerate(BUILT_IN_ROLES)}
        roles = sorted(
            found, key=lambda role: (role.tenant is not None, order.get(role.slug, 99), role.name)
        )
        if not Tenant.objects.allowed(self.user, self.permission).exists():
            raise PermissionDenied
        mine = Role.objects.allowed(self.user, "role.manage").values_list("id", flat=True)
        return self.page(
            {
                "roles": roles,
                "mine": set(mine),
                "subjects": [
                    (subject, [(name, words, _holders(roles, name)) for name, words in some])
                    for subject, some in by_subject()
                ],
                "may_make": _may_make(self),
            }
        )


def _holders(roles: list[Role], permission: str) -> list[tuple[Role, bool]]:
    return [(role, permission in role.permissions) for role in roles]


def _may_make(page: PageView) -> bool:
    return Tenant.objects.allowed(page.user, "role.manage").exists()


class RolePage(PageView):
    permission = "role.manage"
    template_name = "pages/role.html"

    def form_page(
        self, form: RoleForm, role: Role | None = None, *, status: int = 200
    ) -> HttpResponse:
        held = Membership.objects.permissions_of(self.user, role.tenant if role else None)
        return self.page(
            {
                "role": role,
                "form": form,
                "subjects": [
                    (subject, [(n, words, n in form.chosen, n in held) for n, words in some])
                    for subject, some in by_subject()
                ],
                "users": role.memberships.count() + role.access_rules.count() if role else 0,
            },
            status=status,
        )


class RoleCreateView(RolePage):
    """`?from=` the id of a role to begin with."""

    permission = "role.manage"

    def get(self, request: HttpRequest) -> HttpResponse:
        self._must_be_allowed()
        initial: dict[str, Any] = {}
        known = Role.objects.allowed(self.user, "user.view")
        # As text: whatever stands there, only a role's own id is equal to one.
        wanted = request.GET.get("from", "")
        for role in known if wanted else ():
            if str(role.pk) == wanted:
                initial = {"name": f"{role.name} (copy)", "permissions": role.permissions}
        return self.form_page(RoleForm(user=self.user, initial=initial))

    def post(self, request: HttpRequest) -> HttpResponse:
        self._must_be_allowed()
        form = RoleForm(request.POST, user=self.user)
        if form.is_valid():
            try:
                role_create(actor=self.actor, **form.cleaned_data)
            except RuleError as refusal:
                tell_form(form, refusal)
            else:
                return redirect("roles")
        return self.form_page(form, status=422)

    def _must_be_allowed(self) -> None:
        if not _may_make(self):
            raise PermissionDenied


class RoleChangeView(RolePage):
    permission = "role.manage"

    def get(self, request: HttpRequest, role_id: str) -> HttpResponse:
        role = self.one(Role.objects.select_related("tenant"), id=role_id)
        initial = {"name": role.name, "permissions": role.permissions}
        return self.form_page(RoleForm(user=self.user, role=role, initial=initial), role)

    def post(self, request: HttpRequest, role_id: str) -> HttpResponse:
        role = self.one(Role.objects.select_related("tenant"), id=role_id)
        form = RoleForm(request.POST, user=self.user, role=role)
        if form.is_valid():
            try:
                role_change(actor=self.actor, role=role, **form.cleaned_data)
            except RuleError as refusal:
                tell_form(form, refusal)
            else:
                return redirect("roles")
        return self.form_page(form, role, status=422)


class RoleDeleteView(PageView):
    permission = "role.manage"

    def post(self, request: HttpRequest, role_id: str) -> HttpResponse:
        role = self.one(Role.objects.select_related("tenant"), id=role_id)

        def delete() -> str:
            role_delete(actor=self.actor, role=role)
            return f"The role {role.name} is deleted."

        self.attempt(delete)
        return redirect("roles")
