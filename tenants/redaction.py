"""What never gets into the audit log, whatever a caller hands over.

Callers leave secrets out themselves; this is the net below them. It goes by names of fields, and
by how our own tokens, private keys and addresses with passwords look.
"""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit, urlunsplit

HIDDEN = "(hidden)"
_LONGEST = 2000
"""Characters of one text. A log is no place for documents."""

_SECRET_NAME = re.compile(
    r"pass(word|wd|phrase|code)?$|password|secret|user_?data|private|cookie|signature"
    r"|credential|recovery|totp|otp$|seed|api_?key|auth(orization)?$|bearer"
    r"|(^|_)(token|hash|session|session_key|x509cert|key)$",
    re.IGNORECASE,
)
_SECRET_TEXT = re.compile(
    r"\b(bslt|bj)_[A-Za-z0-9_-]{16,}|-----BEGIN [A-Z ]*PRIVATE KEY-----.*|\bBearer \S+",
    re.DOTALL,
)
_URL = re.compile(r"https?://\S+", re.IGNORECASE)


def redacted(values: Mapping[str, Any]) -> dict[str, Any]:
    """`values` as JSON can hold them, without secrets. Numbers with a fraction become text, so
    that the database and whoever checks the chain write them alike."""
    return {str(name): _value(str(name), value) for name, value in values.items()}


def redacted_text(text: str) -> str:
    """A text without what looks like a secret, and not longer than is sensible."""
    text = _SECRET_TEXT.sub(HIDDEN, text.replace("\0", ""))
    text = _URL.sub(lambda found: _url(found[0]), text)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _value(name: str, value: Any) -> Any:
    if value is None or isinstance(value, bool) or value in ("", [], {}):
        return value
    if _SECRET_NAME.search(name):
        return HIDDEN
    if isinstance(value, int):
        return value
    if isinstance(value, Mapping):
        return redacted(value)
    if isinstance(value, list | tuple | set | frozenset):
        items = sorted(value, key=str) if isinstance(value, set | frozenset) else value
        return [_value("", item) for item in items]
    return redacted_text(str(value))


def _url(text: str) -> str:
    """An address without name and password, and without its query: signatures stand there."""
    try:
        parts = urlsplit(text)
        host = parts.netloc.rpartition("@")[2]
    except ValueError:
        return HIDDEN
    return urlunsplit((parts.scheme, host, parts.path, "…" if parts.query else "", ""))
