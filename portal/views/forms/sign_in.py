"""Forms about how people of a tenant sign in."""

from typing import Any

from django import forms

from tenants.models import IdentityProvider, MfaFor, SignInMethod, SignInPolicy, Tenant
from tenants.services.sign_in_policies import (
    MAX_IDLE_MINUTES,
    MAX_SESSION_HOURS,
    MIN_IDLE_MINUTES,
    roles_for,
)


class PolicyForm(forms.Form):
    use_required_attribute = False

    mfa_for = forms.ChoiceField(label="Who must have a second factor", choices=MfaFor.choices)
    mfa_roles = forms.MultipleChoiceField(
        label="Roles that must", required=False, widget=forms.CheckboxSelectMultiple
    )
    session_hours = forms.IntegerField(
        label="Sign in again after",
        required=False,
        min_value=1,
        max_value=MAX_SESSION_HOURS,
        help_text="Hours. Empty: after two weeks without a visit.",
    )
    idle_minutes = forms.IntegerField(
        label="Sign out whoever does nothing for",
        required=False,
        min_value=MIN_IDLE_MINUTES,
        max_value=MAX_IDLE_MINUTES,
        help_text="Minutes. Empty: nobody is. Pages left open by themselves don't count as doing "
        "something; typing and clicking do, in a console too. 30 suits most.",
    )
    methods = forms.MultipleChoiceField(
        label="Ways to sign in",
        choices=SignInMethod.choices,
        widget=forms.CheckboxSelectMultiple,
        error_messages={"required": "Leave at least one way to sign in."},
    )
    for_customers = forms.BooleanField(
        label="For the people of customers below, too", required=False
    )

    def __init__(self, *arguments: Any, policy: SignInPolicy, **options: Any) -> None:
        options["initial"] = {
            "mfa_for": policy.mfa_for,
            "mfa_roles": [str(role) for role in policy.mfa_roles],
            "session_hours": policy.session_hours,
            "idle_minutes": policy.idle_minutes,
            "methods": policy.methods,
            "for_customers": policy.for_customers,
        }
        super().__init__(*arguments, **options)
        field = self.fields["mfa_roles"]
        assert isinstance(field, forms.MultipleChoiceField)  # noqa: S101 - declared above
        field.choices = [(str(role.id), role.name) for role in roles_for(policy.tenant)]


class ProviderForm(forms.Form):
    """Of either kind; the fields of the other are left out."""

    use_required_attribute = False

    name = forms.CharField(
        label="Name", max_length=100, help_text="As people know it: “Alder's Microsoft account”."
    )
    issuer = forms.CharField(max_length=500)
    client_id = forms.CharField(label="Client id", max_length=255)
    secret = forms.CharField(
        label="Client secret",
        max_length=500,
        required=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "off"}),
    )
    sso_url = forms.CharField(label="Address of its sign-in page", max_length=500)
    certificate = forms.CharField(
        label="Certificate that it signs with",
        max_length=20_000,
        widget=forms.Textarea(attrs={"rows": 6, "class": "mono", "spellcheck": "false"}),
        help_text="It begins with -----BEGIN CERTIFICATE-----.",
    )
    makes_accounts = forms.BooleanField(
        label="Make an account for whoever signs in for the first time", required=False
    )
    default_role = forms.ChoiceField(label="Role of new people", required=False)
    asks_second_factor = forms.BooleanField(
        label="It asks for a second factor itself",
        required=False,
        help_text="A policy that needs one is content with that.",
    )
    enabled = forms.BooleanField(label="People may sign in with it", required=False, initial=True)

    def __init__(
        self,
        *arguments: Any,
        kind: str,
        tenant: Tenant,
        provider: IdentityProvider | None = None,
        **options: Any,
    ) -> None:
        if provider is not None:
            kept = set(self.base_fields) - {"secret", "default_role"}
            options["initial"] = {name: getattr(provider, name) for name in kept}
            options["initial"]["default_role"] = str(provider.default_role_id or "")
        super().__init__(*arguments, **options)
        oidc = kind == IdentityProvider.Kind.OIDC
        for name in ("sso_url", "certificate") if oidc else ("client_id", "secret"):
            del self.fields[name]
        self.fields["issuer"].label = "Issuer" if oidc else "Entity id"
        self.fields["issuer"].help_text = (
            "The address that its discovery document is below: https://login.example.com/tenant."
            if oidc
            else "As its metadata says."
        )
        if provider is not None and oidc:
            self.fields["secret"].help_text = "Empty: the one there is stays. It is never shown."
        roles = self.fields["default_role"]
        assert isinstance(roles, forms.ChoiceField)  # noqa: S101 - declared above
        roles.choices = [("", "—"), *((str(role.id), role.name) for role in roles_for(tenant))]


class DomainsForm(forms.Form):
    prefix = "domains"
    use_required_attribute = False

    domains = forms.CharField(
        label="E-mail domains",
        required=False,
        max_length=10_000,
        widget=forms.Textarea(attrs={"rows": 3, "spellcheck": "false"}),
        help_text="One a line. Whose address is in one of these signs in here.",
    )

    def clean_domains(self) -> list[str]:
        text: str = self.cleaned_data["domains"]
        return text.split()


class ProviderRemoveForm(forms.Form):
    """The name typed is the confirmation."""

    prefix = "remove"
    use_required_attribute = False

    name = forms.CharField(label="Type the provider's name to confirm", max_length=100)

    def __init__(self, *arguments: Any, provider: IdentityProvider, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.provider = provider

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"].strip()
        if name != self.provider.name:
            raise forms.ValidationError("This is not the provider's name.")
        return name
