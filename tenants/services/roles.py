"""Roles: the built-in ones, kept as rows so that memberships can point at them, and those that
tenants compose for themselves."""

from collections.abc import Iterable
from typing import Any

from django.db import IntegrityError, transaction
from django.utils.text import slugify

from tenants.actor import Actor
from tenants.errors import InvalidInputError, NameTakenError, RuleError
from tenants.models import AccessRule, Membership, Role, Tenant
from tenants.permissions import BUILT_IN_ROLES, PERMISSIONS
from tenants.scope import system_scope
from tenants.services.audit import audit_record
from tenants.services.authority import OwnAccessError, check_may_give

_NAMED = 5
"""How many of those who hold a role a refusal names."""


class RoleInUseError(RuleError):
    code = "role_in_use"
    status = 409


class BuiltInRoleError(RuleError):
    code = "built_in_role"
    status = 409


def built_in_roles_sync() -> None:
    """Make the rows of the built-in roles what `tenants.permissions` says they are."""
    for slug, (name, permissions) in BUILT_IN_ROLES.items():
        Role.objects.update_or_create(
            tenant=None, slug=slug, defaults={"name": name, "permissions": sorted(permissions)}
        )


def roles_after_migrate(**_signal: Any) -> None:
    """Runs after `manage.py migrate`: an upgrade may bring new permissions."""
    built_in_roles_sync()


@transaction.atomic
def role_create(*, actor: Actor, tenant: Tenant, name: str, permissions: Iterable[str]) -> Role:
    """A role of `tenant`, for it and all below it.

    Raises SurplusPermissionsError, NameTakenError, InvalidInputError.
    """
    wanted = _known(permissions)
    check_may_give(actor, tenant, wanted, field="permissions")
    role = Role(tenant=tenant, name=_name(tenant, name), permissions=wanted)
    _save(role)
    _record(actor, role, "role.create", after=_values(role))
    return role


@transaction.atomic
def role_change(
    *,
    actor: Actor,
    role: Role,
    name: str | None = None,
    permissions: Iterable[str] | None = None,
) -> Role:
    """Other values; None keeps one. It holds at once for everybody who has the role.

    Nothing can be added that the actor does not hold, nor to a role that they have themselves: it
    would outlive what gave it to them.

    Raises SurplusPermissionsError, OwnAccessError, BuiltInRoleError, NameTakenError,
    InvalidInputError.
    """
    role, tenant = _locked(role)
    before = _values(role)
    if permissions is not None:
        wanted = _known(permissions)
        added = set(wanted) - set(role.permissions)
        check_may_give(actor, tenant, added, field="permissions")
        if added and actor.user is not None and _has(actor.user.pk, role):
            raise OwnAccessError(
                f"You have the role {role.name} yourself, so you can't add to it. Ask a colleague "
                f"who manages roles, or make another role.",
                field="permissions",
            )
        role.permissions = wanted
    if name is not None and name.strip() != role.name:
        role.name = _name(tenant, name, but=role)
    after = _values(role)
    if after != before:
        _save(role)
        changed = [key for key in after if after[key] != before[key]]
        _record(
            actor,
            role,
            "role.change",
            before={key: before[key] for key in changed},
            after={key: after[key] for key in changed},
        )
    return role


@transaction.atomic
def role_delete(*, actor: Actor, role: Role) -> None:
    """Raises RoleInUseError while somebody has it, BuiltInRoleError."""
    role, _ = _locked(role)
    _check_unused(role)
    before, role_id = _values(role), role.id
    role.delete()
    role.id = role_id
    _record(actor, role, "role.delete", before=before)


def _locked(role: Role) -> tuple[Role, Tenant]:
    # Before the lock: behind the second wall, what is everybody's is nobody's to lock.
    if role.tenant is None:
        raise BuiltInRoleError(
            f"{role.name} is a built-in role and stays as it is. Make a role of your own, which "
            f"may begin with what this one holds."
        )
    locked = Role.objects.select_for_update(of=("self",)).get(pk=role.pk)
    return locked, role.tenant


def _known(permissions: Iterable[str]) -> list[str]:
    wanted = set(permissions)
    if unknown := wanted - set(PERMISSIONS):
        raise InvalidInputError(
            f"There is no permission “{min(unknown)[:63]}”.", field="permissions"
        )
    if not wanted:
        raise InvalidInputError("Choose at least one permission.", field="permissions")
    return [name for name in PERMISSIONS if name in wanted]


def _name(tenant: Tenant, name: str, *, but: Role | None = None) -> str:
    name = name.strip()
    if not slugify(name):
        raise InvalidInputError("The name needs at least one letter or digit.", field="name")
    named = Role.objects.usable_on(tenant).filter(name__iexact=name)
    if but is not None:
        named = named.exclude(pk=but.pk)
    if named.exists():
        raise NameTakenError(
            f"There is a role named “{name}” already. Choose another name.", field="name"
        )
    return name


def _save(role: Role) -> None:
    role.slug = slugify(role.name)[:63].strip("-")
    try:
        with transaction.atomic():
            role.save()
    except IntegrityError as error:
        raise NameTakenError(
            f"There is a role with a name like “{role.name}” already. Choose another name.",
            field="name",
        ) from error


def _has(user_id: Any, role: Role) -> bool:
    return (
        Membership.objects.filter(user=user_id, role=role).exists()
        or AccessRule.objects.filter(user=user_id, role=role).exists()
    )


def _check_unused(role: Role) -> None:
    in_sight = _holders(role)
    # Below a tenant that is denied to whoever asks, there may be more of them.
    with system_scope("a role may be in use where the actor does not reach"):
        count = len(_holders(role))
    if not count:
        return
    names = in_sight[:_NAMED]
    more = count - len(names)
    who = ", ".join(names) + (f" and {more} more" if names and more else "")
    raise RoleInUseError(
        f"{role.name} is in use by {who or f'{count} people whom you may not see'}. Give them "
        f"another role first."
    )


def _holders(role: Role) -> list[str]:
    people = {row.user for row in Membership.objects.filter(role=role).select_related("user")} | {
        row.user for row in AccessRule.objects.filter(role=role).select_related("user")
    }
    return sorted(str(person) for person in people)


def _values(role: Role) -> dict[str, Any]:
    return {"name": role.name, "permissions": list(role.permissions)}


def _record(actor: Actor, role: Role, action: str, **values: Any) -> None:
    assert role.tenant is not None  # noqa: S101 - built-in roles are not changed
    audit_record(
        actor=actor,
        tenant=role.tenant,
        action=action,
        object_kind="role",
        object_id=role.id,
        object_name=role.name,
        **values,
    )
