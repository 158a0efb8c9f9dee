"""The base of our management commands: one that declares no scope does not run."""

from typing import Any, ClassVar

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand

from tenants.scope import Scope


class ScopedCommand(BaseCommand):
    """Subclasses say whose rows they see: `scope = system_scope("why")`."""

    scope: ClassVar[Scope]

    def execute(self, *args: Any, **options: Any) -> str | None:
        if not hasattr(self, "scope"):
            raise ImproperlyConfigured(
                f"The command {type(self).__module__} declares no scope: see tenants/scope.py."
            )
        with self.scope:
            return super().execute(*args, **options)
