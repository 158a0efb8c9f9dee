"""What Celery does for this app."""

from celery import shared_task

from tenants.scope import system_scope
from tenants.services.scopes import tenant_sets_sweep
from tenants.services.sessions import sessions_sweep


@shared_task(scope=system_scope("sets of tenants of everybody grow old"))  # type: ignore[untyped-decorator]
def sweep_tenant_sets() -> int:
    """Once a day: sets of tenants that nobody has needed for a month. Answers how many."""
    return tenant_sets_sweep()


@shared_task(scope=system_scope("sessions of everybody end"))  # type: ignore[untyped-decorator]
def sweep_sessions() -> int:
    """Once a day: sessions and known devices that are too old. Answers how many."""
    return sessions_sweep()
