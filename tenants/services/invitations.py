"""Inviting people, and what becomes of an invitation. Mails: tenants/services/invitation_mail.py.

Whether an address has an account is never looked up while inviting: whoever invites learns
nothing about other tenants. It is looked up when the link is opened, by whoever has it.
"""

import hashlib
import secrets
from dataclasses import replace
from datetime import datetime, timedelta

from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.utils import timezone

from tenants.actor import Actor
from tenants.errors import InvalidInputError, NameTakenError, RuleError
from tenants.models import Invitation, Membership, Role, Tenant, User
from tenants.models.service_account import DOMAIN
from tenants.scope import sign_in_scope, system_scope, tenant_scope
from tenants.services.audit import audit_record
from tenants.services.limits import limit_use
from tenants.services.live import live_publish

PERMISSION = "user.manage"
LIFE = timedelta(days=7)
LONGEST_LIFE = timedelta(days=30)
_HOUR_S = 3600
_MOST_BY_ONE, _MOST_TO_ONE = 60, 5
"""Messages in an hour: by one person, and to one address of one tenant."""


class RoleBeyondOwnError(RuleError):
    """Nobody gives what they do not hold."""

    code = "role_beyond_own"
    status = 403


class InvitationClosedError(RuleError):
    """The link opens nothing; the message says why, and what to do."""

    code = "invitation_closed"
    status = 410


class AccountExistsError(RuleError):
    """The address has an account: it must be its owner who accepts."""

    code = "account_exists"
    status = 409


class OtherAccountError(RuleError):
    """Somebody else is signed in than the one who was invited."""

    code = "other_account"
    status = 403


def roles_for(user: User, tenant: Tenant) -> "QuerySet[Role]":
    """Roles that `user` may give on `tenant`: none with more than they hold there."""
    held = Membership.objects.permissions_of(user, tenant)
    return Role.objects.usable_on(tenant).filter(permissions__contained_by=sorted(held))


def invitation_create(
    *,
    actor: Actor,
    tenant: Tenant,
    role: Role,
    email: str,
    life: timedelta = LIFE,
    membership_expires_at: datetime | None = None,
) -> tuple[Invitation, str]:
    """An invitation, and the secret of its link, which is nowhere kept. The caller has fetched
    `tenant` among those on which the person holds user.manage.

    Raises InvalidInputError, NameTakenError, RoleBeyondOwnError, TooOftenError.
    """
    email = email.strip().lower()
    now = timezone.now()
    if not timedelta(0) < life <= LONGEST_LIFE:
        raise InvalidInputError("An invitation is good for 30 days at most.", field="days")
    if membership_expires_at is not None and membership_expires_at <= now:
        raise InvalidInputError("This day is over. Choose one to come.", field="until")
    if email.endswith(f"@{DOMAIN}"):
        raise InvalidInputError("No mail goes to a service account.", field="email")
    _must_be_givable(actor, tenant, role)
    # Seen with the eyes of the inviter, who sees the members of this tenant in any case.
    held = Membership.objects.current().filter(tenant=tenant, role=role, user__email__iexact=email)
    if held.exists():
        raise NameTakenError(f"{email} is {role.name} of {tenant.name} already.", field="email")
    _count_sending(actor, tenant, email)
    secret = secrets.token_urlsafe(32)
    try:
        with transaction.atomic():
            invitation = Invitation.objects.create(
                tenant=tenant,
                email=email,
                role=role,
                membership_expires_at=membership_expires_at,
                invited_by=actor.user,
                hash=_hash(secret),
                sent_at=now,
                expires_at=now + life,
            )
            _note(actor, invitation, "invitation.create")
    except IntegrityError as error:
        raise NameTakenError(
            f"{email} is invited already as {role.name} of {tenant.name}. Send that invitation "
            "again, or take it back first.",
            field="email",
        ) from error
    return invitation, secret


