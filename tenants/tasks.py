"""What Celery does for this app."""

import structlog
from celery import shared_task

from tenants.scope import system_scope
from tenants.services.audit_checkpoints import checkpoints_make
from tenants.services.audit_delivery import checkpoints_deliver
from tenants.services.audit_verify import audit_verify, verification_store
from tenants.services.rechecks import recheck_ended
from tenants.services.scopes import tenant_sets_sweep
from tenants.services.second_person import second_person_resume
from tenants.services.sessions import sessions_sweep
from tenants.services.token_expiry import token_expiry_tell

log = structlog.get_logger("tenants")


@shared_task(scope=system_scope("sets of tenants of everybody grow old"))  # type: ignore[untyped-decorator]
def sweep_tenant_sets() -> int:
    """Once a day: sets of tenants that nobody has needed for a month. Answers how many."""
    return tenant_sets_sweep()


@shared_task(scope=system_scope("checkpoints vouch for the events of everybody"))  # type: ignore[untyped-decorator]
def make_audit_checkpoints() -> int:
    """Once an hour: sign where the audit log stands, and take that elsewhere. Answers how many
    chains there are."""
    made = checkpoints_make()
    checkpoints_deliver(made)
    return len(made)


@shared_task(scope=system_scope("the audit log of everybody is checked"))  # type: ignore[untyped-decorator]
def verify_audit_log() -> bool:
    """Once a day: read the whole audit log. Answers whether it is unbroken."""
    reports = audit_verify()
    verification_store(reports)
    for report in reports:
        if report.problem is not None:
            log.error("the audit log is broken", msp=report.name, why=report.problem.sentence)
    return not any(report.problem for report in reports)


@shared_task(scope=system_scope("memberships of everybody end by themselves"))  # type: ignore[untyped-decorator]
def recheck_ended_memberships() -> int:
    """Every 15 seconds: pages and consoles of those whose membership or token has just ended
    look again. Answers how many people that were."""
    return recheck_ended()


@shared_task(scope=system_scope("sessions of everybody end"))  # type: ignore[untyped-decorator]
def sweep_sessions() -> int:
    """Once a day: sessions and known devices that are too old. Answers how many."""
    return sessions_sweep()


@shared_task(scope=system_scope("tokens of everybody end"))  # type: ignore[untyped-decorator]
def tell_of_ending_tokens() -> int:
    """Once an hour: people whose tokens end within a week are told, once. Answers how many."""
    return token_expiry_tell()


@shared_task(scope=system_scope("what two people agreed on is done to its end"))  # type: ignore[untyped-decorator]
def resume_agreed() -> int:
    """Once a minute: go on where the portal was stopped half-way through what a second person
    agreed to. Answers how many requests that were."""
    return second_person_resume()
