"""Tags: what people write on their VMs, and what guests are told as metadata."""

import re
from collections.abc import Mapping

from tenants.errors import InvalidInputError

MOST_TAGS = 50
_KEY = re.compile(r"\A[A-Za-z0-9][A-Za-z0-9 _.:/=+@-]{0,62}\Z")
_LONGEST_VALUE = 256


def tags_check(tags: Mapping[str, str]) -> dict[str, str]:
    """The tags, stripped. Raises InvalidInputError."""
    if len(tags) > MOST_TAGS:
        raise InvalidInputError(f"A VM has at most {MOST_TAGS} tags.", field="tags")
    checked = {}
    for key, value in tags.items():
        key, value = key.strip(), value.strip()  # noqa: PLW2901
        if not _KEY.match(key):
            raise InvalidInputError(
                f"“{key[:40]}” is no name of a tag: 1 to 63 letters, digits and blanks, or any of "
                "_ . : / = + @ - inside.",
                field="tags",
            )
        if len(value) > _LONGEST_VALUE or not value.isprintable():
            raise InvalidInputError(
                f"The tag “{key}” has one line of {_LONGEST_VALUE} characters at most.",
                field="tags",
            )
        checked[key] = value
    return checked
