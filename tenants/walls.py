"""The second wall: row-level security, as migrations put it up.

    operations = [
        TenantWall("vms_virtualmachine"),
        ParentWall("vms_disk", "vm_id", "vms_virtualmachine"),
    ]

Every table has a wall, or stands in `OPEN` with the reason why not: tests/policy/test_walls.py
walks the database. The policies read what tenants/database tells each transaction, and are
written so that PostgreSQL reads it once in a statement, not once for each row: `(SELECT …)`
becomes an InitPlan, `IN (SELECT …)` a hashed subplan.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.db.migrations.operations.base import Operation

OPEN = {
    "auth_group": "Django's groups, which nothing here uses: roles are tenants_role",
    "auth_group_permissions": "as auth_group",
    "auth_permission": "names of Django's own permissions, the same in every installation",
    "django_content_type": "names of models, the same in every installation",
    "django_migrations": "which migrations ran",
    "django_session": "read before it is known who asks; the key that finds a row is a secret",
    "tenants_auditqueue": "the database's own, and empty outside of a transaction",
    "guardian_groupobjectpermission": "grants to Django's groups, which nothing here uses",
    "tenants_tenantset": "what the policies read: ids, found by who knows them already",
}
"""Tables without a wall, and why. No row of these belongs to a tenant."""

APPEND_ONLY: frozenset[str] = frozenset({"tenants_auditevent", "tenants_auditcheckpoint"})
"""Tables in which the application's role may neither change nor delete rows."""

READ_ONLY: frozenset[str] = frozenset({"tenants_auditlink", "tenants_auditqueue"})
"""Tables that the database itself fills: the application's role reads them, and no more."""

FUNCTIONS = """
CREATE FUNCTION basalt_is_system() RETURNS boolean LANGUAGE sql STABLE PARALLEL SAFE
    RETURN current_setting('basalt.scope', true) = 'system';
CREATE FUNCTION basalt_is_sign_in() RETURNS boolean LANGUAGE sql STABLE PARALLEL SAFE
    RETURN current_setting('basalt.scope', true) IN ('system', 'sign-in');
CREATE FUNCTION basalt_is_scoped() RETURNS boolean LANGUAGE sql STABLE PARALLEL SAFE
    RETURN current_setting('basalt.scope', true) = 'tenants';
CREATE FUNCTION basalt_person() RETURNS uuid LANGUAGE sql STABLE PARALLEL SAFE
    RETURN nullif(current_setting('basalt.person', true), '')::uuid;
CREATE FUNCTION basalt_set(told text) RETURNS uuid[] LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
BEGIN
    IF told LIKE '{%' THEN RETURN told::uuid[]; END IF;
    RETURN (SELECT tenants FROM public.tenants_tenantset WHERE id = nullif(told, '')::uuid);
END $$;
CREATE FUNCTION basalt_tenants() RETURNS uuid[] LANGUAGE sql STABLE PARALLEL SAFE
    RETURN basalt_set(current_setting('basalt.tenants', true));
CREATE FUNCTION basalt_readable() RETURNS uuid[] LANGUAGE sql STABLE PARALLEL SAFE
    RETURN basalt_tenants() || basalt_set(current_setting('basalt.above', true));
ALTER TABLE tenants_tenantset ALTER COLUMN tenants SET STORAGE EXTERNAL;
ALTER TABLE tenants_tenantset SET (toast_tuple_target = 8160);
"""
"""What the policies ask. Settings that nobody has set are NULL or empty, and so no row passes.

Names that a body must find are either SQL's own words or qualified: pg_dump empties the search
path. `basalt_set` is PL/pgSQL's, whose plan is kept: inlined, it was planned for each table anew.
"""

NO_FUNCTIONS = """
DROP FUNCTION basalt_is_system();
DROP FUNCTION basalt_is_sign_in();
DROP FUNCTION basalt_is_scoped();
DROP FUNCTION basalt_person();
DROP FUNCTION basalt_tenants();
DROP FUNCTION basalt_readable();
DROP FUNCTION basalt_set(text);
"""

MEMBERS = ("tenants_membership",)
"""The tables that say who is of which tenant, when the first walls went up."""

_SYSTEM = "(SELECT basalt_is_system())"
_SIGN_IN = "(SELECT basalt_is_sign_in())"
_MINE = "(SELECT basalt_person())"
_TENANTS = "(SELECT unnest(basalt_tenants()))"
_READABLE = "(SELECT unnest(basalt_readable()))"


@dataclass(frozen=True)
class Rules:
    """SQL conditions: which rows may be read, and which may be made, changed and deleted."""

    read: str
    write: str
    make: str | None = None
    """Where rows are made under another rule than they are changed."""


