"""Saved views of lists: keeping what a list shows, renaming, opening with it, deleting."""

from typing import Any

from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect
from django.urls import reverse

from portal.views.activity import ActivityView
from portal.views.audit import AuditView
from portal.views.base import SIGNED_IN, PageView
from portal.views.customers import CustomersView
from portal.views.hosts import HostsView
from portal.views.images import ImagesView
from portal.views.lists import ALL, ListPage, shown
from portal.views.sites import SitesView
from portal.views.vms import VmsView
from tenants.errors import InvalidInputError
from tenants.models import SavedView
from tenants.services.saved_views import (
    saved_view_delete,
    saved_view_rename,
    saved_view_save,
    saved_view_set_default,
)

LISTS: dict[str, type[ListPage]] = {
    view.name: view
    for view in (VmsView, HostsView, SitesView, CustomersView, ImagesView, ActivityView, AuditView)
}


class SavedViewPage(PageView):
    """An action on one's own saved views. Another person's is a 404."""

    permission = SIGNED_IN

    def view(self, view_id: str) -> SavedView:
        found = SavedView.objects.filter(user=self.user, id=view_id).first()
        if found is None or found.list_name not in LISTS:
            raise Http404
        return found

    def back(self, list_name: str, query: str) -> HttpResponse:
        return redirect(f"{reverse(list_name)}?{query or f'view={ALL}'}")


class SavedViewSaveView(SavedViewPage):
    permission = SIGNED_IN

    def post(self, request: HttpRequest) -> HttpResponse:
        list_name = request.POST.get("list", "")
        page = LISTS.get(list_name)
        if page is None:
            raise Http404
        wanted = shown(
            page.filters_class, page.table_class, QueryDict(request.POST.get("query", "")[:4000])
        )
        query = wanted.urlencode()

        def save() -> str:
            self._check(page, wanted)
            view = saved_view_save(
                user=self.user, list_name=list_name, name=request.POST.get("name", ""), query=query
            )
            if "default" in request.POST:
                saved_view_set_default(view=view, default=True)
            return f"“{view.name}” is saved, above the list."

        self.attempt(save)
        return self.back(list_name, query)

    def _check(self, page: type[ListPage], wanted: QueryDict) -> None:
        """Only what the list understands, and what the person may choose there, is kept.
        Raises InvalidInputError."""
        filters: Any = page.filters_class(wanted, request=self.request)
        if filters.form.errors:
            names = ", ".join(str(filters.form[name].label) for name in filters.form.errors)
            raise InvalidInputError(
                f"These filters can't be saved, as the list does not understand: {names}. "
                "Choose again, then save."
            )


class SavedViewRenameView(SavedViewPage):
    permission = SIGNED_IN

    def post(self, request: HttpRequest, view_id: str) -> HttpResponse:
        view = self.view(view_id)

        def rename() -> str:
            saved_view_rename(view=view, name=request.POST.get("name", ""))
            return f"The view is named “{view.name}” now."

        self.attempt(rename)
        return self.back(view.list_name, view.query)


class SavedViewDefaultView(SavedViewPage):
    """The list opens with it; or, where it does already, with all of its rows again."""

    permission = SIGNED_IN

    def post(self, request: HttpRequest, view_id: str) -> HttpResponse:
        view = self.view(view_id)

        def switch() -> str:
            saved_view_set_default(view=view, default=request.POST.get("default") == "yes")
            if view.is_default:
                return f"The list opens with “{view.name}” from now on."
            return "The list opens with all of its rows from now on."

        self.attempt(switch)
        return self.back(view.list_name, view.query)


class SavedViewDeleteView(SavedViewPage):
    permission = SIGNED_IN

    def post(self, request: HttpRequest, view_id: str) -> HttpResponse:
        view = self.view(view_id)

        def delete() -> str:
            saved_view_delete(view=view)
            return f"The view “{view.name}” is deleted. What it showed is still there."

        self.attempt(delete)
        return self.back(view.list_name, "")
