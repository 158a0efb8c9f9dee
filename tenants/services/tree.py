"""Holding the tree of an MSP still, where a decision rests on more than one of its rows.

Who adds to what is counted along the tree holds it; who changes what is counted together (moves
a customer, sets a quota) changes it, and waits until nobody holds it. Taken before any row is
locked, so that two never wait for each other.
"""

from collections.abc import Callable

from django.db import connection

from tenants.actor import Actor
from tenants.models import Tenant

MoveCheck = Callable[[Actor, Tenant, Tenant], None]
"""Gets who moves, the customer and where to. Raises RuleError where it may not be."""

_move_checks: list[MoveCheck] = []


def tree_hold(tenant: Tenant) -> None:
    """Until the transaction ends, nobody changes the tree that `tenant` is in. Many hold it."""
    _lock("pg_advisory_xact_lock_shared", tenant)


def tree_change(tenant: Tenant) -> None:
    """Until the transaction ends, the tree that `tenant` is in is nobody else's."""
    _lock("pg_advisory_xact_lock", tenant)


def _lock(function: str, tenant: Tenant) -> None:
    # A customer never leaves its MSP: whatever else moves, this is the one lock to take.
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {function}(hashtextextended('basalt-tree ' || %s, 0))",
            [str(tenant.line()[-1])],
        )


def move_check_register(check: MoveCheck) -> None:
    """For higher layers, which know what a customer has. Called once, when Django is ready."""
    _move_checks.append(check)


def move_check(*, actor: Actor, tenant: Tenant, parent: Tenant) -> None:
    """Ask all that have a say. Raises RuleError."""
    for check in _move_checks:
        check(actor, tenant, parent)
