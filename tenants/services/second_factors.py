"""Taking a second factor off an account whose owner has lost it."""

from allauth.mfa.models import Authenticator
from django.db import transaction

from tenants.actor import Actor
from tenants.errors import RuleError
from tenants.models import Tenant, User
from tenants.scope import sign_in_scope, system_scope
from tenants.services.audit import audit_record
from tenants.services.sessions import sessions_end


class NotYoursToResetError(RuleError):
    """The account reaches further than whoever would reset it may manage people."""

    code = "not_yours_to_reset"
    status = 403


@transaction.atomic
def second_factor_reset(*, actor: Actor, user: User) -> int:
    """Forget all second factors, passkeys and recovery codes of `user`, and end their sessions.
    Returns how many were forgotten. Raises NotYoursToResetError.

    Whoever does this must manage people in every tenant where `user` has a role: else an
    administrator of one customer could open the account of a technician.
    """
    with system_scope("an account's roles, in whichever tenants they are"):
        places = list(Tenant.objects.filter(memberships__user=user).distinct())
        if actor.user is not None:
            managed = set(
                Tenant.objects.allowed(actor.user, "user.manage").values_list("id", flat=True)
            )
            if actor.user == user or not {place.id for place in places} <= managed:
                raise NotYoursToResetError(
                    f"{user.email} has a role where you do not manage people. Ask your MSP."
                )
    with sign_in_scope():
        forgotten: int = Authenticator.objects.filter(user=user).delete()[0]
    sessions_end(user=user)
    with system_scope("each tenant of the account hears of it"):
        for place in places:
            audit_record(
                actor=actor,
                tenant=place,
                action="user.second_factor_reset",
                object_kind="user",
                object_id=user.id,
                object_name=user.email,
                before={"second_factors": forgotten},
            )
    return forgotten
