"""Django's flush, as the owner: the application's role may not empty tables."""

from typing import Any

from django.core.management.commands import flush

from tenants.database.owner import as_owner
from tenants.scope import system_scope


class Command(flush.Command):
    def handle(self, **options: Any) -> None:
        with as_owner(options["database"]), system_scope("all rows go, whoever's they are"):
            super().handle(**options)
