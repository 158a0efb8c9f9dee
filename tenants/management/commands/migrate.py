"""Django's migrate, as the owner of the tables, and on rows of every tenant."""

from typing import Any

from django.core.management.commands import migrate

from tenants.database.owner import as_owner
from tenants.scope import system_scope


class Command(migrate.Command):
    def handle(self, *args: Any, **options: Any) -> None:
        with as_owner(options["database"]), system_scope("migrations change rows of all tenants"):
            super().handle(*args, **options)
