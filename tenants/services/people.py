"""People, their memberships and their tokens."""

from collections.abc import Collection
from datetime import datetime

from django.db import transaction
from django.utils import timezone

from tenants.actor import Actor
from tenants.errors import InvalidInputError, NameTakenError, RuleError
from tenants.models import ApiToken, Membership, Role, ServiceAccount, Tenant, User
from tenants.models.api_token import token_hash, token_new
from tenants.permissions import PERMISSIONS, in_words
from tenants.scope import sign_in_scope, system_scope
from tenants.services.audit import audit_personal, audit_record
from tenants.services.authority import SurplusPermissionsError
from tenants.services.comparing import managed_by, surplus_of
from tenants.services.live import person_recheck
from tenants.services.reach import reach_tenants
from tenants.services.sign_in_rules import second_factor_check
from tenants.ssh_keys import ssh_keys_check

READ_ONLY = tuple(name for name in PERMISSIONS if name.endswith(".view"))
"""What a token that only looks may do, of what its owner may."""
MOST_TOKENS = 100
"""Of one account, that open something."""
MOST_TENANTS = 200
_LONGEST_NAME = 100


class TokenTooWideError(RuleError):
    """More than its owner, or than the token that it is asked for with, is good for."""

    code = "token_too_wide"
    status = 403


class TokenElsewhereError(RuleError):
    """Not the actor's own, nor of somebody whom they manage."""

    code = "token_elsewhere"
    status = 403


@transaction.atomic
def user_create(
    *, actor: Actor, tenant: Tenant, role: str, email: str, password: str | None
) -> User:
    """A person with a built-in role on `tenant`. Raises NameTakenError."""
    with sign_in_scope():
        if User.objects.filter(email__iexact=email.strip()).exists():
            raise NameTakenError(f"{email} has an account already.", field="email")
        user = User.objects.create_user(email=email, password=password)
    membership_create(actor=actor, user=user, tenant=tenant, role=role)
    return user


@transaction.atomic
def user_change(
    *,
    user: User,
    name: str,
    time_zone: str,
    ssh_keys: list[str],
    actor: Actor | None = None,
) -> None:
    """What people change about themselves. Raises InvalidInputError."""
    after = {"name": name.strip(), "time_zone": time_zone, "ssh_keys": ssh_keys_check(ssh_keys)}
    before = {field: getattr(user, field) for field in after}
    changed = [field for field in after if after[field] != before[field]]
    if not changed:
        return
    for field in changed:
        setattr(user, field, after[field])
    user.save(update_fields=changed)
    audit_personal(
        actor=actor or Actor(user=user),
        person=user,
        action="user.change",
        before={field: before[field] for field in changed},
        after={field: after[field] for field in changed},
    )


@transaction.atomic
def membership_create(*, actor: Actor, user: User, tenant: Tenant, role: str) -> Membership:
    """Give `user` the built-in role with this slug on `tenant`."""
    found = Role.objects.get(tenant=None, slug=role)
    membership, _ = Membership.objects.get_or_create(user=user, tenant=tenant, role=found)
    audit_record(
        actor=actor,
        tenant=tenant,
        action="membership.create",
        object_kind="user",
        object_id=user.id,
        object_name=user.email,
        after={"role": role},
    )
    return membership


@transaction.atomic
def api_token_create(
    *,
    user: User,
    name: str,
    expires_at: datetime | None = None,
    permissions: Collection[str] | None = None,
    tenants: Collection[Tenant] | None = None,
    actor: Actor | None = None,
) -> tuple[ApiToken, str]:
    """A token of `user` and its secret, which is shown once and can't be had again. It is good
    for these permissions on these tenants and all below; None leaves all that the user holds, as
    they hold it at each moment. `expires_at` None: until revoked; or, where it is made with
    another token, until that one expires.

    Raises InvalidInputError, TokenTooWideError, SurplusPermissionsError, SecondFactorNeededError:
    a token asks for no second factor, so its maker must have one.
    """
    actor = actor or Actor(user=user)
    name = name.strip()
    if not name or len(name) > _LONGEST_NAME or not name.isprintable():
        raise InvalidInputError("Say in up to 100 letters what the token is for.", field="name")
    if expires_at is not None and expires_at <= timezone.now():
        raise InvalidInputError("This end is over. Choose one to come.", field="expires_at")
    # Whoever closes the account at this moment waits here, or is waited for.
    with sign_in_scope():
        user = User.objects.select_for_update(no_key=True).get(pk=user.pk)
    if not user.is_active:
        raise InvalidInputError(f"{user} is closed. Open the account again first.")
    _must_be_own_or_a_services(actor, user)
    if user.is_service:
        # No one signs in as it: what is asked of people, is asked of who makes the token.
        if actor.user is not None and not actor.user.is_service:
            second_factor_check(actor.user)
    else:
        second_factor_check(user)
    parent, expires_at = _with_token(actor, expires_at)
    chosen = _permissions_checked(user, permissions)
    places = _tenants_checked(user, tenants)
    if ApiToken.objects.good().filter(user=user).count() >= MOST_TOKENS:
        raise InvalidInputError(f"There are {MOST_TOKENS} tokens already. Revoke one first.")
    secret = token_new()
    token = ApiToken.objects.create(
        user=user,
        name=name,
        prefix=secret[:10],
        hash=token_hash(secret),
        permissions=chosen,
        tenants=None if places is None else [tenant.id for tenant in places],
        made_by=actor.user,
        made_by_name=actor.name,
        made_with=parent,
        expires_at=expires_at,
    )
    audit_personal(
        actor=actor,
        person=user,
        action="api_token.create",
        object_kind="api_token",
        object_id=token.id,
        object_name=str(token),
        after={
            "name": name,
            "expires_at": expires_at and expires_at.isoformat(),
            "permissions": chosen if chosen is not None else "all",
            "customers": sorted(place.name for place in places) if places else "all",
            **({"account": user.name} if user.is_service else {}),
        },
    )
    return token, secret


