"""People, their memberships and their tokens."""

from datetime import datetime

from django.db import transaction
from django.utils import timezone

from tenants.actor import Actor
from tenants.errors import NameTakenError
from tenants.models import ApiToken, Membership, Role, Tenant, User
from tenants.models.api_token import token_hash, token_new
from tenants.scope import sign_in_scope
from tenants.services.audit import audit_personal, audit_record
from tenants.services.sign_in_rules import second_factor_check
from tenants.ssh_keys import ssh_keys_check


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
    *, user: User, name: str, expires_at: datetime | None = None, actor: Actor | None = None
) -> tuple[ApiToken, str]:
    """A token and its secret. The secret is shown once and can't be had again. Raises
    SecondFactorNeededError: a token asks for no second factor, so its maker must have one."""
    second_factor_check(user)
    secret = token_new()
    token = ApiToken.objects.create(
        user=user,
        name=name,
        prefix=secret[:10],
        hash=token_hash(secret),
        expires_at=expires_at,
    )
    audit_personal(
        actor=actor or Actor(user=user),
        person=user,
        action="api_token.create",
        object_kind="api_token",
        object_id=token.id,
        object_name=str(token),
        after={"name": name, "expires_at": expires_at and expires_at.isoformat()},
    )
    return token, secret


@transaction.atomic
def api_token_revoke(*, token: ApiToken, actor: Actor | None = None) -> None:
    """From now on the token opens nothing."""
    if token.revoked_at is None:
        token.revoked_at = timezone.now()
        token.save(update_fields=["revoked_at"])
        audit_personal(
            actor=actor or Actor(user=token.user),
            person=token.user,
            action="api_token.revoke",
            object_kind="api_token",
            object_id=token.id,
            object_name=str(token),
        )
