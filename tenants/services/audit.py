"""Writing audit events. Called inside the transaction of the change it records."""

import uuid
from collections.abc import Mapping
from typing import Any

from tenants.actor import Actor
from tenants.models import AuditEvent, Tenant


def audit_record(
    *,
    actor: Actor,
    tenant: Tenant,
    action: str,
    object_kind: str,
    object_id: uuid.UUID | None,
    object_name: str,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
) -> AuditEvent:
    """One event. `before` and `after` hold JSON values and never a secret."""
    return AuditEvent.objects.create(
        tenant=tenant,
        actor=actor.user,
        actor_name=actor.name,
        token=actor.token,
        ip=actor.ip,
        action=action,
        object_kind=object_kind,
        object_id=object_id,
        object_name=object_name,
        before=dict(before or {}),
        after=dict(after or {}),
    )
