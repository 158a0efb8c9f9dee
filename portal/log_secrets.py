"""Addresses that hold a secret are not written to the log, nor lines that somebody made up."""

import logging
import re
from collections.abc import MutableMapping
from typing import Any

_SECRET = re.compile(r"(/(?:invited|console|account/password/reset/key)/)[^/\s]+")

# What would begin a line of its own, or move the cursor of whoever reads.
_CONTROL = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]")


def _escaped(found: re.Match[str]) -> str:
    return found.group().encode("unicode_escape").decode()


def without_secrets(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """A processor of structlog: "GET /invited/…/" in place of the link that was opened."""
    request = event.get("request")
    if isinstance(request, str):
        event["request"] = _SECRET.sub(r"\1…", request)
    return event


class WithoutSecrets(logging.Filter):
    """The same for lines of libraries, which name addresses in their message; and each stays one
    line, whatever it quotes."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.msg, str):
            said = record.getMessage()
            harmless = _CONTROL.sub(_escaped, _SECRET.sub(r"\1…", said))
            if harmless != said:
                record.msg, record.args = harmless, ()
        return True
