"""Open sockets look again whenever a row changes that says what somebody may do.

By Django's signals, so that no service can forget it: it decides nothing, it only makes sockets
ask sooner what they ask once a minute in any case. `QuerySet.update` sends no signals: whoever
takes something away by it calls `person_recheck`.
"""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db.models import Model
from django.db.models.signals import post_delete, post_save
from django.utils import timezone

from tenants.models import AccessRule, ApiToken, Membership, Role, User
from tenants.scope import system_scope
from tenants.services.live import person_recheck

_WINDOW = timedelta(seconds=45)


def rechecks_connect() -> None:
    """Called once, when the apps are ready."""
    for model in (Membership, AccessRule, ApiToken, Role, User):
        for signal in (post_save, post_delete):
            signal.connect(_changed, sender=model, dispatch_uid=f"basalt.recheck.{model.__name__}")


def recheck_ended() -> int:
    """Have those look again whose membership or token ended by itself a moment ago. Returns how
    many people that are."""
    now = timezone.now()
    ended = {"expires_at__gt": now - _WINDOW, "expires_at__lte": now}
    people: set[UUID] = set()
    for model in (Membership, AccessRule, ApiToken):
        people.update(model._default_manager.filter(**ended).values_list("user_id", flat=True))
    for user_id in people:
        person_recheck(user_id)
    return len(people)


def _changed(instance: Model, update_fields: Iterable[str] | None = None, **_signal: Any) -> None:
    if isinstance(instance, User) and set(update_fields or ()) == {"last_login"}:
        return
    for user_id in _people(instance):
        person_recheck(user_id)


def _people(row: Model) -> Iterable[UUID]:
    """Whom it is about."""
    if isinstance(row, User):
        return [row.pk]
    if isinstance(row, Role):
        with system_scope("whoever holds a role, wherever it is"):
            held = Membership.objects.filter(role_id=row.pk).order_by()
            given = AccessRule.objects.filter(role_id=row.pk).order_by()
            return {
                *held.values_list("user_id", flat=True),
                *given.values_list("user_id", flat=True),
            }
    user_id: UUID | None = getattr(row, "user_id", None)
    return [] if user_id is None else [user_id]
