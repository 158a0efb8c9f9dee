"""How people of a tenant sign in, in the API."""

from typing import Any

from rest_framework import serializers

from tenants.api.fields import InputSerializer
from tenants.models import IdentityProvider, MfaFor, SignInMethod, SignInPolicy
from tenants.services.sign_in_policies import (
    MAX_IDLE_MINUTES,
    MAX_SESSION_HOURS,
    MIN_IDLE_MINUTES,
)


class SignInPolicySerializer(serializers.ModelSerializer[SignInPolicy]):
    class Meta:
        model = SignInPolicy
        fields = [
            "mfa_for",
            "mfa_roles",
            "session_hours",
            "idle_minutes",
            "methods",
            "for_customers",
        ]
        read_only_fields = fields


class SignInPolicySetSerializer(InputSerializer):
    """The whole policy: what is left out asks nothing."""

    mfa_for = serializers.ChoiceField(choices=MfaFor.choices, default=MfaFor.NOBODY.value)
    mfa_roles = serializers.ListField(
        child=serializers.UUIDField(), default=list, help_text="Ids of roles, for “roles”."
    )
    session_hours = serializers.IntegerField(
        min_value=1, max_value=MAX_SESSION_HOURS, allow_null=True, default=None
    )
    idle_minutes = serializers.IntegerField(
        min_value=MIN_IDLE_MINUTES,
        max_value=MAX_IDLE_MINUTES,
        allow_null=True,
        default=None,
        help_text="A session that nobody used for so many minutes ends. Null: it does not.",
    )
    methods = serializers.ListField(
        child=serializers.ChoiceField(choices=SignInMethod.choices),
        default=SignInMethod.values,
        min_length=1,
    )
    for_customers = serializers.BooleanField(default=False)


class IdentityProviderSerializer(serializers.ModelSerializer[IdentityProvider]):
    tenant = serializers.UUIDField(source="tenant_id", read_only=True)
    default_role = serializers.UUIDField(source="default_role_id", allow_null=True, read_only=True)
    domains = serializers.SlugRelatedField(slug_field="domain", many=True, read_only=True)  # type: ignore[var-annotated]

    class Meta:
        model = IdentityProvider
        fields = [
            "id",
            "tenant",
            "kind",
            "name",
            "enabled",
            "issuer",
            "client_id",
            "sso_url",
            "certificate",
            "makes_accounts",
            "default_role",
            "asks_second_factor",
            "domains",
            "created_at",
        ]
        read_only_fields = fields


class SignInSerializer(serializers.Serializer[Any]):
    """A tenant's policy and its identity providers."""

    policy = SignInPolicySerializer()
    identity_providers = IdentityProviderSerializer(many=True)


class IdentityProviderChangeSerializer(InputSerializer):
    """What is left out stays as it is. The secret is never shown again."""

    name = serializers.CharField(max_length=100, required=False)
    enabled = serializers.BooleanField(required=False)
    issuer = serializers.CharField(
        max_length=500, required=False, help_text="OpenID Connect: its URL. SAML: the entity id."
    )
    client_id = serializers.CharField(max_length=255, required=False, allow_blank=True)
    secret = serializers.CharField(
        max_length=500, required=False, allow_blank=True, write_only=True
    )
    sso_url = serializers.CharField(max_length=500, required=False, allow_blank=True)
    certificate = serializers.CharField(max_length=20_000, required=False, allow_blank=True)
    makes_accounts = serializers.BooleanField(required=False)
    default_role = serializers.UUIDField(
        required=False, allow_null=True, help_text="Id of the role that new people get."
    )
    asks_second_factor = serializers.BooleanField(required=False)


class IdentityProviderCreateSerializer(IdentityProviderChangeSerializer):
    """A new identity provider."""

    kind = serializers.ChoiceField(choices=IdentityProvider.Kind.choices)
    name = serializers.CharField(max_length=100)
    issuer = serializers.CharField(max_length=500)


class DomainsSerializer(InputSerializer):
    domains = serializers.ListField(child=serializers.CharField(max_length=253), max_length=100)
