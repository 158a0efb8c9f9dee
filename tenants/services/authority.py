"""What somebody may give to others: never more than they hold themselves."""

from collections.abc import Iterable
from typing import Any

from tenants.actor import Actor
from tenants.errors import RuleError
from tenants.models import Membership, User
from tenants.permissions import in_words


class SurplusPermissionsError(RuleError):
    """More than the actor holds."""

    code = "surplus_permissions"
    status = 403


class OwnAccessError(RuleError):
    code = "own_access"
    status = 403


def check_may_give(
    actor: Actor, thing: Any, permissions: Iterable[str], *, field: str | None = None
) -> None:
    """Whoever gives these permissions on a tenant, site or VM holds each of them there. The portal
    itself holds all. Raises SurplusPermissionsError."""
    if actor.user is None:
        return
    surplus = set(permissions) - Membership.objects.permissions_on(actor.user, thing)
    if surplus:
        raise SurplusPermissionsError(
            f"You don't hold this on {thing} yourself: {in_words(surplus)}. Leave it out, or ask "
            f"somebody who holds it.",
            field=field,
        )


def check_may_touch(actor: Actor, thing: Any, permissions: Iterable[str], *, what: str) -> None:
    """Nobody changes or ends what gives more than they hold. Raises SurplusPermissionsError."""
    if actor.user is None:
        return
    surplus = set(permissions) - Membership.objects.permissions_on(actor.user, thing)
    if surplus:
        raise SurplusPermissionsError(
            f"{what} gives more on {thing} than you hold yourself: {in_words(surplus)}. Ask "
            f"somebody who holds it to do this."
        )


def check_not_own(actor: Actor, user: User) -> None:
    """Nobody changes their own access. Raises OwnAccessError."""
    if actor.user is not None and actor.user.pk == user.pk:
        raise OwnAccessError(
            "Nobody changes their own access. Ask a colleague who manages people here."
        )
