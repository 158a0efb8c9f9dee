"""JSON as the API takes it: one meaning for each text, and no deeper than anything here needs."""

import json
from collections.abc import Mapping
from typing import IO, Any

from django.conf import settings
from rest_framework.exceptions import ParseError
from rest_framework.parsers import JSONParser

MOST_DEPTH = 20
_TOO_DEEP = f"The JSON is nested more than {MOST_DEPTH} levels deep, which nothing here is."


class BoundedJsonParser(JSONParser):
    """Refuses what other readers of the same text may read otherwise: a name that is there twice
    (RFC 8259, 4), numbers that are none (NaN, Infinity), and other encodings than UTF-8."""

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,  # noqa: ARG002
        parser_context: Mapping[str, Any] | None = None,  # noqa: ARG002
    ) -> Any:
        body = stream.read(settings.DATA_UPLOAD_MAX_MEMORY_SIZE + 1)
        if len(body) > settings.DATA_UPLOAD_MAX_MEMORY_SIZE:
            raise ParseError("The JSON is longer than anything here needs to be.")
        try:
            # From a str: of bytes, json.loads would guess an encoding.
            data = json.loads(body.decode(), object_pairs_hook=_once, parse_constant=_no_number)
        except UnicodeDecodeError as error:
            raise ParseError("The JSON is not UTF-8.") from error
        except ValueError as error:
            raise ParseError(f"This is not JSON that can be read here: {error}") from error
        except RecursionError as error:
            raise ParseError(_TOO_DEEP) from error
        _check_depth(data)
        return data


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name is there twice")
    return found


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no number")


def _check_depth(data: Any) -> None:
    level: list[Any] = [data]
    for _ in range(MOST_DEPTH):
        level = [
            inner
            for one in level
            if isinstance(one, dict | list)
            for inner in (one.values() if isinstance(one, dict) else one)
        ]
        if not level:
            return
    if any(isinstance(one, dict | list) for one in level):
        raise ParseError(_TOO_DEEP)
