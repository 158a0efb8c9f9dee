"""The two roles of the database: in a new folder, in one of an earlier version, and on a server
whose operator pastes what docs/operators.md says."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from portal.embedded.services import Postgres

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.cluster
TABLES_OF_OLD = """
SET ROLE basalt;
CREATE TABLE django_session (session_key text);
CREATE SEQUENCE numbers;
INSERT INTO django_session VALUES ('kept');
RESET ROLE;
"""


@pytest.fixture
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    data = tmp_path_factory.mktemp("roles")
    for folder in (data, *data.parents[:2]):
        folder.chmod(0o755)
    made = Postgres(data, durable=False)
    yield made
    if made.socket_folder.exists():
        made.stop()


def superuser(postgres: Postgres, database: str = "basalt") -> "psycopg.Connection":
    return psycopg.connect(
        host=str(postgres.socket_folder), user="postgres", dbname=database, autocommit=True
    )


def owners(postgres: Postgres) -> dict[str, str]:
    query = (
        "SELECT relname, relowner::regrole::text FROM pg_class "
        "WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'S')"
    )
    with superuser(postgres) as connection:
        return dict(connection.execute(query).fetchall())


def manage(postgres: Postgres, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if "DATABASE_URL" not in name}
    return subprocess.run(
        [sys.executable, str(ROOT / "manage.py"), *arguments],
        env={**clean, "DJANGO_SETTINGS_MODULE": "portal.settings", **env},
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_a_folder_of_an_earlier_version_gets_both_roles_and_keeps_its_rows(postgres):
    postgres.start()
    with superuser(postgres, "postgres") as connection:
        # As the version before left it: one role, which owned all.
        connection.execute("DROP DATABASE basalt")
        connection.execute("DROP ROLE basalt_owner")
        connection.execute("ALTER ROLE basalt CREATEDB")
        connection.execute("CREATE DATABASE basalt OWNER basalt")
    with superuser(postgres) as connection:
        connection.execute(TABLES_OF_OLD)
    assert set(owners(postgres).values()) == {"basalt"}
    postgres.stop()
    for _ in range(2):  # the second time there is nothing left to do
        postgres = Postgres(postgres.folder.parent, durable=False)
        postgres.start()
        assert set(owners(postgres).values()) == {"basalt_owner"}
        with superuser(postgres) as connection:
            assert connection.execute("SELECT * FROM django_session").fetchall() == [("kept",)]
            [role] = connection.execute(
                "SELECT rolsuper, rolbypassrls, rolcreatedb FROM pg_roles WHERE rolname = 'basalt'"
            ).fetchall()
        assert role == (False, False, False)
        postgres.stop()


def test_a_server_is_set_up_by_what_the_documentation_says(postgres, tmp_path):
    postgres.start()
    new, parting = re.findall(r"```sql\n(.*?)```", (ROOT / "docs/operators.md").read_text(), re.S)
    host = f"host={postgres.socket_folder}"
    env = {
        "DATABASE_URL": f"postgresql:///server?{host}&user=app",
        "REDIS_URL": "redis://127.0.0.1:1/0",
        "BASALT_DATA_DIR": str(tmp_path),
    }
    owner = {"BASALT_OWNER_DATABASE_URL": f"postgresql:///server?{host}&user=app_owner"}
    # A server of an earlier version: its one role owns the database and all that is in it.
    with superuser(postgres, "postgres") as connection:
        connection.execute("CREATE ROLE app LOGIN CREATEDB")
        connection.execute("CREATE DATABASE server OWNER app")
    refused = manage(postgres, "migrate", **env)
    assert "BASALT_OWNER_DATABASE_URL" in refused.stderr
    refused = manage(postgres, "migrate", **env, BASALT_OWNER_DATABASE_URL=env["DATABASE_URL"])
    assert "one and the same role" in refused.stderr
    with superuser(postgres, "server") as connection:
        connection.execute("SET ROLE app; CREATE TABLE old (id integer); RESET ROLE")
        for statement in _of(parting):
            connection.execute(statement)
    made = manage(postgres, "migrate", **env, **owner)
    assert made.returncode == 0, made.stderr
    assert manage(postgres, "check", "--database", "default", **env).returncode == 0
    with superuser(postgres, "server") as connection:
        connection.execute("ALTER TABLE old OWNER TO app")
    passing = manage(postgres, "check", "--database", "default", **env)
    assert "tenants.E003" in passing.stderr
    with superuser(postgres, "server") as connection:
        connection.execute("ALTER TABLE old OWNER TO app_owner; ALTER ROLE app BYPASSRLS")
    passing = manage(postgres, "check", "--database", "default", **env)
    assert "tenants.E002" in passing.stderr
    # And a new one.
    with superuser(postgres, "postgres") as connection:
        for statement in _of(new.replace("basalt", "fresh")):
            connection.execute(statement)
    env["DATABASE_URL"] = f"postgresql:///fresh?{host}&user=fresh"
    owner = {"BASALT_OWNER_DATABASE_URL": f"postgresql:///fresh?{host}&user=fresh_owner"}
    made = manage(postgres, "migrate", **env, **owner)
    assert made.returncode == 0, made.stderr
    _dump_holds_everything(postgres, tmp_path)


def _of(block: str) -> list[str]:
    """Its statements, for the roles of this test."""
    named = re.sub(r"\bbasalt(?=\b|_)", "app", block)
    return [statement for statement in named.split(";") if statement.strip()]


def _dump_holds_everything(postgres: Postgres, folder: Path) -> None:
    """The owner's backup, as the documentation says."""
    with superuser(postgres, "fresh") as connection:
        connection.execute(
            "INSERT INTO tenants_tenant "
            "(id, kind, name, slug, created_at, custom_fields, vendor_data) "
            "VALUES (gen_random_uuid(), 'msp', 'Northwind', 'northwind', now(), '{}', '')"
        )
    said = (ROOT / "docs/operators.md").read_text()
    options = re.search(r'PGOPTIONS="([^"]+)" pg_dump --enable-row-security', said)
    assert options is not None
    done = subprocess.run(
        [
            *("pg_dump", "--enable-row-security", "--username", "fresh_owner"),
            *("--host", str(postgres.socket_folder), "fresh"),
        ],
        env={**os.environ, "PGOPTIONS": options[1]},
        check=True,
        capture_output=True,
        text=True,
        cwd=folder,
    )
    assert "Northwind" in done.stdout
