"""The base of every Celery task: one that declares no scope does not run."""

from collections.abc import Callable
from typing import Any, ClassVar

from celery import Task
from django.core.exceptions import ImproperlyConfigured

from tenants.scope import NOTHING, Scope


class ScopedTask(Task):  # type: ignore[misc]
    """`@shared_task(scope=system_scope("why"))`; or `scope=` a function that makes one from the
    task's arguments: `scope=lambda tenant_id: tenant_scope([tenant_id])`."""

    abstract = True
    scope: ClassVar[Scope | Callable[..., Scope] | None] = None

    def __call__(self, *args: Any, **options: Any) -> Any:
        with self._scope_for(*args, **options):
            return super().__call__(*args, **options)

    def _scope_for(self, *args: Any, **options: Any) -> Scope:
        declared = type(self).scope
        if isinstance(declared, Scope):
            return declared
        if callable(declared):
            # Whoever called the task has a scope of their own, which is not the task's.
            with NOTHING:
                return declared(*args, **options)
        if self.name.startswith("celery."):  # Celery's own, which know nothing of rows
            return NOTHING
        raise ImproperlyConfigured(
            f"The task {self.name} declares no scope. Say whose rows it may see: "
            "@shared_task(scope=...), see tenants/scope.py."
        )
