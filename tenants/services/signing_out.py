"""Ending all sessions of somebody else, who keeps their access."""

from django.db import transaction

from tenants.actor import Actor
from tenants.errors import RuleError
from tenants.models import User
from tenants.services.audit import audit_personal
from tenants.services.comparing import managed_by
from tenants.services.live import live_publish
from tenants.services.sessions import sessions_end


class NotYoursToSignOutError(RuleError):
    """The account reaches further than whoever would sign it out manages people."""

    code = "not_yours_to_sign_out"
    status = 403


def person_sign_out_check(*, actor: Actor, person: User) -> None:
    """Raises NotYoursToSignOutError. A session is of the whole account: whoever ends it must
    manage people wherever the person has access, or an administrator of one customer could keep
    a technician from all others."""
    if actor.token is not None and actor.token.narrow:
        raise NotYoursToSignOutError(
            "A token that is good for less than its owner signs nobody out. Use one that is not."
        )
    if actor.user is None:
        return
    if actor.user.pk == person.pk:
        raise NotYoursToSignOutError("End your own sessions under “Sign-in and sessions”.")
    if not managed_by(person, actor.user):
        raise NotYoursToSignOutError(
            f"You don't manage people everywhere {person} has access. Ask somebody who does, or "
            "end their access to what is yours."
        )


@transaction.atomic
def person_sign_out(*, actor: Actor, person: User) -> int:
    """End all sessions of `person`, with their open pages and consoles; their browsers are known
    no more. Access, password, second factor and API tokens stay. Returns how many ended.

    Raises NotYoursToSignOutError.
    """
    person_sign_out_check(actor=actor, person=person)
    ended = sessions_end(user=person)
    event = audit_personal(
        actor=actor,
        person=person,
        action="user.sign_out_everywhere",
        before={"sessions": ended},
    )
    if event.tenant_id is not None:
        live_publish(tenant_id=event.tenant_id, kind="person", object_id=person.id)
    return ended