@transaction.atomic
def invitation_renew(*, actor: Actor, invitation: Invitation) -> tuple[Invitation, str]:
    """Another link, good for as long as the first was; what was sent before opens nothing. Who
    renews it has invited.

    Raises InvitationClosedError, RoleBeyondOwnError, TooOftenError.
    """
    invitation = _locked(invitation)
    _must_be_pending(invitation)
    _must_be_givable(actor, invitation.tenant, invitation.role)
    _count_sending(actor, invitation.tenant, invitation.email)
    secret = secrets.token_urlsafe(32)
    now = timezone.now()
    life = invitation.expires_at - invitation.sent_at
    invitation.hash, invitation.sent_at, invitation.mailed = _hash(secret), now, False
    invitation.expires_at, invitation.invited_by = now + life, actor.user
    invitation.save(update_fields=["hash", "sent_at", "mailed", "expires_at", "invited_by"])
    _note(actor, invitation, "invitation.renew")
    return invitation, secret


@transaction.atomic
def invitation_revoke(*, actor: Actor, invitation: Invitation) -> None:
    """Take it back: its link opens nothing. Raises InvitationClosedError."""
    invitation = _locked(invitation)
    _must_be_pending(invitation)
    invitation.revoked_at = timezone.now()
    invitation.save(update_fields=["revoked_at"])
    _note(actor, invitation, "invitation.revoke")


# ------------------------------------------------------------------ the other side


def invitation_by_secret(secret: str) -> Invitation:
    """The invitation that a link opens. Raises InvitationClosedError."""
    with sign_in_scope():
        return _checked(_by_secret().filter(hash=_hash(secret)).first())


@transaction.atomic
def invitation_accept(*, actor: Actor, secret: str) -> Membership:
    """The signed-in person takes up the role, if it is they who were invited.

    Raises InvitationClosedError, OtherAccountError.
    """
    with sign_in_scope():
        invitation = _checked(_by_secret().select_for_update(of=("self",)).filter(
            hash=_hash(secret)
        ).first())  # fmt: skip
        if actor.user is None or actor.user.email.lower() != invitation.email.lower():
            raise OtherAccountError(
                f"This invitation is for {invitation.email}, and you are signed in as "
                f"{actor.name}. Sign out, then open the link again."
            )
        user = User.objects.select_for_update().get(pk=actor.user.pk)
        if not user.is_active:
            raise OtherAccountError("Your account was closed. Open the link again.")
        return _taken_up(actor, invitation, user)


@transaction.atomic
def invitation_accept_new(
    *, actor: Actor, secret: str, name: str, password: str
) -> tuple[Membership, User]:
    """Make an account for the invited address, or open again one that was closed, and take up the
    role. The caller has had `password` checked by Django's validators.

    Raises InvitationClosedError, AccountExistsError.
    """
    with sign_in_scope():
        invitation = _checked(_by_secret().select_for_update(of=("self",)).filter(
            hash=_hash(secret)
        ).first())  # fmt: skip
        user = User.objects.select_for_update().filter(email__iexact=invitation.email).first()
        if user is not None and user.is_active:
            raise AccountExistsError(
                f"{invitation.email} has an account already. Sign in with it; then you can "
                "accept the invitation."
            )
        if user is None:
            user = User.objects.create_user(email=invitation.email, password=password, name=name)
        else:
            # A new password also makes worthless whatever session there was.
            user.set_password(password)
            user.name, user.is_active = name, True
            user.save(update_fields=["password", "name", "is_active"])
        return _taken_up(replace(actor, user=user), invitation, user), user


def _by_secret() -> "QuerySet[Invitation]":
    return Invitation.objects.select_related("tenant", "role", "invited_by")


