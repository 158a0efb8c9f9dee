"""Points in time as people and programs send them, made fit for PostgreSQL."""

from datetime import UTC, datetime
from typing import Any

from django.core.exceptions import ValidationError
from django_filters import rest_framework as filters
from django_filters.fields import IsoDateTimeField


def instant(text: str) -> datetime:
    """A time with its zone, in UTC. Raises ValueError for anything else.

    PostgreSQL knows no zone more than sixteen hours from UTC, ISO 8601 and Python do.
    """
    found = datetime.fromisoformat(text)
    if found.tzinfo is None:
        raise ValueError("a time without a zone")
    try:
        return found.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("a time outside of the calendar") from error


class _InstantField(IsoDateTimeField):  # type: ignore[misc]
    def clean(self, value: Any) -> datetime | None:
        found: datetime | None = super().clean(value)
        if found is None:
            return None
        try:
            return found.astimezone(UTC)
        except OverflowError as error:
            raise ValidationError("This time is outside of the calendar.") from error


class InstantFilter(filters.IsoDateTimeFilter):  # type: ignore[misc]
    """By a point in time, in whatever zone it was written."""

    field_class = _InstantField
