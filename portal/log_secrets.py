"""Addresses that hold a secret are not written to the log."""

import logging
import re
from collections.abc import MutableMapping
from typing import Any

_SECRET = re.compile(r"(/(?:invited|console|account/password/reset/key)/)[^/\s]+")


def without_secrets(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """A processor of structlog: "GET /invited/…/" in place of the link that was opened."""
    request = event.get("request")
    if isinstance(request, str):
        event["request"] = _SECRET.sub(r"\1…", request)
    return event


class WithoutSecrets(logging.Filter):
    """The same for lines of libraries, which name addresses in their message."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.msg, str) and record.args:
            said = record.getMessage()
            harmless = _SECRET.sub(r"\1…", said)
            if harmless != said:
                record.msg, record.args = harmless, ()
        return True
