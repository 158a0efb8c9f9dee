"""How people of a tenant sign in: its policy, its identity providers, and their known devices."""

import uuid
from typing import ClassVar

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.db.models.functions import Lower
from django.utils import timezone

from tenants.models.membership import Role
from tenants.models.owned import TenantOwnedModel, TenantQuerySet
from tenants.models.tenant import Tenant
from tenants.models.user import User


class SignInMethod(models.TextChoices):
    PASSWORD = "password", "Password"
    PASSKEY = "passkey", "Passkey"
    PROVIDER = "provider", "Single sign-on"


class MfaFor(models.TextChoices):
    NOBODY = "nobody", "Nobody: it is recommended, not required"
    ROLES = "roles", "People with these roles"
    EVERYBODY = "everybody", "Everybody"


def all_methods() -> list[str]:
    """What is allowed where no policy says otherwise."""
    return list(SignInMethod.values)


class SignInPolicyQuerySet(TenantQuerySet["SignInPolicy"]):
    pass


class SignInPolicy(TenantOwnedModel):
    """What a tenant asks of the people who sign in. A tenant without a row asks nothing.

    Whom it binds is decided in tenants/services/sign_in_rules.py.
    """

    mfa_for = models.CharField(max_length=16, choices=MfaFor, default=MfaFor.NOBODY)
    mfa_roles = ArrayField(models.UUIDField(), default=list, blank=True)
    """Ids of roles, for MfaFor.ROLES."""
    session_hours = models.PositiveIntegerField(null=True, blank=True)
    """After so many hours one signs in again. None: after two weeks without a visit."""
    idle_minutes = models.PositiveIntegerField(null=True, blank=True)
    """A session ends that nobody used for so many minutes. None: not before its greatest age."""
    methods = ArrayField(models.CharField(max_length=16, choices=SignInMethod), default=all_methods)
    for_customers = models.BooleanField(default=False)
    """Second factor, session length and idle time bind the people of the tenants below, too."""

    objects: ClassVar[SignInPolicyQuerySet] = SignInPolicyQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["tenant"], name="sign_in_policy_once"),
            models.CheckConstraint(
                name="sign_in_policy_some_method", condition=Q(methods__len__gt=0)
            ),
        ]

    def __str__(self) -> str:
        return f"Sign-in policy of {self.tenant}"


class IdentityProviderQuerySet(TenantQuerySet["IdentityProvider"]):
    pass


class IdentityProvider(TenantOwnedModel):
    """Where people of a tenant have their accounts: their own directory."""

    class Kind(models.TextChoices):
        OIDC = "oidc", "OpenID Connect"
        SAML = "saml", "SAML 2.0"

    kind = models.CharField(max_length=8, choices=Kind)
    name = models.CharField(max_length=100)
    enabled = models.BooleanField(default=True)
    issuer = models.CharField(max_length=500)
    """OIDC: the issuer's URL, below which its discovery document is. SAML: the entity id."""
    client_id = models.CharField(max_length=255, blank=True)
    sealed_secret = models.TextField(blank=True)
    """OIDC's client secret, sealed (tenants/sealing.py). Never shown, never in the audit."""
    sso_url = models.CharField(max_length=500, blank=True)
    certificate = models.TextField(blank=True)
    """SAML: where people are sent, and the certificate (PEM) that answers are signed with."""
    makes_accounts = models.BooleanField(default=False)
    """Whoever signs in for the first time gets an account with `default_role`."""
    default_role = models.ForeignKey(
        Role, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    asks_second_factor = models.BooleanField(default=False)
    """The provider asks for a second factor by itself: a policy that needs one is content."""

    objects: ClassVar[IdentityProviderQuerySet] = IdentityProviderQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        ordering = ["name", "id"]
        constraints = [
            models.UniqueConstraint("tenant", Lower("name"), name="identity_provider_name_once")
        ]

    def __str__(self) -> str:
        return self.name


class IdentityProviderDomain(models.Model):
    """People whose e-mail address is in `domain` belong to this provider. A domain has one
    provider in the whole portal."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="+")
    provider = models.ForeignKey(IdentityProvider, on_delete=models.CASCADE, related_name="domains")
    domain = models.CharField(max_length=253, unique=True)
    """In lower case, in ASCII (IDNA)."""

    class Meta:
        ordering = ["domain"]

    def __str__(self) -> str:
        return self.domain


class KnownDevice(models.Model):
    """A browser in which somebody signed in before. It holds the secret, this the hash."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="known_devices")
    hash = models.CharField(max_length=64)
    family = models.CharField(max_length=100)
    """Browser and system, as "Firefox on Linux"."""
    first_seen_at = models.DateTimeField(default=timezone.now)
    last_seen_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "hash"], name="known_device_once")]

    def __str__(self) -> str:
        return self.family
