"""Django's checks of the database (`manage.py check --database default`, and before `migrate`)."""

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register
from django.db import connections

_HINT = "docs/operators.md, “Two roles”, says how to make both roles, and how to part one in two."


@register(Tags.database)
def the_wall_holds_for_the_application(
    databases: Sequence[str] | None = None, **_options: Any
) -> list[CheckMessage]:
    """PostgreSQL's policies hold neither for superusers nor for who may bypass them, and an
    owner may switch them off: the application's role must be none of these."""
    found: list[CheckMessage] = []
    for alias in databases or ():
        role = settings.DATABASES[alias]["USER"]
        with connections[alias].cursor() as cursor:
            cursor.execute(
                "SELECT rolsuper OR rolbypassrls, EXISTS (SELECT 1 FROM pg_class c "
                "WHERE c.relnamespace = 'public'::regnamespace "
                "AND pg_has_role(r.oid, c.relowner, 'MEMBER')) FROM pg_roles r WHERE rolname = %s",
                [role],
            )
            row = cursor.fetchone()
        if row is None:
            about = f"DATABASE_URL names no role of this database (“{role}”)."
            found.append(Error(about, hint=_HINT, id="tenants.E001"))
        elif row[0]:
            about = f"The role “{role}” of DATABASE_URL passes every wall between tenants."
            found.append(Error(about, hint=_HINT, id="tenants.E002"))
        elif row[1]:
            about = f"The role “{role}” of DATABASE_URL owns tables, and so could open their walls."
            found.append(Error(about, hint=_HINT, id="tenants.E003"))
    return found
