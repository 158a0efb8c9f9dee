"""CSV of a list: every row that the filters let through, sent as it is read."""

import csv
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponseBase, StreamingHttpResponse
from django.utils import timezone

Column = tuple[str, Callable[[Any], Any]]
_AT_ONCE = 500
"""Lines that are read before the first of them is sent."""


class _Line:
    """A file that hands each line straight back."""

    def write(self, text: str) -> str:
        return text


def csv_answer(
    request: HttpRequest, name: str, columns: Sequence[Column], rows: Iterable[Any]
) -> HttpResponseBase:
    """A file with a header, and a line for each of `rows`."""
    lines = _lines(columns, rows)
    # Under ASGI Django would first gather all of a plain iterator in memory.
    content = _in_parts(lines) if isinstance(request, ASGIRequest) else lines
    answer = StreamingHttpResponse(content, content_type="text/csv; charset=utf-8")
    day = timezone.localtime().strftime("%Y-%m-%d")
    answer["Content-Disposition"] = f'attachment; filename="basalt-{name}-{day}.csv"'
    return answer


def _lines(columns: Sequence[Column], rows: Iterable[Any]) -> Iterator[str]:
    writer = csv.writer(_Line())
    yield writer.writerow([header for header, _ in columns])
    for row in rows:
        yield writer.writerow([_harmless(value(row)) for _, value in columns])


async def _in_parts(lines: Iterator[str]) -> AsyncIterator[str]:
    def part() -> str:
        return "".join(islice(lines, _AT_ONCE))

    # In the request's own thread, as database connections belong to threads.
    while text := await sync_to_async(part)():
        yield text


def _harmless(value: Any) -> str:
    """A cell that no spreadsheet takes for a formula.

    https://owasp.org/www-community/attacks/CSV_Injection
    """
    text = "" if value is None else str(value)
    return "'" + text if text.startswith(("=", "+", "-", "@", "\t", "\r", "\n")) else text
