"""Lists: filters in the address, sorting, pages, and CSV. Queries don't grow with rows."""

import csv
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, ClassVar

from django.db import models
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.utils import timezone
from django_filters import FilterSet
from django_tables2 import RequestConfig, Table

from portal.views.base import PageView

PER_PAGE = 50
Column = tuple[str, Callable[[Any], Any]]


class ListPage(PageView):
    """One list. Subclasses name its table, its filters and what goes into its CSV."""

    template_name = "pages/list.html"
    table_class: ClassVar[type[Table]]
    filters_class: ClassVar[type[FilterSet]]
    name: ClassVar[str]
    """Of the CSV file."""
    columns: ClassVar[Sequence[Column]]

    def rows(self) -> "models.QuerySet[Any]":
        """All rows that the person may see."""
        raise NotImplementedError

    def about(self) -> dict[str, Any]:
        """What the template needs beside the rows: title, empty state, buttons."""
        raise NotImplementedError

    def for_table(self) -> dict[str, Any]:
        """What the table's cells ask for, found out once."""
        return {}

    def get(self, request: HttpRequest) -> HttpResponseBase:
        filters = self.filters_class(request.GET, queryset=self.rows(), request=request)
        if request.GET.get("format") == "csv":
            return csv_answer(self.name, self.columns, filters.qs.iterator(chunk_size=500))
        return self.list_page(filters)

    def list_page(self, filters: FilterSet, **context: Any) -> HttpResponse:
        table = self.table_class(filters.qs)
        for name, value in self.for_table().items():
            setattr(table, name, value)
        RequestConfig(self.request, paginate={"per_page": PER_PAGE, "silent": True}).configure(
            table
        )
        filtered = any(value not in (None, "") for value in filters.form.data.values())
        return self.page(
            {
                "table": table,
                "filters": filters,
                "filtered": filtered,
                "total": table.page.paginator.count,
                **self.about(),
                **context,
            }
        )


class _Line:
    """A file that hands each line straight back."""

    def write(self, text: str) -> str:
        return text


def csv_answer(name: str, columns: Sequence[Column], rows: Iterable[Any]) -> HttpResponseBase:
    """All rows, sent as they are read."""
    writer = csv.writer(_Line())

    def lines() -> Iterator[str]:
        yield writer.writerow([header for header, _ in columns])
        for row in rows:
            yield writer.writerow([_harmless(value(row)) for _, value in columns])

    answer = StreamingHttpResponse(lines(), content_type="text/csv; charset=utf-8")
    day = timezone.localtime().strftime("%Y-%m-%d")
    answer["Content-Disposition"] = f'attachment; filename="basalt-{name}-{day}.csv"'
    return answer


def _harmless(value: Any) -> str:
    """A cell that no spreadsheet takes for a formula.

    https://owasp.org/www-community/attacks/CSV_Injection
    """
    text = "" if value is None else str(value)
    return "'" + text if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text
