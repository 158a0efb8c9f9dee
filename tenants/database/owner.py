"""The two roles: the owner, who migrates, and the application's, which owns nothing."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import DEFAULT_DB_ALIAS, connections

_MISSING = (
    "Only the owner of the database's tables may do this, and BASALT_OWNER_DATABASE_URL does not "
    "say how to connect as that one. docs/operators.md, “Two roles”, says how to make both."
)
_SAME = (
    "DATABASE_URL and BASALT_OWNER_DATABASE_URL name one and the same role. The application's must "
    "own nothing: docs/operators.md, “Two roles”, says how to make both."
)


def owner_settings(application: dict[str, Any]) -> dict[str, Any]:
    """Settings of a connection to the same database as the owner, and without a pool.

    Raises ImproperlyConfigured.
    """
    owner: dict[str, Any] | None = settings.BASALT_OWNER_DATABASE
    if owner is None:
        raise ImproperlyConfigured(_MISSING)
    if owner["USER"] == application["USER"]:
        raise ImproperlyConfigured(_SAME)
    # The name is the application's: while tests run, that is another database.
    return {**application, **owner, "NAME": application["NAME"]}


@contextmanager
def as_owner(alias: str = DEFAULT_DB_ALIAS) -> Iterator[None]:
    """In this thread, `alias` is a new connection as the owner. Raises ImproperlyConfigured."""
    from tenants.database.base import DatabaseWrapper

    application = connections[alias]
    owner = DatabaseWrapper(owner_settings(application.settings_dict), alias)
    connections[alias] = owner
    try:
        yield
    finally:
        connections[alias] = application
        owner.close()
