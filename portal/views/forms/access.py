"""Forms for roles, memberships and exceptions."""

from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django import forms
from django.db.models import Q, QuerySet

from tenants.models import Membership, Role, Site, Tenant, User
from tenants.permissions import PERMISSIONS
from vms.models import VirtualMachine


class RoleForm(forms.Form):
    use_required_attribute = False

    tenant = forms.ModelChoiceField(
        label="Of",
        queryset=Tenant.objects.none(),
        to_field_name="slug",
        empty_label=None,
        help_text="It can be given there, and to all below.",
    )
    name = forms.CharField(label="Name", max_length=100)
    permissions = forms.MultipleChoiceField(
        label="What it may do",
        choices=list(PERMISSIONS.items()),
        widget=forms.CheckboxSelectMultiple,
        error_messages={"required": "Choose at least one permission."},
    )

    def __init__(self, *args: Any, user: User, role: Role | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if role is not None:
            del self.fields["tenant"]
            return
        _choices(
            self, "tenant", Tenant.objects.allowed(user, "role.manage").order_by("-kind", "name")
        )

    @property
    def chosen(self) -> set[str]:
        """Names of the permissions that are ticked."""
        return set(self["permissions"].value() or ())


class EndField(forms.DateField):
    """The last day of something; without one it goes on. `end` makes it a moment."""

    widget = forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d")

    def __init__(self, **options: Any) -> None:
        options.setdefault("label", "Until")
        options.setdefault("help_text", "The last day. Empty: until somebody ends it.")
        super().__init__(required=False, **options)


def _end(form: forms.Form, user: User) -> datetime | None:
    """The end of the day, where the person is who gives it."""
    day = form.cleaned_data["until"]
    if day is None:
        return None
    after = datetime.combine(day + timedelta(days=1), time(), tzinfo=ZoneInfo(user.time_zone))
    return after.astimezone(UTC)


class MembershipForm(forms.Form):
    prefix = "membership"
    use_required_attribute = False

    tenant = forms.ModelChoiceField(
        label="Of", queryset=Tenant.objects.none(), to_field_name="slug", empty_label=None
    )
    role = forms.ModelChoiceField(
        label="Role", queryset=Role.objects.none(), empty_label="Choose one"
    )
    until = EndField()

    def __init__(self, *args: Any, user: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.user = user
        _choices(self, "tenant", _manageable(user))
        _choices(self, "role", _givable(user))

    def wishes(self) -> dict[str, Any]:
        """What `membership_add` asks for."""
        data = self.cleaned_data
        return {
            "tenant": data["tenant"], "role": data["role"], "expires_at": _end(self, self.user),
        }  # fmt: skip


class MembershipChangeForm(forms.Form):
    prefix = "change"
    use_required_attribute = False

    role = forms.ModelChoiceField(
        label="Role", queryset=Role.objects.none(), empty_label="Choose one"
    )
    until = EndField()

    def __init__(
        self, *args: Any, user: User, membership: Membership | None = None, **kwargs: Any
    ) -> None:
        if membership is not None:
            zone = ZoneInfo(user.time_zone)
            ends = membership.expires_at
            last = (ends - timedelta(seconds=1)).astimezone(zone).date() if ends else None
            kwargs["initial"] = {"role": membership.role_id, "until": last}
            kwargs["auto_id"] = f"id_{membership.pk}_%s"
        super().__init__(*args, **kwargs)
        self.user = user
        _choices(self, "role", _givable(user))
        if membership is not None:
            _choices(self, "role", _givable(user, membership.tenant) | _one(membership.role_id))

    def wishes(self) -> dict[str, Any]:
        """What `membership_change` asks for."""
        return {"role": self.cleaned_data["role"], "expires_at": _end(self, self.user)}


class ThingForm(forms.Form):
    """A customer, or a site or a VM of one, by its name: nobody scrolls through 10,000 VMs."""

    use_required_attribute = False
    wholes = True

    tenant = forms.ModelChoiceField(
        label="Customer", queryset=Tenant.objects.none(), to_field_name="slug", empty_label=None
    )
    part = forms.ChoiceField(label="Which part of it")
    name = forms.CharField(label="Name of the site or VM", max_length=100, required=False)
    until = EndField()

    def __init__(self, *args: Any, user: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.user = user
        _choices(self, "tenant", _manageable(user))
        part = self.fields["part"]
        assert isinstance(part, forms.ChoiceField)  # noqa: S101 - declared above
        whole = [("all", "All of it")] if self.wholes else []
        part.choices = [*whole, ("site", "One site"), ("vm", "One VM")]

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        if self.errors:
            return data
        tenant, part, name = data["tenant"], data["part"], data["name"].strip()
        if part == "all":
            data["thing"] = tenant
            return data
        rows: Any = Site.objects.all() if part == "site" else VirtualMachine.objects.all()
        allowed = rows.allowed(self.user, "site.view" if part == "site" else "vm.view")
        data["thing"] = allowed.filter(tenant=tenant, name__iexact=name).first()
        if data["thing"] is None:
            kind = "site" if part == "site" else "VM"
            self.add_error("name", f"{tenant.name} has no {kind} of this name that you may see.")
        return data

    def wishes(self) -> dict[str, Any]:
        """What `access_deny` asks for."""
        return {"thing": self.cleaned_data["thing"], "expires_at": _end(self, self.user)}


class DenialForm(ThingForm):
    prefix = "denial"


class GrantForm(ThingForm):
    prefix = "grant"
    wholes = False

    role = forms.ModelChoiceField(
        label="Role", queryset=Role.objects.none(), empty_label="Choose one"
    )
    field_order = ["tenant", "part", "name", "role", "until"]

    def __init__(self, *args: Any, user: User, **kwargs: Any) -> None:
        super().__init__(*args, user=user, **kwargs)
        _choices(self, "role", _givable(user))

    def wishes(self) -> dict[str, Any]:
        """What `access_grant` asks for."""
        return {**super().wishes(), "role": self.cleaned_data["role"]}


def _manageable(user: User) -> "QuerySet[Tenant]":
    return Tenant.objects.allowed(user, "user.manage").order_by("-kind", "name")


def _givable(user: User, tenant: Tenant | None = None) -> "QuerySet[Role]":
    """Roles that hold no more than `user` does: on the tenant, or anywhere."""
    held = sorted(Membership.objects.permissions_of(user, tenant))
    roles = Role.objects.allowed(user, "user.view")
    if tenant is not None:
        roles = roles.filter(Q(tenant=None) | Q(tenant__in=tenant.line()))
    return roles.filter(permissions__contained_by=held).order_by("tenant", "name")


def _one(role_id: Any) -> "QuerySet[Role]":
    return Role.objects.filter(pk=role_id)


def _choices(form: forms.Form, name: str, rows: "QuerySet[Any]") -> None:
    field = form.fields[name]
    assert isinstance(field, forms.ModelChoiceField)  # noqa: S101 - declared so
    field.queryset = rows
