"""Giving and taking access: memberships, denials, and single sites and VMs.

Three rules hold for all of it. Nobody gives more than they hold on the same thing. Nobody changes
or ends what gives more than they hold. Nobody changes their own access.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from django.db import transaction
from django.utils import timezone

from tenants.actor import Actor
from tenants.errors import InvalidInputError, NameTakenError, RuleError
from tenants.models import AccessRule, Membership, Role, ServiceAccount, Site, Tenant, User
from tenants.models.tenant import at_or_below
from tenants.scope import system_scope
from tenants.services.audit import audit_record
from tenants.services.authority import (
    SurplusPermissionsError,
    check_may_give,
    check_may_touch,
    check_not_own,
)
from tenants.services.owners import owners_must_remain


class ServiceElsewhereError(RuleError):
    """A service account of another tenant."""

    code = "service_elsewhere"


class RoleElsewhereError(RuleError):
    """A role of a tenant that is not above."""

    code = "role_elsewhere"


@transaction.atomic
def membership_add(
    *, actor: Actor, user: User, tenant: Tenant, role: Role, expires_at: datetime | None = None
) -> Membership:
    """A role on `tenant` and all below it, for ever or until `expires_at`.

    Raises OwnAccessError, SurplusPermissionsError, RoleElsewhereError, NameTakenError,
    InvalidInputError.
    """
    membership = membership_make(
        actor=actor, user=user, tenant=tenant, role=role, expires_at=expires_at
    )
    _record(actor, tenant, user, "membership.create", after=_values(membership))
    return membership


def membership_make(
    *, actor: Actor, user: User, tenant: Tenant, role: Role, expires_at: datetime | None = None
) -> Membership:
    """The same without its event: for what makes an account and gives it a role at once."""
    _check_giving(actor, user, tenant, role, expires_at)
    same = Membership.objects.select_for_update().filter(user=user, tenant=tenant, role=role)
    if same.current().exists():
        raise NameTakenError(f"{user} is {role.name} of {tenant} already.", field="role")
    with _nothing_that_is_denied_to(actor, user, tenant):
        same.delete()
        return Membership.objects.create(user=user, tenant=tenant, role=role, expires_at=expires_at)


@transaction.atomic
def membership_change(
    *, actor: Actor, membership: Membership, role: Role, expires_at: datetime | None
) -> Membership:
    """Another role or another end. Raises as `membership_add`."""
    membership = _locked(membership)
    user, tenant = membership.user, membership.tenant
    check_may_touch(actor, tenant, membership.role.permissions, what=_what(membership))
    # An end that stays as it is may be over: only the role is changed then.
    kept = expires_at == membership.expires_at
    _check_giving(actor, user, tenant, role, None if kept else expires_at)
    before = _values(membership)
    same = Membership.objects.filter(user=user, tenant=tenant, role=role)
    if same.exclude(pk=membership.pk).exists():
        raise NameTakenError(f"{user} is {role.name} of {tenant} already.", field="role")
    if role != membership.role or expires_at is not None:
        owners_must_remain([membership.pk])
    membership.role, membership.expires_at = role, expires_at
    after = _values(membership)
    if after != before:
        with _nothing_that_is_denied_to(actor, user, tenant):
            membership.save(update_fields=["role", "expires_at"])
        _record(actor, tenant, user, "membership.change", before=before, after=after)
    return membership


@transaction.atomic
def membership_end(*, actor: Actor, membership: Membership) -> None:
    """Take it away. Denials of the person stay. Raises OwnAccessError, SurplusPermissionsError."""
    membership = _locked(membership)
    check_not_own(actor, membership.user)
    check_may_touch(actor, membership.tenant, membership.role.permissions, what=_what(membership))
    owners_must_remain([membership.pk])
    before = _values(membership)
    membership.delete()
    _record(actor, membership.tenant, membership.user, "membership.end", before=before)


@transaction.atomic
def access_grant(
    *, actor: Actor, user: User, thing: Any, role: Role, expires_at: datetime | None = None
) -> AccessRule:
    """A role on one site or VM alone. Raises as `membership_add`."""
    _check_giving(actor, user, thing, role, expires_at)
    tenant = thing.tenant
    with _nothing_that_is_denied_to(actor, user, tenant):
        return _rule_add(actor, user=user, thing=thing, role=role, expires_at=expires_at)


@transaction.atomic
def access_deny(
    *, actor: Actor, user: User, thing: Any, expires_at: datetime | None = None
) -> AccessRule:
    """Take a tenant with all below it, a site or a VM away from `user`, whatever else gives it.

    Raises OwnAccessError, SurplusPermissionsError, NameTakenError, InvalidInputError.
    """
    check_not_own(actor, user)
    _check_end(expires_at)
    if actor.user is not None:
        check_may_give(actor, thing, {"user.manage"})
        check_may_touch(actor, thing, _held(user, thing), what=f"The access of {user}")
    return _rule_add(actor, user=user, thing=thing, role=None, expires_at=expires_at)


@transaction.atomic
def access_rule_end(*, actor: Actor, rule: AccessRule) -> None:
    """Take a grant back, or lift a denial: then nobody gets more back than the actor holds.

    Raises OwnAccessError, SurplusPermissionsError.
    """
    rule = (
        AccessRule.objects.select_for_update(of=("self",))
        .select_related("user", "tenant", "site__tenant", "vm__tenant", "vm__hypervisor", "role")
        .get(pk=rule.pk)
    )
    user, thing = rule.user, rule.thing
    check_not_own(actor, user)
    before = _rule_values(rule)
    if actor.user is not None:
        check_may_give(actor, thing, {"user.manage"})
    if rule.role is not None:
        check_may_touch(actor, thing, rule.role.permissions, what=f"This access of {user}")
    action = f"access.{rule.effect}.end"
    with _nothing_that_is_denied_to(actor, user, rule.tenant):
        rule.delete()
    if rule.role is None:
        check_may_touch(actor, thing, _held(user, thing), what=f"What {user} would have again")
    _record(actor, rule.tenant, user, action, before=before)


# ------------------------------------------------------------------ what all of it shares


def _check_giving(
    actor: Actor, user: User, thing: Any, role: Role, expires_at: datetime | None
) -> None:
    check_not_own(actor, user)
    _check_end(expires_at)
    tenant = thing if isinstance(thing, Tenant) else thing.tenant
    if user.is_service:
        _check_home(user, tenant)
    if not Role.objects.usable_on(tenant).filter(pk=role.pk).exists():
        raise RoleElsewhereError(
            f"{role.name} is not a role of {tenant}. Choose one that is.", field="role"
        )
    if actor.user is not None:
        check_may_give(actor, thing, {"user.manage"})
        check_may_give(actor, thing, role.permissions, field="role")


def _check_home(user: User, tenant: Tenant) -> None:
    """A service account works in its own tenant and below. Raises ServiceElsewhereError."""
    with system_scope("a service account's tenant may be above whoever gives it a role"):
        home = ServiceAccount.objects.select_related("tenant").get(user=user)
        inside = home.tenant_id in tenant.line()
    if not inside:
        raise ServiceElsewhereError(
            f"The service account {user} works for another tenant, not for {tenant}. Make one "
            f"for {tenant}."
        )


def _check_end(expires_at: datetime | None) -> None:
    if expires_at is not None and expires_at <= timezone.now():
        raise InvalidInputError("The end is in the past. Choose a later one.", field="expires_at")


def _held(user: User, thing: Any) -> frozenset[str]:
    with system_scope("what gives a person access may be above whoever asks"):
        return Membership.objects.permissions_on(user, thing)


@contextmanager
def _nothing_that_is_denied_to(actor: Actor, user: User, tenant: Tenant) -> Iterator[None]:
    """Whoever is denied a part of `tenant` gives nobody more on that part. Raises
    SurplusPermissionsError after the change, which ends the transaction."""
    if actor.user is None:
        yield
        return
    with system_scope("what is denied to somebody lies outside of their scope"):
        below = Tenant.objects.filter(at_or_below(Tenant.objects.filter(pk=tenant.pk).values("id")))
        rules = AccessRule.objects.of(actor.user).filter(effect=AccessRule.Effect.DENY)
        things = [
            rule.thing
            for rule in rules.filter(tenant__in=below).select_related(
                "tenant", "site__tenant", "vm__tenant", "vm__hypervisor"
            )
        ]
    before = [_held(user, thing) for thing in things]
    yield
    if any(_held(user, thing) - held for thing, held in zip(things, before, strict=True)):
        raise SurplusPermissionsError(
            f"You may not see all of {tenant}, and this would let {user} see what is kept from "
            f"you. Ask somebody who sees all of it."
        )


def _rule_add(
    actor: Actor, *, user: User, thing: Any, role: Role | None, expires_at: datetime | None
) -> AccessRule:
    effect = AccessRule.Effect.ALLOW if role else AccessRule.Effect.DENY
    about: dict[str, Any] = {"tenant": thing, "site": None, "vm": None}
    if not isinstance(thing, Tenant):
        about["tenant"] = thing.tenant
        about["site" if isinstance(thing, Site) else "vm"] = thing
    same = AccessRule.objects.select_for_update(of=("self",)).filter(
        user=user, effect=effect, role=role, **about
    )
    if same.current().exists():
        words = f"{role.name} of" if role else "kept from"
        raise NameTakenError(f"{user} is {words} {thing} already.", field="role")
    same.delete()
    rule = AccessRule.objects.create(
        user=user, effect=effect, role=role, expires_at=expires_at, **about
    )
    _record(actor, about["tenant"], user, f"access.{effect}", after=_rule_values(rule))
    return rule


def _locked(membership: Membership) -> Membership:
    return (
        Membership.objects.select_for_update(of=("self",))
        .select_related("user", "tenant", "role")
        .get(pk=membership.pk)
    )


def _what(membership: Membership) -> str:
    return f"The role {membership.role.name} of {membership.user}"


def _values(membership: Membership) -> dict[str, Any]:
    return {"role": membership.role.name, "expires_at": _time(membership.expires_at)}


def _rule_values(rule: AccessRule) -> dict[str, Any]:
    kind = "vm" if rule.vm_id else "site" if rule.site_id else "tenant"
    return {
        kind: str(rule.thing),
        "role": rule.role.name if rule.role else None,
        "expires_at": _time(rule.expires_at),
    }


def _time(at: datetime | None) -> str | None:
    return at.isoformat() if at else None


def _record(actor: Actor, tenant: Tenant, user: User, action: str, **values: Any) -> None:
    audit_record(
        actor=actor,
        tenant=tenant,
        action=action,
        object_kind="user",
        object_id=user.id,
        object_name=user.email,
        **values,
    )