@transaction.atomic
def api_token_revoke(*, token: ApiToken, actor: Actor | None = None) -> int:
    """From now on the token opens nothing, nor does what was made with it. Returns how many tokens
    ended. Raises TokenElsewhereError where the actor neither owns it nor manages its owner."""
    actor = actor or Actor(user=token.user)
    token = ApiToken.objects.select_for_update(of=("self",)).select_related("user").get(pk=token.pk)
    _must_be_own_or_managed(actor, token.user)
    asking = actor.token
    if asking is not None and asking.bound and asking.pk not in (token.pk, token.made_with_id):
        raise TokenElsewhereError(
            "A token that is good for less than its owner revokes itself and what was made "
            "with it, and no other."
        )
    if token.revoked_at is not None:
        return 0
    token.revoked_at = timezone.now()
    token.save(update_fields=["revoked_at"])
    made = ApiToken.objects.filter(made_with=token, revoked_at=None)
    ended = made.update(revoked_at=token.revoked_at) + 1
    person_recheck(token.user_id)
    audit_personal(
        actor=actor,
        person=token.user,
        action="api_token.revoke",
        object_kind="api_token",
        object_id=token.id,
        object_name=str(token),
        before={"made_with_it": ended - 1} if ended > 1 else None,
    )
    return ended


def _must_be_own_or_a_services(actor: Actor, user: User) -> None:
    """Nobody makes a token of another person; of a service account, whoever looks after it and
    holds all that it does. Raises TokenElsewhereError, SurplusPermissionsError."""
    if actor.user is None or actor.user.pk == user.pk:
        return
    if not user.is_service:
        raise TokenElsewhereError("People make their tokens themselves. Make a service account.")
    _must_be_own_or_managed(actor, user)
    if surplus := surplus_of(user, actor.user):
        raise SurplusPermissionsError(
            f"{user} may do more than you: {in_words(surplus)}. Whoever has its token could do "
            "that. Ask somebody who holds it to make the token."
        )


def _must_be_own_or_managed(actor: Actor, user: User) -> None:
    """One's own; of others, where one manages people wherever they have access. Raises
    TokenElsewhereError."""
    if actor.user is None or actor.user.pk == user.pk:
        return
    if user.is_service:
        accounts = ServiceAccount.objects.allowed(actor.user, "user.manage")
        if accounts.filter(user=user).exists():
            return
    elif managed_by(user, actor.user):
        return
    raise TokenElsewhereError(
        f"You don't manage people everywhere {user} has access. Ask somebody who does."
    )


def _with_token(
    actor: Actor, expires_at: datetime | None
) -> tuple[ApiToken | None, datetime | None]:
    """The token that the new one is asked for with, if any, and when the new one ends."""
    if actor.token is None:
        return None, expires_at
    # Whoever revokes it at this moment waits, and then revokes the new one, too.
    parent = ApiToken.objects.select_for_update(of=("self",)).get(pk=actor.token.pk)
    if parent.revoked_at is not None:
        raise TokenTooWideError("The token that asks was revoked a moment ago.")
    if parent.made_with_id is not None:
        raise TokenTooWideError("A token that was made with a token makes no others.")
    if parent.permissions is not None:
        raise TokenTooWideError(
            "A token that is good for some permissions only makes no others. Make them on the "
            "page “API tokens”, or with one that is good for all that you may do."
        )
    if parent.expires_at is not None:
        if expires_at is not None and expires_at > parent.expires_at:
            raise TokenTooWideError(
                "It would outlive the token that asks for it. Choose an earlier end.",
                field="expires_at",
            )
        expires_at = expires_at or parent.expires_at
    return parent, expires_at


def _permissions_checked(user: User, permissions: Collection[str] | None) -> list[str] | None:
    if permissions is None:
        return None
    if unknown := sorted(set(permissions) - set(PERMISSIONS)):
        raise InvalidInputError(f"There is no permission {unknown[0][:63]!r}.", field="permissions")
    if not permissions:
        raise InvalidInputError("Choose what the token may do.", field="permissions")
    with system_scope("what gives an account access may be above whoever asks"):
        held = Membership.objects.permissions_of(user)
    # Who only looks gets to see what there is: nobody ticks that one by one.
    if surplus := set(permissions) - held - set(READ_ONLY):
        raise TokenTooWideError(
            f"{user} may do this nowhere: {in_words(surplus)}. Leave it out.", field="permissions"
        )
    return [name for name in PERMISSIONS if name in set(permissions)]


def _tenants_checked(user: User, tenants: Collection[Tenant] | None) -> list[Tenant] | None:
    if tenants is None:
        return None
    if not tenants:
        raise InvalidInputError("Choose where the token is good.", field="tenants")
    if len(tenants) > MOST_TENANTS:
        raise InvalidInputError(
            f"A token names up to {MOST_TENANTS} customers. Name a group of them, or leave it "
            "open.",
            field="tenants",
        )
    with system_scope("what an account reaches may be beyond whoever asks"):
        reached = set(reach_tenants(user))
    if beyond := [tenant for tenant in tenants if tenant.pk not in reached]:
        raise TokenTooWideError(f"{user} does not reach {beyond[0]}.", field="tenants")
    return list(tenants)
