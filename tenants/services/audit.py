"""Writing audit events. Called inside the transaction of the change it records."""

import uuid
from collections.abc import Mapping
from typing import Any

from tenants.actor import Actor
from tenants.models import AuditEvent, Membership, ServiceAccount, Tenant, User
from tenants.redaction import redacted, redacted_text
from tenants.scope import system_scope


def audit_record(
    *,
    actor: Actor,
    tenant: Tenant | None,
    action: str,
    object_kind: str,
    object_id: uuid.UUID | None,
    object_name: str,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
    site_id: uuid.UUID | None = None,
) -> AuditEvent:
    """One event. `tenant` is whose thing it was, None only where it is nobody's; `before` and
    `after` hold JSON values: what changed, and never a secret."""
    return AuditEvent.objects.create(
        tenant=tenant,
        tenant_name=tenant.name if tenant else "",
        site_id=site_id,
        actor=actor.user,
        actor_kind=actor.kind,
        actor_name=actor.name,
        token=actor.token,
        credential=actor.credential,
        ip=actor.ip,
        user_agent=actor.user_agent,
        action=action,
        object_kind=object_kind,
        object_id=object_id,
        object_name=redacted_text(object_name)[:254],
        before=redacted(before or {}),
        after=redacted(after or {}),
    )


def audit_personal(
    *,
    actor: Actor,
    action: str,
    person: User | None = None,
    object_name: str = "",
    object_kind: str = "user",
    object_id: uuid.UUID | None = None,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
) -> AuditEvent:
    """One event about a person rather than a tenant's thing: signing in, their own tokens,
    an export. It belongs to the tenant where the person is at home."""
    person = person or actor.user
    with system_scope("where a person is at home is found out among all tenants"):
        return audit_record(
            actor=actor,
            tenant=home_of(person),
            action=action,
            object_kind=object_kind,
            object_id=object_id or (person.pk if person else None),
            object_name=object_name or (person.email if person else ""),
            before=before,
            after=after,
        )


def list_exported(
    *, actor: Actor, list_name: str, query: Mapping[str, Any], format_: str
) -> AuditEvent:
    """Somebody took a list home. `query`: what it was filtered by."""
    asked = {
        name: query[name] for name in query if name not in ("format", "cursor") and query[name]
    }
    return audit_personal(
        actor=actor,
        action="list.export",
        object_kind="list",
        object_name=list_name,
        after={"format": format_, **asked},
    )


def home_of(person: User | None) -> Tenant | None:
    """The tenant that answers for a person: the highest they are a member of. For nobody, and
    for who is a member nowhere: the MSP, where the portal has one. One query."""
    if person is not None and person.is_service:
        account = ServiceAccount.objects.select_related("tenant").filter(user=person).first()
        if account is not None:
            return account.tenant
    if person is not None:
        memberships = Membership.objects.filter(user=person).select_related("tenant__parent")
        held = [membership.tenant for membership in memberships]
        if held:
            return min(held, key=lambda tenant: (_depth(tenant), tenant.created_at, tenant.id))
    msps = list(Tenant.objects.filter(parent=None).order_by("id")[:2])
    return msps[0] if len(msps) == 1 else None


def _depth(tenant: Tenant) -> int:
    if tenant.parent is None:
        return 1
    return 2 if tenant.parent.parent_id is None else 3
