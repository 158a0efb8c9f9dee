"""What stands between signing in and working: the sign-in policies that bind the person.

Pages, the API's browser sessions and sockets all ask `gate_closed`. Tokens of the API do not:
whoever made one met the policy then (tenants/services/people.py).
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from allauth.usersessions.models import UserSession

from tenants.models import SignInMethod, User
from tenants.scope import sign_in_scope
from tenants.services.sign_in_rules import (
    SignInRules,
    has_second_factor,
    second_factor_sentence,
    sign_in_rules,
)

SIGNED_IN_AT = "basalt_signed_in_at"
"""In the session: when it began, in seconds of the epoch."""
PROVIDER_ASKED = "basalt_provider_asked_second_factor"
"""In the session: the identity provider has asked for a second factor itself."""
LAST_SEEN_GRAIN_S = 30
"""Use of a session is noted no more often: sessions end by so much later, never earlier."""
_RECORDS = "account_authentication_methods"  # allauth's


class Reason(Enum):
    SECOND_FACTOR = "second_factor"
    TOO_OLD = "too_old"
    IDLE = "idle"
    METHOD = "method"


@dataclass(frozen=True)
class Closed:
    """Why somebody who is signed in can't go on; `message` says what to do."""

    reason: Reason
    message: str

    @property
    def ends_session(self) -> bool:
        return self.reason is not Reason.SECOND_FACTOR


def gate_closed(user: User, session: Mapping[str, Any]) -> Closed | None:
    """What keeps this person, in this session, from working. None: nothing does."""
    if user.is_service:
        # However it came to a session.
        return Closed(Reason.METHOD, "A service account works by its tokens, and signs in nowhere.")
    rules = sign_in_rules(user)
    if rules.session_length is not None:
        began = session.get(SIGNED_IN_AT, 0.0)
        if time.time() - began > rules.session_length.total_seconds():
            hours = round(rules.session_length.total_seconds() / 3600)
            return Closed(
                Reason.TOO_OLD,
                f"You signed in more than {hours} hours ago, and your sign-in policy wants it "
                "done again.",
            )
    if is_idle(rules, session):
        assert rules.idle_time is not None  # noqa: S101 - else nothing is idle
        minutes = round(rules.idle_time.total_seconds() / 60)
        return Closed(
            Reason.IDLE,
            f"You were signed out, since nobody used this session for {minutes} minutes. Sign in "
            "to go on where you were.",
        )
    if session_method(session) not in rules.methods:
        allowed = ", ".join(
            method.label for method in SignInMethod if method.value in rules.methods
        )
        return Closed(
            Reason.METHOD,
            f"Your sign-in policy allows another way to sign in: {allowed or 'none'}. Sign in "
            "again that way, or ask your administrator.",
        )
    if (
        rules.second_factor
        and not session.get(PROVIDER_ASKED, False)
        and not has_second_factor(user)
    ):
        return Closed(Reason.SECOND_FACTOR, second_factor_sentence(rules))
    return None


def is_idle(rules: SignInRules, session: Any) -> bool:
    """Whether nobody used the session for longer than the rules allow. One query, where they say
    anything of it. What counts as use: `tenants.services.sessions.session_used`."""
    if rules.idle_time is None:
        return False
    with sign_in_scope():
        rows = UserSession.objects.filter(session_key=getattr(session, "session_key", None))
        seen = rows.values_list("last_seen_at", flat=True).first()
    last = max(seen.timestamp() if seen else 0.0, session.get(SIGNED_IN_AT, 0.0))
    return bool(time.time() - last > rules.idle_time.total_seconds() + LAST_SEEN_GRAIN_S)


def session_method(session: Mapping[str, Any]) -> str:
    """How this session was begun: a SignInMethod."""
    for record in session.get(_RECORDS, []):
        if record.get("reauthenticated"):
            continue
        if record.get("method") == "socialaccount":
            return SignInMethod.PROVIDER.value
        if record.get("method") == "mfa" and record.get("passwordless"):
            return SignInMethod.PASSKEY.value
    return SignInMethod.PASSWORD.value