class Wall(Operation):
    """ENABLE and FORCE row-level security on a table, with policies. Reversible."""

    reduces_to_sql = True
    reversible = True
    elidable = False

    def __init__(self, table: str) -> None:
        self.table = table

    def rules(self) -> Rules:
        raise NotImplementedError

    def state_forwards(self, app_label: str, state: Any) -> None:
        """Models know nothing of walls."""

    def database_forwards(self, _app: str, schema_editor: Any, *_states: Any) -> None:
        for statement in self.up():
            schema_editor.execute(statement)

    def database_backwards(self, _app: str, schema_editor: Any, *_states: Any) -> None:
        for statement in self.down():
            schema_editor.execute(statement)

    def describe(self) -> str:
        return f"Row-level security on {self.table}"

    @property
    def migration_name_fragment(self) -> str:
        return f"wall_{self.table}"

    def up(self) -> Iterator[str]:
        """The statements, in order."""
        rules = self.rules()
        yield f"ALTER TABLE {self.table} ENABLE ROW LEVEL SECURITY"
        # Else it would not hold for the tables' owner.
        yield f"ALTER TABLE {self.table} FORCE ROW LEVEL SECURITY"
        if rules.read == rules.write and rules.make is None:
            yield f"CREATE POLICY basalt_wall ON {self.table} USING ({rules.read})"
            return
        made = rules.make or rules.write
        yield f"CREATE POLICY basalt_read ON {self.table} FOR SELECT USING ({rules.read})"
        yield f"CREATE POLICY basalt_make ON {self.table} FOR INSERT WITH CHECK ({made})"
        yield f"CREATE POLICY basalt_change ON {self.table} FOR UPDATE USING ({rules.write})"
        yield f"CREATE POLICY basalt_delete ON {self.table} FOR DELETE USING ({rules.write})"

    def down(self) -> Iterator[str]:
        for name in ("wall", "read", "make", "change", "delete"):
            yield f"DROP POLICY IF EXISTS basalt_{name} ON {self.table}"
        yield f"ALTER TABLE {self.table} NO FORCE ROW LEVEL SECURITY"
        yield f"ALTER TABLE {self.table} DISABLE ROW LEVEL SECURITY"


class TenantWall(Wall):
    """Rows of the scope's tenants.

    `from_above`: rows of the tenants above may be read too, and those of nobody (NULL), which
    are everybody's. `sign_in`: open to signing in, for what says who somebody is. `own`: the
    column of a person, who may read the row wherever it is.
    """

    def __init__(
        self,
        table: str,
        column: str = "tenant_id",
        *,
        from_above: bool = False,
        sign_in: bool = False,
        own: str | None = None,
    ) -> None:
        super().__init__(table)
        self.column, self.from_above, self.sign_in, self.own = column, from_above, sign_in, own

    def rules(self) -> Rules:
        always = _SIGN_IN if self.sign_in else _SYSTEM
        write = f"{always} OR {self.column} IN {_TENANTS}"
        # The arms are tried in this order, and the set is read when one comes to it.
        read = always
        if self.own is not None:
            read += f" OR {self.own} = {_MINE}"
        if self.from_above:
            read += f" OR ({self.column} IS NULL AND (SELECT basalt_is_scoped()))"
        read += f" OR {self.column} IN {_READABLE if self.from_above else _TENANTS}"
        return Rules(read=read, write=write)


class AuditWall(TenantWall):
    """Events of the scope's tenants, and of deleted ones whose events its tenants may read."""

    def rules(self) -> Rules:
        rules = super().rules()
        # Not correlated, and under that table's own wall: read once in a statement.
        gone = "(SELECT gone.id FROM tenants_deletedtenant gone)"
        return Rules(read=f"{rules.read} OR {self.column} IN {gone}", write=rules.write)

    def up(self) -> Iterator[str]:
        yield from TenantWall(self.table, self.column).down()
        yield from super().up()

    def down(self) -> Iterator[str]:
        yield from super().down()
        yield from TenantWall(self.table, self.column).up()


class TreeWall(Wall):
    """The tenants themselves: those of the scope, and to read those above them. A new one is
    made below one of the scope's."""

    def __init__(self, table: str, parent: str = "parent_id") -> None:
        super().__init__(table)
        self.parent = parent

    def rules(self) -> Rules:
        return Rules(
            read=f"{_SIGN_IN} OR id IN {_READABLE}",
            write=f"{_SYSTEM} OR id IN {_TENANTS}",
            make=f"{_SYSTEM} OR {self.parent} IN {_TENANTS}",
        )


