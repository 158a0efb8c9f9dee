"""Lists: filters in the address, sorting, pages, saved views, CSV. Queries don't grow with rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from django.db import models
from django.http import HttpRequest, HttpResponse, HttpResponseBase, QueryDict
from django.shortcuts import redirect
from django.urls import reverse
from django_filters import FilterSet
from django_tables2 import Table
from django_tables2.rows import BoundRow

from portal.views.base import PageView
from portal.views.bulk import Button
from portal.views.csv_export import Column, csv_answer
from portal.views.keyset import KeysetPage, Ordering, keyset_page
from tenants.models import Membership, SavedView
from tenants.services.audit import list_exported

PER_PAGE = 50
COUNTED = 1000
"""A longer list says "more than"; counting all of it would cost more than its page."""
MOST_SORTS = 3
ALL = "all"
"""`?view=all`: the bare list, although a saved view opens in its place."""


@dataclass(frozen=True)
class TablePage:
    """What the table shows, as django-tables2 and the templates want it."""

    object_list: list[BoundRow]
    keyset: KeysetPage


class ListPage(PageView):
    """One list. Subclasses name its table, its filters and what goes into its CSV."""

    template_name = "pages/list.html"
    table_class: ClassVar[type[Table]]
    filters_class: ClassVar[type[FilterSet]]
    name: ClassVar[str]
    """Of its address, of its CSV file, and of its saved views."""
    columns: ClassVar[Sequence[Column]]
    buttons: ClassVar[Sequence[Button]] = ()
    """What can be done to many rows at once."""

    def rows(self) -> "models.QuerySet[Any]":
        """All rows that the person may see."""
        raise NotImplementedError

    def about(self) -> dict[str, Any]:
        """What the template needs beside the rows: title, empty state, buttons."""
        raise NotImplementedError

    def for_table(self) -> dict[str, Any]:
        """What the table's cells ask for, found out once."""
        return {}

    def for_rows(self, rows: Sequence[Any]) -> dict[str, Any]:
        """The same, about the rows of the page: in a fixed number of queries."""
        return {}

    def get(self, request: HttpRequest) -> HttpResponseBase:
        views = list(SavedView.objects.of(self.user, self.name))
        if not request.GET:
            opened = next((view.query for view in views if view.is_default), "")
            if opened:
                return redirect(f"{reverse(self.name)}?{opened}")
        filters = self.filters_class(request.GET, queryset=self.rows(), request=request)
        table = self.table_class(filters.qs, order_by=sorts(self.table_class, request.GET))
        ordering = Ordering(filters.qs, paths_of(table))
        if request.GET.get("format") == "csv":
            rows = ordering.sorted(filters.qs).iterator(chunk_size=500)
            list_exported(actor=self.actor, list_name=self.name, query=request.GET, format_="CSV")
            return csv_answer(request, self.name, self.columns, rows)
        return self.list_page(filters, table, ordering, views)

    def list_page(
        self, filters: FilterSet, table: Table, ordering: Ordering, views: list[SavedView]
    ) -> HttpResponse:
        page = keyset_page(
            filters.qs,
            ordering,
            cursor=self.request.GET.get("cursor", ""),
            per_page=PER_PAGE,
        )
        may = Membership.objects.permissions_of(self.user) if self.buttons else frozenset()
        buttons = [button for button in self.buttons if button.permission in may]
        if self.buttons and not buttons:
            table.columns.hide("choose")
        table.page = TablePage([BoundRow(row, table=table) for row in page.rows], page)
        for name, value in {**self.for_table(), **self.for_rows(page.rows)}.items():
            setattr(table, name, value)
        alone = not (page.next or page.previous)
        wanted = shown(self.filters_class, self.table_class, self.request.GET)
        query = wanted.urlencode()
        return self.page(
            {
                "table": table,
                "filters": filters,
                "filtered": any(name in filters.filters for name in wanted),
                "misread": [filters.form[name].label for name in filters.form.errors],
                "total": len(page.rows) if alone else _count(filters.qs),
                "counted": COUNTED,
                "buttons": buttons,
                "list_name": self.name,
                "bare": f"?view={ALL}" if any(view.is_default for view in views) else "?",
                "views": views,
                "view_query": query,
                "current_view": next((view for view in views if view.query == query), None),
                **self.about(),
            }
        )


def sorts(table_class: type[Table], values: QueryDict) -> tuple[str, ...]:
    """The columns to sort by, of those that there are; the table's own if none."""
    found: dict[str, str] = {}
    for text in values.getlist("sort"):
        column = table_class.base_columns.get(text.removeprefix("-"))
        if column is not None and column.orderable is not False:
            found.setdefault(text.removeprefix("-"), text)
    own: tuple[str, ...] = table_class._meta.order_by
    return tuple(found.values())[:MOST_SORTS] or own


def shown(filters_class: type[FilterSet], table_class: type[Table], values: QueryDict) -> QueryDict:
    """Of an address' values, those that say what a list shows: filters in use, and sorting."""
    kept = QueryDict(mutable=True)
    for name in filters_class.base_filters:
        texts = [text for text in values.getlist(name) if text.strip()]
        if texts:
            kept.setlist(name, texts[-1:])
    wanted = sorts(table_class, values)
    if wanted != tuple(table_class._meta.order_by):
        kept.setlist("sort", list(wanted))
    return kept


def paths_of(table: Table) -> list[str]:
    """What the table's rows are sorted by: paths of the model, "-" before those that descend."""
    return [
        str(accessor.for_queryset())
        for alias in table.order_by
        for accessor in table.columns[alias.bare].order_by
    ]


def _count(rows: "models.QuerySet[Any]") -> int:
    """How many there are, or one more than COUNTED."""
    return rows.order_by().values("pk")[: COUNTED + 1].count()
