"""What one request is answered with, before it is HTTP, and the trees that hold answers."""

from collections.abc import Callable, Iterable
from typing import Any, Union

import msgspec


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    status: int = 200
    body: bytes = b""
    content_type: str = "text/plain"
    headers: dict[str, str] = {}


Leaf = Callable[[], Answer]
Tree = dict[str, Union[Leaf, "Tree"]]
"""Folders and leaves by name. A leaf is only worked out when somebody asks for it."""


def text(body: str, *, status: int = 200) -> Answer:
    return Answer(status=status, body=body.encode())


def listing(names: Iterable[str]) -> Answer:
    """Names of what lies below, one a line, as both forms of the tree list them."""
    return text("\n".join(names))


def json_answer(value: Any) -> Answer:
    return Answer(body=msgspec.json.encode(value), content_type="application/json")


def not_found() -> Answer:
    return text("Not Found", status=404)


def resolve(tree: Tree, parts: list[str], *, mark: str) -> Answer:
    """What lies in `tree` at the path `parts`. Names of folders are listed with `mark`."""
    found: Leaf | Tree = tree
    for part in parts:
        if not isinstance(found, dict) or part not in found:
            return not_found()
        found = found[part]
    if not isinstance(found, dict):
        return found()
    return listing(f"{name}{mark}" if isinstance(found[name], dict) else name for name in found)
