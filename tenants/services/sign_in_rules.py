"""What is asked of a person at sign-in and after: the strictest of all policies that bind them.

A policy binds the people of its own tenant. Its second factor, session length and idle time also
bind everybody who reaches the tenant from above, as an MSP's technicians do: a customer's things
are as safe as the weakest account that may touch them. Its methods do not bind those, since they
have no account with the customer's own provider. With `for_customers`, these three bind
the people of the tenants below, too.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID

from allauth.mfa.models import Authenticator

from tenants.errors import RuleError
from tenants.models import Membership, MfaFor, SignInMethod, SignInPolicy, Tenant, User
from tenants.scope import Scope, current, scope_of, sign_in_scope, system_scope

SECOND_FACTORS = (Authenticator.Type.TOTP, Authenticator.Type.WEBAUTHN)


class SecondFactorNeededError(RuleError):
    """The person must set up a second factor first."""

    code = "second_factor_needed"
    status = 403


@dataclass(frozen=True)
class SignInRules:
    """All policies that bind a person, as one."""

    second_factor: bool = False
    session_length: timedelta | None = None
    idle_time: timedelta | None = None
    methods: frozenset[str] = field(default_factory=lambda: frozenset(SignInMethod.values))
    asked_by: tuple[str, ...] = ()
    """Names of the tenants that ask for a second factor: for people to read."""


NO_RULES = SignInRules()


def sign_in_rules(user: User) -> SignInRules:
    """What binds this person now. One query where no policy is near; else up to three."""
    scope = current() if current().person == user.pk else scope_of(user)
    with scope:
        return _rules(user, scope)


def has_second_factor(user: User) -> bool:
    """Whether an authenticator app or a passkey is set up. One query."""
    with sign_in_scope():
        held = Authenticator.objects.filter(user_id=user.pk, type__in=SECOND_FACTORS)
        return bool(held.exists())


def second_factor_check(user: User) -> None:
    """Raises SecondFactorNeededError where a policy asks for what this person does not have."""
    rules = sign_in_rules(user)
    if rules.second_factor and not has_second_factor(user):
        raise SecondFactorNeededError(second_factor_sentence(rules))


def second_factor_sentence(rules: SignInRules) -> str:
    """Why, and what to do."""
    who = ", ".join(rules.asked_by)
    return (
        f"{who} asks for a second factor. Set up an authenticator app or a passkey on your "
        "account's sign-in page; then go on."
    )


def _rules(user: User, scope: Scope) -> SignInRules:
    near = scope.tenants | scope.above
    if not near:
        return NO_RULES
    policies = list(SignInPolicy.objects.filter(tenant_id__in=near).select_related("tenant"))
    if not policies:
        return NO_RULES
    held = [
        (membership.tenant_id, membership.role_id)
        for membership in Membership.objects.current().filter(user=user)
    ]
    above = _above({tenant for tenant, _ in held} | {policy.tenant_id for policy in policies})
    strictest = NO_RULES
    for policy in policies:
        roles = [role for tenant, role in held if _binds(policy, tenant, above, scope)]
        own = any(tenant == policy.tenant_id for tenant, _ in held)
        # Who reaches it by a grant on one thing of the tenant's holds no role above it.
        if roles or policy.tenant_id in scope.tenants:
            strictest = _stricter(strictest, policy, roles=roles, own=own)
    return strictest


def _binds(
    policy: SignInPolicy, tenant: UUID, above: dict[UUID, frozenset[UUID]], scope: Scope
) -> bool:
    """Whether the policy binds who holds a role on `tenant`."""
    if tenant == policy.tenant_id:
        return True
    if policy.tenant_id in above[tenant]:
        return policy.for_customers
    return tenant in above[policy.tenant_id] and policy.tenant_id in scope.tenants


def _stricter(
    rules: SignInRules, policy: SignInPolicy, *, roles: list[UUID], own: bool
) -> SignInRules:
    asks = policy.mfa_for == MfaFor.EVERYBODY or (
        policy.mfa_for == MfaFor.ROLES and not set(policy.mfa_roles).isdisjoint(roles)
    )
    length = timedelta(hours=policy.session_hours) if policy.session_hours else None
    lengths = [one for one in (rules.session_length, length) if one is not None]
    idle = timedelta(minutes=policy.idle_minutes) if policy.idle_minutes else None
    idles = [one for one in (rules.idle_time, idle) if one is not None]
    methods = rules.methods & frozenset(policy.methods) if own else rules.methods
    return SignInRules(
        second_factor=rules.second_factor or asks,
        session_length=min(lengths, default=None),
        idle_time=min(idles, default=None),
        methods=methods,
        asked_by=(*rules.asked_by, policy.tenant.name) if asks else rules.asked_by,
    )


def _above(tenant_ids: Iterable[UUID]) -> dict[UUID, frozenset[UUID]]:
    """The tenants over each of these."""
    with system_scope("whose policies bind somebody is asked for before they are in"):
        found = Tenant.objects.filter(id__in=list(tenant_ids)).order_by()
        rows = found.values_list("id", "parent_id", "parent__parent_id")
        return {
            one: frozenset(over for over in (parent, grandparent) if over is not None)
            for one, parent, grandparent in rows
        }
