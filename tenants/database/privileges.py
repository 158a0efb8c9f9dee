"""What the application's role may do, set anew after every migration."""

from typing import Any

from django.conf import settings
from django.db import connections, transaction
from psycopg import sql

from tenants.walls import APPEND_ONLY, READ_ONLY


def privileges_after_migrate(*, using: str, plan: Any = None, **_signal: Any) -> None:
    """Runs after `manage.py migrate`, as the owner. Not after `flush`, which tells of no plan:
    that changes nothing here."""
    if plan is not None:
        privileges_sync(using)


def privileges_sync(using: str) -> None:
    """Rows of all tables, and no more; of the append-only ones, reading and adding; of those that
    the database fills, reading.

    The role may not be an owner, so that no statement of the application can alter a table or
    switch its wall off.
    """
    role = sql.Identifier(settings.DATABASES[using]["USER"])
    with transaction.atomic(using=using), connections[using].cursor() as cursor:
        cursor.execute(
            "SELECT c.relname FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace "
            "AND c.relkind IN ('r', 'p', 'v', 'm') AND pg_has_role(c.relowner, 'MEMBER')"
        )
        tables = {name for (name,) in cursor.fetchall()}
        for statement in (
            "GRANT USAGE ON SCHEMA public TO {role}",
            "GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO {role}",
        ):
            cursor.execute(sql.SQL(statement).format(role=role))
        if tables:
            found = sql.SQL(", ").join(sql.Identifier("public", name) for name in sorted(tables))
            revoke = sql.SQL("REVOKE ALL ON {tables} FROM {role}")
            cursor.execute(revoke.format(tables=found, role=role))
        for names, privileges in (
            (tables - APPEND_ONLY - READ_ONLY, "SELECT, INSERT, UPDATE, DELETE"),
            (tables & APPEND_ONLY, "SELECT, INSERT"),
            (tables & READ_ONLY, "SELECT"),
        ):
            if names:
                found = sql.SQL(", ").join(sql.Identifier("public", name) for name in sorted(names))
                grant = sql.SQL("GRANT " + privileges + " ON {tables} TO {role}")
                cursor.execute(grant.format(tables=found, role=role))
