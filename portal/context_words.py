"""Words that everybody who knows the portal would try first."""

import re
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import ValidationError

WORDS = ("basalt", "hypervisor", "portal", "administrator", "technician", "password", "welcome")
"""The list that docs/asvs.md speaks of; the portal's own host name and the person's come to it."""
_MUST_REMAIN = 8


class ContextWordsValidator:
    """Refuses a password of which little is left without words of the place it is for."""

    def validate(self, password: str, user: Any = None) -> None:
        left = password.lower()
        for word in sorted(_words(user), key=len, reverse=True):
            left = left.replace(word, "")
        if left != password.lower() and len(left) < _MUST_REMAIN:
            raise ValidationError(
                "This password is little more than a name of this portal or of yours. Choose "
                "words that have nothing to do with either.",
                code="password_of_context_words",
            )

    def get_help_text(self) -> str:
        return "Not a name of this portal or of yours with something added."


def _words(user: Any) -> set[str]:
    host = urlsplit(settings.BASALT_ORIGIN).hostname or ""
    own = f"{host} {getattr(user, 'email', '')} {getattr(user, 'name', '')}".lower()
    return {*WORDS, *(word for word in re.split(r"[^\w]+", own) if len(word) >= 4)}
