"""Somebody leaves: all of it in one action, and at once."""

from dataclasses import dataclass
from typing import TypeVar
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from tenants.actor import Actor
from tenants.errors import RuleError
from tenants.models import AccessRule, ApiToken, Invitation, Membership, Tenant, User
from tenants.scope import sign_in_scope, system_scope
from tenants.services.audit import audit_record
from tenants.services.live import live_publish, person_recheck
from tenants.services.owners import owners_must_remain
from tenants.services.sessions import sessions_end, sessions_of

PERMISSION = "user.manage"

Held = TypeVar("Held", Membership, AccessRule)


class NothingToEndError(RuleError):
    """The person has no membership within the actor's reach."""

    code = "nothing_to_end"
    status = 409


@dataclass(frozen=True)
class Leaving:
    """What would end. Sessions and tokens end where the person has no role left anywhere, which
    the actor is not told beforehand: it would say that there is another tenant."""

    memberships: list[Membership]
    grants: list[AccessRule]
    """Single sites and VMs."""
    invitations: int
    sessions: int
    tokens: int


def leaving_preview(*, actor: Actor, person: User) -> Leaving:
    """What `person_leave` would end."""
    return Leaving(
        memberships=_endable(actor, _memberships(actor, person)),
        grants=_endable(actor, _grants(actor, person)),
        invitations=_invitations(actor, person).count(),
        sessions=len(sessions_of(person)),
        tokens=_tokens(person).count(),
    )


@transaction.atomic
def person_leave(*, actor: Actor, person: User) -> Leaving:
    """End what `person` holds where the actor holds user.manage, and no less than what ends: on
    tenants, on single sites and VMs; and the invitations sent to them there. Where nothing is left
    anywhere, the account is closed: sessions end, tokens open nothing. Open pages and consoles to
    what was lost close at once. What is denied to the person stays denied. Returns what ended.

    Raises NothingToEndError, LastOwnerError.
    """
    # Whoever accepts an invitation elsewhere at this moment waits here, or is waited for.
    with sign_in_scope():
        User.objects.select_for_update().get(pk=person.pk)
    ended = leaving_preview(actor=actor, person=person)
    if not ended.memberships and not ended.grants:
        raise NothingToEndError(
            f"{person} has no membership that you may end: there is none, or it is of a tenant "
            "above yours, or it may do more than you."
        )
    ids = [membership.pk for membership in ended.memberships]
    owners_must_remain(ids)
    now = timezone.now()
    Membership.objects.filter(pk__in=ids).update(expires_at=now)
    AccessRule.objects.filter(pk__in=[rule.pk for rule in ended.grants]).update(expires_at=now)
    for invitation in _invitations(actor, person):
        invitation.revoked_at = now
        invitation.save(update_fields=["revoked_at"])
    _note(actor, person, ended)
    with system_scope("whether the person has a role anywhere is nobody's to see"):
        member = Membership.objects.current().filter(user=person).exists()
        if not member and not AccessRule.objects.grants(person).exists():
            _account_close(person)
    person_recheck(person.pk)
    return ended


def _account_close(person: User) -> None:
    User.objects.filter(pk=person.pk).update(is_active=False)
    sessions_end(user=person)
    _tokens(person).update(revoked_at=timezone.now())


def _memberships(actor: Actor, person: User) -> "QuerySet[Membership]":
    if actor.user is None:
        return Membership.objects.none()
    held = Membership.objects.current().allowed(actor.user, PERMISSION).filter(user=person)
    return held.select_related("tenant", "role").order_by("tenant__name", "role__name", "id")


def _grants(actor: Actor, person: User) -> "QuerySet[AccessRule]":
    if actor.user is None:
        return AccessRule.objects.none()
    held = AccessRule.objects.current().allowed(actor.user, PERMISSION).filter(user=person)
    held = held.filter(effect=AccessRule.Effect.ALLOW)
    return held.select_related("tenant", "site", "vm", "role")


def _endable(actor: Actor, held: "QuerySet[Held]") -> "list[Held]":
    """Those that give no more than the actor holds there."""
    if actor.user is None:
        return []
    own: dict[UUID, frozenset[str]] = {}
    rows = list(held)
    for row in rows:
        if row.tenant_id not in own:
            own[row.tenant_id] = Membership.objects.permissions_of(actor.user, row.tenant)
    return [row for row in rows if row.role and own[row.tenant_id] >= set(row.role.permissions)]


def _invitations(actor: Actor, person: User) -> "QuerySet[Invitation]":
    if actor.user is None:
        return Invitation.objects.none()
    return Invitation.objects.allowed(actor.user, PERMISSION).open().to(person.email)


def _tokens(person: User) -> "QuerySet[ApiToken]":
    tokens = ApiToken.objects.filter(user=person, revoked_at=None)
    return tokens.exclude(expires_at__lte=timezone.now())


def _note(actor: Actor, person: User, ended: Leaving) -> None:
    """One event for each tenant: each sees what happened to it, and no more."""
    words: dict[Tenant, list[str]] = {}
    for membership in ended.memberships:
        words.setdefault(membership.tenant, []).append(membership.role.name)
    for rule in ended.grants:
        role = rule.role.name if rule.role else ""
        words.setdefault(rule.tenant, []).append(f"{role} of {rule.thing}")
    for tenant, names in words.items():
        audit_record(
            actor=actor,
            tenant=tenant,
            action="membership.end",
            object_kind="user",
            object_id=person.id,
            object_name=person.email,
            before={"roles": sorted(names)},
        )
        live_publish(tenant_id=tenant.id, kind="person", object_id=person.id)
