"""Variables in user-data: `{{ name }}` stands for what the portal knows about the guest.

Both sides fill them in: the portal for the preview, the host for what the guest gets, as only
the host can read what was sealed for it. Nothing but names is looked up: no expressions, no
filters, no loops. Text that cloud-init itself takes for a template is left as it is.
"""

import re
from collections.abc import Mapping

JINJA_HEADER = "## template: jinja"
"""The first line by which cloud-init knows a template of its own."""

# Written literally with a backslash in front: \{{ stays {{.
_VARIABLE = re.compile(r"\\\{\{|\{\{[ \t]*([A-Za-z_][A-Za-z0-9_.]{0,62})[ \t]*\}\}")


class UnknownVariableError(LookupError):
    """A text names a variable that this guest has not; `name` is it."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


def is_left_to_the_guest(text: str) -> bool:
    """Whether cloud-init in the guest is to fill the text in, rather than we."""
    return text.lstrip().lower().startswith(JINJA_HEADER)


def variables_in(text: str) -> list[str]:
    """The names that `text` uses, each once, in the order of their first use."""
    if is_left_to_the_guest(text):
        return []
    return list(dict.fromkeys(match[1] for match in _VARIABLE.finditer(text) if match[1]))


def fill_in(text: str, variables: Mapping[str, str]) -> str:
    """The text with its variables' values. What a value holds is never filled in again.

    Raises UnknownVariableError.
    """
    if is_left_to_the_guest(text):
        return text

    def value(match: re.Match[str]) -> str:
        name = match[1]
        if not name:
            return "{{"
        if name not in variables:
            raise UnknownVariableError(name)
        return variables[name]

    return _VARIABLE.sub(value, text)
