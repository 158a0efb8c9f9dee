"""Service accounts: made for a tenant, given a role or more, closed, and deleted.

Whoever holds user.manage on the account's tenant looks after it. Nobody gives it, nor opens again
or makes tokens of, what may do more than they; anybody who looks after it may end it.
"""

import uuid
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone

from tenants.actor import Actor
from tenants.errors import InvalidInputError, NameTakenError
from tenants.models import ApiToken, Role, ServiceAccount, Tenant, User
from tenants.models.service_account import DOMAIN
from tenants.permissions import in_words
from tenants.scope import sign_in_scope, system_scope
from tenants.services.audit import audit_record
from tenants.services.authority import SurplusPermissionsError, check_may_give
from tenants.services.comparing import surplus_of
from tenants.services.live import live_publish, person_recheck
from tenants.services.memberships import membership_make

_LONGEST_NAME = 100
_LONGEST_DESCRIPTION = 300


@transaction.atomic
def service_account_create(
    *, actor: Actor, tenant: Tenant, name: str, description: str = "", role: Role | None = None
) -> ServiceAccount:
    """An account of `tenant`, with this role there if one is given. The caller has fetched
    `tenant` among those on which the person holds user.manage.

    Raises InvalidInputError, NameTakenError, and what giving the role raises.
    """
    check_may_give(actor, tenant, {"user.manage"})
    values = _checked(name, description)
    with sign_in_scope():
        user = User.objects.create_user(
            email=f"{uuid.uuid4()}@{DOMAIN}", name=values["name"], is_service=True
        )
    account = ServiceAccount(
        tenant=tenant, user=user, made_by=actor.user, made_by_name=actor.name, **values
    )
    _save(account)
    if role is not None:
        membership_make(actor=actor, user=user, tenant=tenant, role=role)
    _note(actor, account, "service_account.create", after={**values, "role": role and role.name})
    return account


@transaction.atomic
def service_account_change(
    *, actor: Actor, account: ServiceAccount, name: str, description: str
) -> None:
    """Another name, or other words about it. Raises InvalidInputError, NameTakenError."""
    account = _locked(account)
    check_may_give(actor, account.tenant, {"user.manage"})
    before = {"name": account.name, "description": account.description}
    after = _checked(name, description)
    if after == before:
        return
    account.name, account.description = after["name"], after["description"]
    _save(account)
    with sign_in_scope():
        User.objects.filter(pk=account.user_id).update(name=account.name)
    _note(actor, account, "service_account.change", before=before, after=after)


@transaction.atomic
def service_account_close(*, actor: Actor, account: ServiceAccount) -> int:
    """From now on it does nothing: its tokens are revoked and its consoles close. It keeps its
    roles, for when it is opened again. Returns how many tokens ended."""
    account = _locked(account)
    check_may_give(actor, account.tenant, {"user.manage"})
    if not account.user.is_active:
        return 0
    with sign_in_scope():
        User.objects.filter(pk=account.user_id).update(is_active=False)
    ended = _tokens_end(account)
    _note(actor, account, "service_account.close", after={"tokens_revoked": ended})
    return ended


@transaction.atomic
def service_account_open(*, actor: Actor, account: ServiceAccount) -> None:
    """It may work again, with new tokens. Raises SurplusPermissionsError."""
    account = _locked(account)
    check_may_give(actor, account.tenant, {"user.manage"})
    if account.user.is_active:
        return
    account.user.is_active = True
    _no_more_than_own(actor, account.user)
    with sign_in_scope():
        User.objects.filter(pk=account.user_id).update(is_active=True)
    _note(actor, account, "service_account.open")


@transaction.atomic
def service_account_delete(*, actor: Actor, account: ServiceAccount) -> int:
    """Delete it with its roles and tokens. What it did stays in the audit log, under its name.
    Returns how many tokens ended."""
    account = _locked(account)
    check_may_give(actor, account.tenant, {"user.manage"})
    ended = _tokens_end(account)
    _note(
        actor,
        account,
        "service_account.delete",
        before={"name": account.name, "made_by": account.made_by_name, "tokens": ended},
    )
    with system_scope("what points at an account may be anywhere below its tenant"):
        account.user.delete()
    return ended


def _locked(account: ServiceAccount) -> ServiceAccount:
    # The account's user first, as whoever makes a token does.
    with sign_in_scope():
        User.objects.select_for_update().get(pk=account.user_id)
    rows = ServiceAccount.objects.select_for_update(of=("self",))
    return rows.select_related("tenant", "user").get(pk=account.pk)


def _tokens_end(account: ServiceAccount) -> int:
    tokens = ApiToken.objects.filter(user=account.user_id, revoked_at=None)
    ended = tokens.update(revoked_at=timezone.now())
    person_recheck(account.user_id)
    return ended


def _no_more_than_own(actor: Actor, user: User) -> None:
    if actor.user is None:
        return
    if surplus := surplus_of(user, actor.user):
        raise SurplusPermissionsError(
            f"{user} may do more than you: {in_words(surplus)}. Ask somebody who holds it."
        )


def _checked(name: str, description: str) -> dict[str, str]:
    name, description = name.strip(), " ".join(description.split())
    if not name or len(name) > _LONGEST_NAME or not name.isprintable():
        raise InvalidInputError("Give it a name of up to 100 letters.", field="name")
    if len(description) > _LONGEST_DESCRIPTION or not description.isprintable():
        raise InvalidInputError("Say it in up to 300 letters.", field="description")
    return {"name": name, "description": description}


def _save(account: ServiceAccount) -> None:
    try:
        with transaction.atomic():
            account.save()
    except IntegrityError as error:
        raise NameTakenError(
            f"{account.tenant} has a service account “{account.name}” already.", field="name"
        ) from error


def _note(actor: Actor, account: ServiceAccount, action: str, **values: Any) -> None:
    audit_record(
        actor=actor,
        tenant=account.tenant,
        action=action,
        object_kind="service_account",
        object_id=account.id,
        object_name=account.name,
        **values,
    )
    live_publish(tenant_id=account.tenant_id, kind="person", object_id=account.user_id)
