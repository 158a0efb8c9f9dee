"""Looking at the portal as somebody else sees it: for half an hour, and without touching it."""

from collections.abc import MutableMapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone

from tenants.actor import Actor
from tenants.errors import RuleError
from tenants.models import Tenant, User
from tenants.permissions import in_words
from tenants.scope import system_scope
from tenants.services.audit import audit_record
from tenants.services.comparing import given_by, managed_by, surplus_of

LONGEST = timedelta(minutes=30)
SESSION_KEY = "see_as"


class SeeAsError(RuleError):
    code = "see_as"
    status = 403


@dataclass(frozen=True)
class SeeingAs:
    """`viewer` looks as `user` sees it, until `until`."""

    viewer: User
    user: User
    until: datetime

    @property
    def minutes(self) -> int:
        """What is left of it, at least 1."""
        return max(1, round((self.until - timezone.now()).total_seconds() / 60))


def see_as_check(*, viewer: User, user: User) -> None:
    """Whoever looks manages people wherever the other has access, and may do all that the other
    may, everywhere. Raises SeeAsError."""
    if viewer.pk == user.pk:
        raise SeeAsError("You see the portal as yourself already.")
    if user.is_service:
        raise SeeAsError(f"{user} is a service account: it sees no pages.")
    if not user.is_active:
        raise SeeAsError(f"The account of {user} is closed: they see nothing.")
    if not managed_by(user, viewer):
        raise SeeAsError(
            f"You don't manage people everywhere {user} has access. Ask somebody who does."
        )
    if surplus := surplus_of(user, viewer):
        raise SeeAsError(
            f"{user} may do more somewhere than you: {in_words(surplus)}. Nobody looks upward; "
            f"ask somebody who holds this too."
        )


@transaction.atomic
def see_as_start(*, actor: Actor, user: User, session: MutableMapping[str, Any]) -> SeeingAs:
    """From the next request on, the session sees what `user` sees. Raises SeeAsError."""
    viewer = actor.user
    if viewer is None:
        raise SeeAsError("Only a person looks as somebody else.")
    see_as_check(viewer=viewer, user=user)
    until = timezone.now() + LONGEST
    session[SESSION_KEY] = {"user": str(user.pk), "until": until.isoformat()}
    _record(actor, user, "see_as.start", after={"until": until.isoformat()})
    return SeeingAs(viewer, user, until)


@transaction.atomic
def see_as_stop(*, actor: Actor, session: MutableMapping[str, Any], why: str = "stopped") -> None:
    """Back to oneself. Does nothing when nobody is looked as."""
    told = session.pop(SESSION_KEY, None)
    if told is None:
        return
    with system_scope("whoever was looked at may have moved out of sight meanwhile"):
        user = User.objects.filter(pk=told["user"]).first()
    if user is not None:
        _record(actor, user, "see_as.stop", after={"why": why})


def seeing_as(*, viewer: User, session: MutableMapping[str, Any]) -> SeeingAs:
    """As whom this session, which has begun to, looks now. Raises SeeAsError when it is over."""
    told = session[SESSION_KEY]
    until = datetime.fromisoformat(told["until"])
    if until <= timezone.now():
        raise SeeAsError("Half an hour is over: you see the portal as yourself again.")
    with system_scope("an account that is looked as may be closed by now"):
        user = User.objects.filter(pk=told["user"]).first()
    if user is None:
        raise SeeAsError("The account is gone: you see the portal as yourself again.")
    see_as_check(viewer=viewer, user=user)
    return SeeingAs(viewer, user, until)


def _record(actor: Actor, user: User, action: str, **values: Any) -> None:
    """One event for each tenant that gives them access: each may ask who looked."""
    with system_scope("it is told to every tenant that gives the person access"):
        for tenant in Tenant.objects.filter(id__in=given_by(user)):
            audit_record(
                actor=actor,
                tenant=tenant,
                action=action,
                object_kind="user",
                object_id=user.id,
                object_name=user.email,
                **values,
            )