class ParentWall(TenantWall):
    """Rows that belong to a row with a tenant, as a disk to its VM.

    A trigger keeps the parent's tenant in a column of their own, `wall_tenant_id`, which the
    application does not know: asking the parent for each row would cost ten times as much. The
    parent's tenant never changes. A parent that may not be seen has none, and so takes no rows.
    """

    def __init__(self, table: str, column: str, parent: str, *, from_above: bool = False) -> None:
        super().__init__(table, "wall_tenant_id", from_above=from_above)
        self.link, self.parent = column, parent

    def up(self) -> Iterator[str]:
        table, link = self.table, self.link
        found = f"(SELECT tenant_id FROM public.{self.parent} above WHERE above.id = %s.{link})"  # noqa: S608
        yield f"ALTER TABLE {table} ADD COLUMN wall_tenant_id uuid"
        yield f"UPDATE {table} SET wall_tenant_id = {found % table}"  # noqa: S608
        yield (
            f"CREATE FUNCTION {table}_wall() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN NEW.wall_tenant_id := {found % 'NEW'}; RETURN NEW; END $$"
        )
        yield (
            f"CREATE TRIGGER basalt_wall BEFORE INSERT OR UPDATE OF {link}, wall_tenant_id "
            f"ON {table} FOR EACH ROW EXECUTE FUNCTION {table}_wall()"
        )
        yield from super().up()

    def down(self) -> Iterator[str]:
        yield from super().down()
        yield f"DROP TRIGGER basalt_wall ON {self.table}"
        yield f"DROP FUNCTION {self.table}_wall()"
        yield f"ALTER TABLE {self.table} DROP COLUMN wall_tenant_id"


class FollowWall(Wall):
    """Rows of a row that may be seen, where few are ever asked for."""

    def __init__(self, table: str, column: str, parent: str) -> None:
        super().__init__(table)
        self.column, self.parent = column, parent

    def rules(self) -> Rules:
        link = f"above.id = {self.table}.{self.column}"
        rule = f"{_SYSTEM} OR EXISTS (SELECT 1 FROM {self.parent} above WHERE {link})"  # noqa: S608
        return Rules(read=rule, write=rule)


class PersonWall(Wall):
    """Rows of a person: one's own, and while signing in anybody's. `of_colleagues`: those of
    everybody who has a membership of a tenant in the scope, too; or, by `known_by`, a row of
    another table that links a person to a tenant."""

    def __init__(
        self,
        table: str,
        column: str = "user_id",
        *,
        of_colleagues: bool = False,
        known_by: tuple[str, ...] = MEMBERS,
    ) -> None:
        super().__init__(table)
        self.column, self.of_colleagues, self.known_by = column, of_colleagues, known_by

    def rules(self) -> Rules:
        rule = f"{_SIGN_IN} OR {self.column} = {_MINE}"
        if self.of_colleagues:
            rule += f" OR {_is_colleague(f'{self.table}.{self.column}', self.known_by)}"
        return Rules(read=rule, write=rule)


class ClosedWall(Wall):
    """A library's table that stays empty here: for the portal itself alone."""

    def rules(self) -> Rules:
        return Rules(read=_SYSTEM, write=_SYSTEM)


class AccountWall(Wall):
    """The accounts: one's own, and to read those of people with a membership in the scope. They
    are made and closed by signing in and by the portal itself, never from inside a tenant."""

    def __init__(self, table: str, *, known_by: tuple[str, ...] = MEMBERS) -> None:
        super().__init__(table)
        self.known_by = known_by

    def rules(self) -> Rules:
        own = f"{_SIGN_IN} OR id = {_MINE}"
        read = f"{own} OR {_is_colleague(f'{self.table}.id', self.known_by)}"
        return Rules(read=read, write=own, make=_SIGN_IN)


class NewWall(Wall):
    """Another wall in the place of one that an earlier migration put up."""

    def __init__(self, before: Wall, after: Wall) -> None:
        super().__init__(after.table)
        self.before, self.after = before, after

    def up(self) -> Iterator[str]:
        yield from self.before.down()
        yield from self.after.up()

    def down(self) -> Iterator[str]:
        yield from self.after.down()
        yield from self.before.up()


def _is_colleague(person: str, known_by: tuple[str, ...]) -> str:
    # The walls of those tables let one's own rows through too: the person themselves.
    return " OR ".join(
        f"EXISTS (SELECT 1 FROM {table} held WHERE held.user_id = {person})"  # noqa: S608
        for table in known_by
    )
