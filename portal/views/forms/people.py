"""Forms about inviting, and about being invited."""

from datetime import datetime, time, timedelta
from typing import Any

from django import forms
from django.contrib.auth.password_validation import validate_password
from django.db.models import Q, QuerySet
from django.utils import timezone

from tenants.models import Role, Tenant, User


def roles_offered(user: User) -> "QuerySet[Role]":
    """Roles that the person might give somewhere; whether here, the service decides. The MSP's
    own roles are not offered to those who belong to a customer."""
    tenants = Tenant.objects.allowed(user, "user.manage")
    own = tenants.order_by()
    roles = Role.objects.filter(
        Q(tenant=None)
        | Q(tenant__in=own.values("id"))
        | Q(tenant__in=own.values("parent_id"))
        | Q(tenant__in=own.values("parent__parent_id"))
    )
    if not tenants.filter(kind=Tenant.Kind.MSP).exists():
        roles = roles.exclude(tenant=None, slug__startswith="msp-")
    return roles.order_by("name")


class InvitationForm(forms.Form):
    use_required_attribute = False

    email = forms.EmailField(label="E-mail address", max_length=254)
    tenant = forms.ModelChoiceField(
        label="To", queryset=Tenant.objects.none(), to_field_name="slug", empty_label=None
    )
    role = forms.ModelChoiceField(
        label="Role",
        queryset=Role.objects.none(),
        empty_label="Choose a role",
        help_text="None with more than you hold there.",
    )
    until = forms.DateField(
        label="Until",
        required=False,
        widget=forms.DateInput(attrs={"type": "date"}),
        help_text="The last day on which it holds. Empty: until somebody ends it.",
    )
    days = forms.TypedChoiceField(
        label="The link is good for",
        choices=[("1", "1 day"), ("7", "7 days"), ("30", "30 days")],
        initial="7",
        coerce=int,
    )

    def __init__(self, *args: Any, user: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        tenant, role = self.fields["tenant"], self.fields["role"]
        assert isinstance(tenant, forms.ModelChoiceField)  # noqa: S101 - declared above
        assert isinstance(role, forms.ModelChoiceField)  # noqa: S101 - declared above
        tenant.queryset = Tenant.objects.allowed(user, "user.manage").order_by("-kind", "name")
        role.queryset = roles_offered(user)

    def wishes(self) -> dict[str, Any]:
        """Arguments of `invitation_create`."""
        values = dict(self.cleaned_data)
        last, days = values.pop("until"), values.pop("days")
        ends = None
        if last is not None:
            # Whole days, as the person who chose it counts them.
            ends = timezone.make_aware(datetime.combine(last + timedelta(days=1), time()))
        return {**values, "life": timedelta(days=days), "membership_expires_at": ends}


class NewAccountForm(forms.Form):
    use_required_attribute = False

    name = forms.CharField(
        label="Your name",
        max_length=100,
        widget=forms.TextInput(attrs={"autocomplete": "name"}),
    )
    password = forms.CharField(
        label="Choose a password",
        max_length=1000,
        strip=False,
        help_text="At least 12 characters. A few words that belong together only for you are good.",
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )

    def __init__(self, *args: Any, email: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.email = email

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        if "password" in values:
            try:
                validate_password(
                    values["password"], User(email=self.email, name=values.get("name", ""))
                )
            except forms.ValidationError as error:
                self.add_error("password", error)
        return values
