"""Building blocks of serializers: strict input, and references that stay in scope."""

import uuid
from collections.abc import Callable
from typing import Any

from django.db.models import Model, QuerySet
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers


class InputSerializer(serializers.Serializer[Any]):
    """Input that knows all its fields: a misspelt one is refused, not ignored."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, dict):
            unknown = {
                str(name)[:100]: ["There is no such field."]
                for name in data
                if name not in self.fields
            }
            if unknown:
                raise serializers.ValidationError(unknown)
        return super().to_internal_value(data)


class ReferenceSerializer(serializers.Serializer[Any]):
    """What another thing is called, and where to ask for it."""

    id = serializers.UUIDField()
    name = serializers.CharField()


@extend_schema_field(OpenApiTypes.STR)
class InScope(serializers.Field[Any, Any, Any, Any]):
    """A row named by its id or its exact name, among those on which the person holds
    `permission`. Another tenant's row is refused in the words used for none at all."""

    default_error_messages = {
        "no_such": "There is no such {thing}, or you may not see it.",
        "several": "More than one {thing} has this name: give its id.",
    }

    def __init__(
        self, rows: Callable[[], "QuerySet[Any]"], *, thing: str, permission: str, **options: Any
    ) -> None:
        self.rows, self.thing, self.permission = rows, thing, permission
        options.setdefault("help_text", f"Id or exact name of the {thing}.")
        super().__init__(**options)

    def to_internal_value(self, data: Any) -> Any:
        queryset: Any = self.rows()
        scoped = queryset.allowed(self.context["request"].user, self.permission)
        found = rows_named(scoped, data)
        if len(found) != 1:
            self.fail("several" if found else "no_such", thing=self.thing)
        return found[0]

    def to_representation(self, value: Any) -> str:
        return str(value.pk)


def rows_named(rows: "QuerySet[Any]", wanted: Any) -> list[Model]:
    """At most two rows with this id or, without regard to case, this name."""
    # Control characters and lone surrogates are in no name, and not for the database.
    if not isinstance(wanted, str) or not wanted.isprintable():
        return []
    try:
        return list(rows.filter(pk=uuid.UUID(wanted)))
    except ValueError:
        return list(rows.filter(name__iexact=wanted.strip())[:2])
