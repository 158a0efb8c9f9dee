"""The second wall stands around every table, and the application can't take it down.

The database itself is walked: a new table without a wall fails here the day it appears.
"""

from collections.abc import Iterator

import pytest
from celery import current_app
from django.conf import settings
from django.core.management import get_commands, load_command_class
from django.db import connection, transaction
from django.db.utils import ProgrammingError

from tenants.database.owner import as_owner
from tenants.database.privileges import privileges_sync
from tenants.scoped_command import ScopedCommand
from tenants.scoped_task import ScopedTask
from tenants.walls import APPEND_ONLY, OPEN, READ_ONLY, TenantWall

pytestmark = pytest.mark.django_db


def rows(query: str) -> list[tuple]:
    with connection.cursor() as cursor:
        cursor.execute(query)
        return cursor.fetchall()


def walls() -> dict[str, tuple[bool, bool, int]]:
    """Of every table: whether its wall is enabled, forced, and how many policies it has."""
    found = rows(
        "SELECT relname, relrowsecurity, relforcerowsecurity, "
        "(SELECT count(*) FROM pg_policy WHERE polrelid = c.oid) FROM pg_class c "
        "WHERE relkind IN ('r', 'p', 'm', 'f') AND relnamespace = 'public'::regnamespace"
    )
    return {name: (enabled, forced, policies) for name, enabled, forced, policies in found}


def test_every_table_has_a_wall_or_a_reason_why_not():
    found = walls()
    assert len(found) > 25
    walled = {name for name, wall in found.items() if wall[0] and wall[1] and wall[2]}
    assert set(found) - walled == set(OPEN)
    assert all(OPEN.values())


def test_a_table_that_nobody_thought_of_is_noticed():
    with as_owner(), connection.cursor() as cursor:
        cursor.execute("CREATE TABLE forgotten (id integer)")
    try:
        assert walls()["forgotten"] == (False, False, 0)
        assert "forgotten" not in OPEN
    finally:
        with as_owner(), connection.cursor() as cursor:
            cursor.execute("DROP TABLE forgotten")


def test_the_applications_role_owns_nothing_and_passes_no_wall():
    role = settings.DATABASES["default"]["USER"]
    assert rows("SELECT current_user") == [(role,)]
    [(superuser, bypass, makes_roles, makes_databases)] = rows(
        "SELECT rolsuper, rolbypassrls, rolcreaterole, rolcreatedb FROM pg_roles "
        "WHERE rolname = current_user"
    )
    assert [superuser, bypass, makes_roles, makes_databases] == [False] * 4
    assert rows("SELECT relname FROM pg_class WHERE pg_has_role(relowner, 'MEMBER')") == []
    assert rows("SELECT datname FROM pg_database WHERE pg_has_role(datdba, 'MEMBER')") == []
    assert rows("SELECT proname FROM pg_proc WHERE pg_has_role(proowner, 'MEMBER')") == []
    # Nor is it a member of a role that does.
    assert rows("SELECT 1 FROM pg_auth_members WHERE member = current_user::regrole") == []


FORBIDDEN = [
    "ALTER TABLE vms_virtualmachine DISABLE ROW LEVEL SECURITY",
    "ALTER TABLE vms_virtualmachine NO FORCE ROW LEVEL SECURITY",
    "DROP POLICY basalt_wall ON vms_virtualmachine",
    "CREATE POLICY mine ON vms_virtualmachine USING (true)",
    "CREATE OR REPLACE FUNCTION basalt_is_system() RETURNS boolean LANGUAGE sql AS 'SELECT true'",
    "DROP FUNCTION basalt_tenants()",
    "CREATE TABLE mine (id integer)",
    "TRUNCATE vms_virtualmachine",
    "CREATE TRIGGER mine BEFORE INSERT ON vms_virtualmachine EXECUTE FUNCTION now()",
    "ALTER ROLE basalt BYPASSRLS",
    "SET ROLE basalt_owner",
    "SET SESSION AUTHORIZATION basalt_owner",
    "COPY vms_virtualmachine TO PROGRAM 'cat'",
]


@pytest.mark.parametrize("statement", FORBIDDEN)
def test_the_applications_role_may_not(statement):
    with pytest.raises(ProgrammingError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)


def test_switching_row_security_off_is_refused_rather_than_obeyed():
    """`SET row_security = off` makes PostgreSQL refuse what a policy would have filtered."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL row_security = off")
        with pytest.raises(ProgrammingError, match="row-level security"), transaction.atomic():
            cursor.execute("SELECT * FROM vms_virtualmachine")
        cursor.execute("SET LOCAL row_security = on")


@pytest.fixture
def scratch(transactional_db: None) -> Iterator[str]:
    """A table of this test's own."""
    with as_owner(), connection.cursor() as cursor:
        cursor.execute("CREATE TABLE scratch (id integer, tenant_id uuid)")
    yield "scratch"
    with as_owner(), connection.cursor() as cursor:
        cursor.execute("DROP TABLE scratch")


def test_an_append_only_table_takes_rows_and_gives_none_up(scratch, monkeypatch):
    monkeypatch.setattr("tenants.database.privileges.APPEND_ONLY", APPEND_ONLY | {scratch})
    with as_owner():
        privileges_sync("default")
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO scratch (id) VALUES (1)")
        cursor.execute("SELECT id FROM scratch")
        assert cursor.fetchall() == [(1,)]
        for statement in ("UPDATE scratch SET id = 2", "DELETE FROM scratch", "TRUNCATE scratch"):
            with pytest.raises(ProgrammingError):
                cursor.execute(statement)


def test_what_is_append_only_is_a_table():
    assert set(walls()) >= APPEND_ONLY | READ_ONLY


def test_a_wall_can_be_taken_down_by_its_migration_and_put_up_again(scratch):
    wall = TenantWall(scratch, from_above=True)
    with as_owner(), connection.schema_editor() as editor:
        wall.database_forwards("tenants", editor, None, None)
    assert walls()[scratch] == (True, True, 4)
    with as_owner(), connection.schema_editor() as editor:
        wall.database_backwards("tenants", editor, None, None)
    assert walls()[scratch] == (False, False, 0)


# ------------------------------------------------------------------ nothing runs undeclared


def test_every_task_of_ours_declares_a_scope():
    current_app.loader.import_default_modules()
    ours = [task for name, task in current_app.tasks.items() if not name.startswith("celery.")]
    assert len(ours) >= 4
    assert all(isinstance(task, ScopedTask) and task.scope is not None for task in ours)


def test_every_command_of_ours_declares_a_scope():
    ours = {"tenants", "hypervisors", "vms", "consoles", "portal"}
    # Django's own, which run as the owner of the tables; they enter their scope themselves.
    overridden = {"migrate", "flush"}
    found = {name: app for name, app in get_commands().items() if app in ours}
    assert found
    for name, app in found.items():
        command = load_command_class(app, name)
        if name not in overridden:
            assert isinstance(command, ScopedCommand), name
            assert command.scope is not None
