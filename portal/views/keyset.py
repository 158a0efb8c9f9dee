"""Pages by key: each begins after the last row of the one before, not at a number.

So page 1,000 costs what page 1 costs, and rows that come and go in the meantime make nobody
see a row twice, or miss one. A cursor is the sorted values of one row, signed: what comes back
is what was given out, or is refused.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from django.core import signing
from django.core.exceptions import FieldDoesNotExist
from django.db.models import Count, F, Model, Q, QuerySet, Value
from django.db.models.functions import Coalesce

M = TypeVar("M", bound=Model)

_SALT = "basalt.keyset"
_LONGEST = 4000
"""Characters of a cursor. None of ours is longer, and nothing longer is worth looking at."""


class CursorError(Exception):
    """Not a cursor of this list in this order: forged, cut off, or from another sorting."""


@dataclass(frozen=True)
class Key:
    """One column that rows are sorted by. Rows without a value come last, either way round."""

    path: str
    descending: bool
    nullable: bool

    def order(self, *, backwards: bool) -> Any:
        descending = self.descending != backwards
        # PostgreSQL uses an index only in the index's own order, so nulls are not spoken of
        # where there are none.
        options = {"nulls_first" if backwards else "nulls_last": True} if self.nullable else {}
        column = F(self.path)
        return column.desc(**options) if descending else column.asc(**options)

    def beyond(self, value: Any, *, backwards: bool) -> Q:
        """Rows that this column alone puts after `value`; before it, where `backwards`."""
        if value is None:
            return Q(**{f"{self.path}__isnull": False}) if backwards else Q(pk__in=[])
        operator = "lt" if self.descending != backwards else "gt"
        found = Q(**{f"{self.path}__{operator}": value})
        if self.nullable and not backwards:
            found |= Q(**{f"{self.path}__isnull": True})
        return found

    def same(self, value: Any) -> Q:
        return Q(**{f"{self.path}__isnull": True}) if value is None else Q(**{self.path: value})

    def value_of(self, row: Any) -> Any:
        for part in self.path.split("__"):
            row = None if row is None else getattr(row, part)
        return row


class Ordering:
    """The order of a list's rows: by `paths` ("-name" descends), and by id among equals."""

    def __init__(self, rows: "QuerySet[Any]", paths: Sequence[str]) -> None:
        first_descends = bool(paths) and paths[0].startswith("-")
        wanted = [*paths, "-id" if first_descends else "id"]
        self.keys = [
            Key(path.removeprefix("-"), path.startswith("-"), _nullable(rows, path))
            for path in dict.fromkeys(wanted)
        ]
        self.name = ",".join(f"{'-' if key.descending else ''}{key.path}" for key in self.keys)

    def sorted(self, rows: "QuerySet[M]", *, backwards: bool = False) -> "QuerySet[M]":
        return rows.order_by(*(key.order(backwards=backwards) for key in self.keys))

    def beyond(
        self, rows: "QuerySet[M]", values: Sequence[Any], *, backwards: bool
    ) -> "QuerySet[M]":
        """Rows after the one with these values; before it, where `backwards`."""
        found, equal = Q(pk__in=[]), Q()
        for key, value in zip(self.keys, values, strict=True):
            found |= equal & key.beyond(value, backwards=backwards)
            equal &= key.same(value)
        first, value = self.keys[0], values[0]
        if value is not None and not first.nullable:
            # Says nothing new, but lets PostgreSQL start in the middle of an index.
            operator = "lte" if first.descending != backwards else "gte"
            rows = rows.filter(**{f"{first.path}__{operator}": value})
        return rows.filter(found)

    def cursor(self, row: Any, *, backwards: bool) -> str:
        values = [_packed(key.value_of(row)) for key in self.keys]
        return signing.dumps([self.name, int(backwards), *values], salt=_SALT, compress=True)

    def read(self, cursor: str) -> tuple[bool, list[Any]]:
        """Whether it leads backwards, and the values of its row. Raises CursorError."""
        if len(cursor) > _LONGEST:
            raise CursorError
        try:
            name, backwards, *packed = signing.loads(cursor, salt=_SALT)
        except (signing.BadSignature, ValueError, TypeError) as error:
            raise CursorError from error
        if name != self.name or len(packed) != len(self.keys):
            raise CursorError
        return bool(backwards), [_unpacked(value) for value in packed]


@dataclass(frozen=True)
class KeysetPage:
    """Some rows of a list, and the cursors of the pages beside them; "" where there is none."""

    rows: list[Any]
    previous: str
    next: str
    stale: bool = False
    """The cursor was not understood, or nothing is left there: this is the first page."""


def keyset_page(
    rows: "QuerySet[Any]", ordering: Ordering, *, cursor: str, per_page: int
) -> KeysetPage:
    """The page that `cursor` stands for; "" for the first. At most three queries, beside what
    the rows bring along, and none that counts."""
    if cursor:
        try:
            backwards, values = ordering.read(cursor)
        except CursorError:
            return _first(rows, ordering, per_page, stale=True)
        rest = ordering.beyond(rows, values, backwards=backwards)
        found = list(ordering.sorted(rest, backwards=backwards)[: per_page + 1])
        more, found = len(found) > per_page, found[:per_page]
        if backwards and not more:
            # The beginning: a whole first page rather than the few rows that were before.
            return _first(rows, ordering, per_page)
        if not found:
            return _first(rows, ordering, per_page, stale=True)
        if backwards:
            found.reverse()
        before, after = (
            ordering.cursor(found[0], backwards=True),
            ordering.cursor(found[-1], backwards=False),
        )
        if backwards:
            return KeysetPage(found, before, after if _any(rows, ordering, after) else "")
        return KeysetPage(
            found, before if _any(rows, ordering, before) else "", after if more else ""
        )
    return _first(rows, ordering, per_page)


def _first(
    rows: "QuerySet[Any]", ordering: Ordering, per_page: int, *, stale: bool = False
) -> KeysetPage:
    found = list(ordering.sorted(rows)[: per_page + 1])
    more, found = len(found) > per_page, found[:per_page]
    return KeysetPage(found, "", ordering.cursor(found[-1], backwards=False) if more else "", stale)


def _any(rows: "QuerySet[Any]", ordering: Ordering, cursor: str) -> bool:
    backwards, values = ordering.read(cursor)
    return ordering.beyond(rows, values, backwards=backwards).exists()


def _nullable(rows: "QuerySet[Any]", path: str) -> bool:
    """Whether a row may have no value there. What can't be told may be missing."""
    names = path.removeprefix("-").split("__")
    annotation = rows.query.annotations.get("__".join(names))
    if annotation is not None:
        return not (isinstance(annotation, Count) or _has_fallback(annotation))
    model: Any = rows.model
    for name in names:
        try:
            field = model._meta.get_field(name)
        except FieldDoesNotExist:
            return True
        if getattr(field, "null", True):
            return True
        model = field.related_model
    return False


def _has_fallback(annotation: Any) -> bool:
    return isinstance(annotation, Coalesce) and any(
        isinstance(source, Value) and source.value is not None
        for source in annotation.get_source_expressions()
    )


def _packed(value: Any) -> Any:
    """As JSON can hold it."""
    if isinstance(value, datetime):
        return {"at": value.isoformat()}
    if isinstance(value, UUID):
        return {"id": str(value)}
    if value is None or isinstance(value, str | int | float):
        return value
    raise TypeError(f"A list can't be sorted by a {type(value).__name__}.")


def _unpacked(value: Any) -> Any:
    if isinstance(value, dict):
        return datetime.fromisoformat(value["at"]) if "at" in value else UUID(value["id"])
    return value
