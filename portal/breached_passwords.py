"""New passwords, looked up among those that were found in leaks. Off unless configured."""

import hashlib
from typing import Any

import requests
import structlog
from django.core.exceptions import ValidationError

log = structlog.get_logger("portal.breached_passwords")

_TIMEOUT_S = 3


class BreachedPasswordValidator:
    """Asks a service with the interface of api.pwnedpasswords.com/range/: it is sent the first
    five hex digits of the password's SHA-1, and answers with all suffixes it knows (k-anonymity).
    A service that does not answer keeps nobody from setting a password."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/") + "/"

    def validate(self, password: str, user: Any = None) -> None:  # noqa: ARG002
        # SHA-1 is what the interface asks for; the password is not kept this way.
        digest = hashlib.sha1(password.encode(), usedforsecurity=False).hexdigest().upper()
        try:
            answer = requests.get(
                self.url + digest[:5], timeout=_TIMEOUT_S, headers={"Add-Padding": "true"}
            )
            answer.raise_for_status()
        except requests.RequestException as error:
            log.warning("breached passwords could not be looked up", error=str(error))
            return
        for line in answer.text.splitlines():
            suffix, _, count = line.partition(":")
            # Padding has a count of 0.
            if suffix.strip().upper() == digest[5:] and count.strip() != "0":
                raise ValidationError(
                    "This password is in a list of leaked ones, which attackers try first. Take "
                    "another.",
                    code="password_breached",
                )

    def get_help_text(self) -> str:
        return "Not one that was found in a leak."
