"""The connection. Django looks for `DatabaseWrapper` here.

Before a statement runs, the transaction's settings are made those of `tenants.scope.current()`,
with `set_config(…, is_local => true)`: they end with the transaction, so that nothing is left on
a connection that goes back to a pool, or is used again after an error. A statement outside a
transaction gets one of its own.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.db.backends.postgresql import base
from django.db.backends.utils import CursorDebugWrapper, CursorWrapper
from psycopg import Connection, ServerCursor

from tenants.database.owner import owner_settings
from tenants.scope import NOTHING, SETTINGS, Scope, bound, current

_SET = "SELECT " + ", ".join(f"set_config('{name}', %s, true)" for name in SETTINGS)
# https://www.postgresql.org/docs/15/sql-createindex.html and the like: refused in a transaction.
_STANDS_ALONE = re.compile(
    r"\s*(VACUUM|(CREATE|DROP) (DATABASE|(UNIQUE )?INDEX CONCURRENTLY)|REINDEX|ALTER SYSTEM)\b",
    re.IGNORECASE,
)


class _Walled:
    """What both kinds of cursors do before a statement."""

    db: "DatabaseWrapper"
    cursor: Any

    def _execute(self, sql: Any, params: Any, *ignored: Any) -> Any:
        with self.db.walled(sql):
            return super()._execute(sql, params, *ignored)  # type: ignore[misc]

    def _executemany(self, sql: Any, param_list: Any, *ignored: Any) -> Any:
        with self.db.walled(sql):
            return super()._executemany(sql, param_list, *ignored)  # type: ignore[misc]

    def __getattr__(self, name: str) -> Any:
        found = super().__getattr__(name)  # type: ignore[misc]
        if name.startswith("fetch") and isinstance(self.cursor, ServerCursor):
            return self.db.fetching(found)
        return found


class _Cursor(_Walled, CursorWrapper):
    pass


class _DebugCursor(_Walled, base.CursorDebugWrapper):
    pass


class DatabaseWrapper(base.DatabaseWrapper):
    """`told`: the scope whose settings the running transaction has; None when unknown."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.told: Scope | None = NOTHING

    # ------------------------------------------------------------------ telling the database

    @contextmanager
    def walled(self, sql: Any) -> Iterator[None]:
        """The current scope is in force for what runs inside."""
        scope = current()
        if not self.get_autocommit():
            self._tell(scope)
            yield
        elif scope is NOTHING or (isinstance(sql, str) and _STANDS_ALONE.match(sql)):
            yield
        else:
            connection: Connection[Any] = self.connection
            with self.wrap_database_errors, connection.transaction():
                connection.execute(_SET, scope.settings)
                yield

    def fetching(self, fetch: Callable[..., Any]) -> Callable[..., Any]:
        """A fetch from a cursor that PostgreSQL is still filling: the scope of now counts."""

        def scoped(*args: Any, **options: Any) -> Any:
            if not self.get_autocommit():
                self._tell(current())
            return fetch(*args, **options)

        return scoped

    def _tell(self, scope: Scope) -> None:
        if self.told is not None and self.told.settings == scope.settings:
            return
        self.validate_no_broken_transaction()
        # Unknown until it is done: it may fail half-way.
        self.told = None
        with self.wrap_database_errors:
            self.connection.execute(_SET, scope.settings)
        self.told = scope

    # ------------------------------------------------------------------ when it is forgotten

    def connect(self) -> None:
        self.told = NOTHING
        super().connect()

    def _set_autocommit(self, autocommit: bool) -> None:
        super()._set_autocommit(autocommit)  # type: ignore[misc]
        self.told = NOTHING

    def _commit(self) -> Any:
        try:
            return super()._commit()  # type: ignore[misc]
        finally:
            self.told = NOTHING

    def _rollback(self) -> Any:
        try:
            return super()._rollback()  # type: ignore[misc]
        finally:
            self.told = NOTHING

    def _savepoint_rollback(self, sid: str) -> None:
        # By hand: in a transaction that failed, nothing but this may be said.
        with self.wrap_database_errors:
            self.connection.execute(self.ops.savepoint_rollback_sql(sid))
        self.told = None

    def on_commit(self, func: Callable[[], object], robust: bool = False) -> None:
        """As Django's; what runs after the commit does so in the scope of now."""
        super().on_commit(bound(func), robust)

    # ------------------------------------------------------------------ cursors

    def make_cursor(self, cursor: Any) -> CursorWrapper:
        return _Cursor(cursor, self)

    def make_debug_cursor(self, cursor: Any) -> CursorDebugWrapper:
        return _DebugCursor(cursor, self)

    @contextmanager
    def _nodb_cursor(self) -> Iterator[CursorWrapper]:
        # Only for making and dropping databases (of tests), which the application may not.
        owner = DatabaseWrapper(owner_settings(self.settings_dict), self.alias)
        with super(DatabaseWrapper, owner)._nodb_cursor() as cursor:
            yield cursor
