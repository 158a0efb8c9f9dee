"""Changing what a tenant asks of the people who sign in."""

import uuid
from collections.abc import Collection, Iterable
from typing import Any

from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialAccount
from django.db import transaction
from django.db.models import Q

from tenants.actor import Actor
from tenants.errors import InvalidInputError, RuleError
from tenants.models import (
    IdentityProvider,
    Membership,
    MfaFor,
    Role,
    SignInMethod,
    SignInPolicy,
    Tenant,
    User,
)
from tenants.scope import sign_in_scope
from tenants.services.audit import audit_record

MAX_SESSION_HOURS = 24 * 30
MIN_IDLE_MINUTES, MAX_IDLE_MINUTES = 5, 24 * 60
_FIELDS = ("mfa_for", "mfa_roles", "session_hours", "idle_minutes", "methods", "for_customers")


class ShutsYouOutError(RuleError):
    """A policy that its maker could not sign in under."""

    code = "shuts_you_out"
    status = 409


def policy_of(tenant: Tenant) -> SignInPolicy:
    """The tenant's policy; where it has none, one that asks nothing, not saved."""
    found = SignInPolicy.objects.filter(tenant=tenant).first()
    return found or SignInPolicy(tenant=tenant)


def roles_for(tenant: Tenant) -> "Iterable[Role]":
    """Roles that people who reach `tenant` may hold: built-in ones, its own, those above it."""
    above = Tenant.objects.and_above(tenant).order_by().values("id")
    return Role.objects.filter(Q(tenant=None) | Q(tenant__in=above))


@transaction.atomic
def sign_in_policy_set(
    *,
    actor: Actor,
    tenant: Tenant,
    mfa_for: str,
    mfa_roles: Collection[uuid.UUID],
    session_hours: int | None,
    methods: Collection[str],
    for_customers: bool,
    idle_minutes: int | None = None,
) -> SignInPolicy:
    """From the next request on this is asked. Raises InvalidInputError, ShutsYouOutError."""
    # Two at the same time wait for each other.
    Tenant.objects.select_for_update(of=("self",)).get(pk=tenant.pk)
    policy = policy_of(tenant)
    before = _facts(policy)
    wanted = set(mfa_roles) if mfa_for == MfaFor.ROLES else set()
    known = {role.id for role in roles_for(tenant)}
    if not wanted <= known:
        raise InvalidInputError("There is no such role, or it is not for here.", field="mfa_roles")
    if mfa_for == MfaFor.ROLES and not wanted:
        raise InvalidInputError("Choose at least one role, or “nobody”.", field="mfa_roles")
    if session_hours is not None and not 1 <= session_hours <= MAX_SESSION_HOURS:
        raise InvalidInputError(
            f"Between 1 and {MAX_SESSION_HOURS} hours, or nothing.", field="session_hours"
        )
    if idle_minutes is not None and not MIN_IDLE_MINUTES <= idle_minutes <= MAX_IDLE_MINUTES:
        raise InvalidInputError(
            f"Between {MIN_IDLE_MINUTES} and {MAX_IDLE_MINUTES} minutes, or nothing.",
            field="idle_minutes",
        )
    chosen = [method.value for method in SignInMethod if method.value in methods]
    if not chosen:
        raise InvalidInputError("Leave at least one way to sign in.", field="methods")
    if chosen == [SignInMethod.PROVIDER]:
        _has_provider(tenant)
    if actor.user is not None:
        _lets_in(actor.user, tenant, chosen)
    policy.mfa_for, policy.mfa_roles = mfa_for, sorted(wanted)
    policy.session_hours, policy.methods = session_hours, chosen
    policy.idle_minutes, policy.for_customers = idle_minutes, for_customers
    policy.save()
    after = _facts(policy)
    changed = [name for name in _FIELDS if before[name] != after[name]]
    if changed:
        audit_record(
            actor=actor,
            tenant=tenant,
            action="sign_in_policy.change",
            object_kind="sign_in_policy",
            object_id=policy.id,
            object_name=tenant.name,
            before={name: before[name] for name in changed},
            after={name: after[name] for name in changed},
        )
    return policy


def _facts(policy: SignInPolicy) -> dict[str, Any]:
    return {
        "mfa_for": str(policy.mfa_for),
        "mfa_roles": [str(role) for role in policy.mfa_roles],
        "session_hours": policy.session_hours,
        "idle_minutes": policy.idle_minutes,
        "methods": [str(method) for method in policy.methods],
        "for_customers": policy.for_customers,
    }


def _has_provider(tenant: Tenant) -> None:
    with sign_in_scope():
        ready = IdentityProvider.objects.filter(
            tenant__in=Tenant.objects.and_above(tenant).order_by().values("id"),
            enabled=True,
            domains__isnull=False,
        ).exists()
    if not ready:
        raise InvalidInputError(
            "Nobody could sign in: no identity provider with a domain is set up. Add one first.",
            field="methods",
        )


def _lets_in(user: User, tenant: Tenant, methods: Collection[str]) -> None:
    """Raises ShutsYouOutError where `user`, whom the policy binds, has none of these ways."""
    if not Membership.objects.current().filter(user=user, tenant=tenant).exists():
        return
    with sign_in_scope():
        ways = {
            SignInMethod.PASSWORD.value: user.has_usable_password(),
            SignInMethod.PASSKEY.value: Authenticator.objects.filter(
                user=user, type=Authenticator.Type.WEBAUTHN
            ).exists(),
            SignInMethod.PROVIDER.value: SocialAccount.objects.filter(user=user).exists(),
        }
    if not any(ways[method] for method in methods):
        raise ShutsYouOutError(
            "You could not sign in any more yourself. Sign in once in one of these ways first "
            "(add a passkey, or use single sign-on), then change the policy.",
            field="methods",
        )