def _checked(invitation: Invitation | None) -> Invitation:
    """The same, if it can be accepted now. Raises InvitationClosedError."""
    if invitation is None:
        raise InvitationClosedError(
            "This link is not known here. If the invitation was sent more than once, open the "
            "link in the newest message; else ask whoever invited you for a new one."
        )
    ask = f"Ask the administrators of {invitation.tenant.name} for a new one."
    if invitation.state == Invitation.State.ACCEPTED:
        raise InvitationClosedError(
            "This invitation has been accepted already: each can be used once. If it was you, "
            "sign in with your e-mail address and your password."
        )
    if invitation.state == Invitation.State.REVOKED:
        raise InvitationClosedError(f"This invitation was taken back. {ask}")
    if invitation.state == Invitation.State.EXPIRED:
        raise InvitationClosedError(f"This invitation has expired. {ask}")
    ends = invitation.membership_expires_at
    if ends is not None and ends <= timezone.now():
        raise InvitationClosedError(f"The time this invitation was meant for is over. {ask}")
    inviter = invitation.invited_by
    if inviter is None or not _may_give(inviter, invitation.tenant, invitation.role):
        raise InvitationClosedError(
            f"Whoever sent this invitation may not invite people to this any more. {ask}"
        )
    return invitation


def _taken_up(actor: Actor, invitation: Invitation, user: User) -> Membership:
    now = timezone.now()
    ends = invitation.membership_expires_at
    membership, made = Membership.objects.select_for_update(of=("self",)).get_or_create(
        user=user,
        tenant=invitation.tenant,
        role=invitation.role,
        defaults={"expires_at": ends},
    )
    if not made:
        # What the person holds is never cut short by an invitation.
        if membership.ended:
            membership.expires_at = ends
        elif membership.expires_at is not None:
            membership.expires_at = ends and max(ends, membership.expires_at)
        membership.save(update_fields=["expires_at"])
    invitation.accepted_at = now
    invitation.save(update_fields=["accepted_at"])
    with tenant_scope([invitation.tenant_id]):
        _note(actor, invitation, "invitation.accept")
    live_publish(tenant_id=invitation.tenant_id, kind="person", object_id=user.id)
    return membership


# ------------------------------------------------------------------ rules


def _may_give(user: User, tenant: Tenant, role: Role) -> bool:
    if not user.is_active:
        return False
    with system_scope("what the inviter may do, asked by whoever was invited"):
        held = Membership.objects.permissions_of(user, tenant)
    return PERMISSION in held and held >= set(role.permissions)


def _must_be_givable(actor: Actor, tenant: Tenant, role: Role) -> None:
    if actor.user is None:
        raise InvalidInputError("People are invited by a person.")
    if not roles_for(actor.user, tenant).filter(pk=role.pk).exists():
        raise RoleBeyondOwnError(
            f"You can't give “{role.name}” on {tenant.name}: it may do more there than you. "
            "Choose a role with no more than you hold.",
            field="role",
        )


def _must_be_pending(invitation: Invitation) -> None:
    if invitation.state in {Invitation.State.ACCEPTED, Invitation.State.REVOKED}:
        words = invitation.state.label.lower()
        raise InvitationClosedError(f"The invitation of {invitation.email} is {words} already.")


def _count_sending(actor: Actor, tenant: Tenant, email: str) -> None:
    limit_use(
        f"invitations-by:{actor.user.pk if actor.user else ''}",
        most=_MOST_BY_ONE,
        per_s=_HOUR_S,
        message=f"You sent {_MOST_BY_ONE} invitations within an hour. Go on in an hour.",
    )
    limit_use(
        f"invitations-to:{tenant.pk}:{_hash(email)}",
        most=_MOST_TO_ONE,
        per_s=_HOUR_S,
        message=f"{email} was sent {_MOST_TO_ONE} messages within an hour. Wait an hour.",
    )


def _locked(invitation: Invitation) -> Invitation:
    return (
        Invitation.objects.select_for_update(of=("self",))
        .select_related("tenant", "role")
        .get(pk=invitation.pk)
    )


def _note(actor: Actor, invitation: Invitation, action: str) -> None:
    ends = invitation.membership_expires_at
    audit_record(
        actor=actor,
        tenant=invitation.tenant,
        action=action,
        object_kind="invitation",
        object_id=invitation.id,
        object_name=invitation.email,
        after={"role": invitation.role.name, "until": ends.isoformat() if ends else None},
    )
    live_publish(tenant_id=invitation.tenant_id, kind="invitation", object_id=invitation.id)


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
