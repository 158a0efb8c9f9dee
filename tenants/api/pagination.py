"""Pages of the API by key, so that page 1,000 costs what page 1 costs."""

from rest_framework.exceptions import NotFound
from rest_framework.pagination import Cursor, CursorPagination
from rest_framework.request import Request

from tenants.api.instants import instant
from tenants.errors import InvalidInputError


class KeysetPagination(CursorPagination):
    """`?cursor=…&page_size=…`; newest first."""

    ordering = ("-created_at", "-id")
    page_size_query_param = "page_size"
    max_page_size = 500

    def decode_cursor(self, request: Request) -> Cursor | None:
        """Raises InvalidInputError for what is none of ours: Django REST framework hands the
        position to the database unseen."""
        try:
            cursor: Cursor | None = super().decode_cursor(request)
            if cursor is not None and cursor.position is not None:
                position = self.position(str(cursor.position))
                cursor = cursor._replace(position=position)  # type: ignore[arg-type]
            known = True
        except (NotFound, ValueError):
            known = False
        if not known:
            raise InvalidInputError(
                "This cursor leads nowhere. Follow “next” or “previous” of an answer as they "
                "stand, or begin again without a cursor.",
                field="cursor",
            )
        return cursor

    def position(self, text: str) -> str:
        """What a row is found by: the value of the first of `ordering`. Raises ValueError."""
        return instant(text).isoformat()
