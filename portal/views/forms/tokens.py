"""Forms about tokens of the API and service accounts."""

from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django import forms
from django.db.models import QuerySet
from django.utils import timezone

from tenants.models import Role, Tenant, User
from tenants.permissions import PERMISSIONS
from tenants.services.people import MOST_TENANTS, READ_ONLY


class TokenForm(forms.Form):
    """What a token is for, what it may do and where, and for how long."""

    prefix = "token"
    use_required_attribute = False

    name = forms.CharField(
        label="What it is for", max_length=100, help_text="For example “backup script”."
    )
    days = forms.ChoiceField(
        label="Good for",
        choices=[
            ("7", "7 days"),
            ("30", "30 days"),
            ("90", "90 days"),
            ("365", "a year"),
            ("day", "until a day"),
            ("never", "until revoked"),
        ],
        initial="90",
    )
    until = forms.DateField(
        label="Last day",
        required=False,
        widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"),
    )
    may = forms.ChoiceField(
        label="What it may do",
        choices=[
            ("read", "Only look"),
            ("some", "Some things"),
            ("all", "Everything the owner may"),
        ],
        initial="read",
        widget=forms.RadioSelect,
    )
    permissions = forms.MultipleChoiceField(
        label="Permissions",
        choices=list(PERMISSIONS.items()),
        required=False,
        widget=forms.CheckboxSelectMultiple,
    )
    where = forms.ChoiceField(
        label="Where",
        choices=[("all", "Wherever the owner gets"), ("some", "At some customers")],
        initial="all",
        widget=forms.RadioSelect,
    )
    tenants = forms.ModelMultipleChoiceField(
        label="Customers",
        queryset=Tenant.objects.none(),
        required=False,
        widget=forms.CheckboxSelectMultiple,
    )

    def __init__(self, *args: Any, user: User, tenants: "QuerySet[Tenant]", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.user = user
        found: Any = self.fields["tenants"]
        found.queryset = tenants

    @property
    def chosen(self) -> set[str]:
        """Names of the permissions that are ticked."""
        return set(self["permissions"].value() or ())

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        if data.get("may") == "some" and not data.get("permissions"):
            self.add_error("permissions", "Tick what the token may do.")
        if data.get("where") == "some":
            chosen = data.get("tenants")
            if not chosen:
                self.add_error("tenants", "Tick where the token is good.")
            elif len(chosen) > MOST_TENANTS:
                self.add_error("tenants", f"A token names up to {MOST_TENANTS} customers.")
        if data.get("days") == "day" and data.get("until") is None:
            self.add_error("until", "Say which day is the last.")
        return data

    def wishes(self) -> dict[str, Any]:
        """What `api_token_create` asks for."""
        data = self.cleaned_data
        permissions = {"all": None, "read": READ_ONLY, "some": data["permissions"]}
        return {
            "name": data["name"],
            "permissions": permissions[data["may"]],
            "tenants": list(data["tenants"]) if data["where"] == "some" else None,
            "expires_at": self._end(),
        }

    def _end(self) -> datetime | None:
        days = self.cleaned_data["days"]
        if days == "never":
            return None
        if days == "day":
            # The end of that day, where the person is who makes it.
            after = self.cleaned_data["until"] + timedelta(days=1)
            end = datetime.combine(after, time(), tzinfo=ZoneInfo(self.user.time_zone))
            return end.astimezone(UTC)
        return timezone.now() + timedelta(days=int(days))


class ServiceAccountWordsForm(forms.Form):
    prefix = "account"
    use_required_attribute = False

    name = forms.CharField(
        label="Name", max_length=100, help_text="What works as it: “Backup”, “Terraform”."
    )
    description = forms.CharField(
        label="What it does",
        max_length=300,
        required=False,
        help_text="And whom to ask about it.",
    )


class ServiceAccountForm(ServiceAccountWordsForm):
    tenant = forms.ModelChoiceField(
        label="Of",
        queryset=Tenant.objects.none(),
        to_field_name="slug",
        empty_label=None,
        help_text="It works there and at all below, and nowhere else.",
    )
    role = forms.ModelChoiceField(
        label="Role",
        queryset=Role.objects.none(),
        required=False,
        empty_label="None yet",
        help_text="Never more than you hold yourself.",
    )

    def __init__(
        self,
        *args: Any,
        tenants: "QuerySet[Tenant]",
        roles: "QuerySet[Role]",
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        tenant: Any = self.fields["tenant"]
        role: Any = self.fields["role"]
        tenant.queryset, role.queryset = tenants, roles
