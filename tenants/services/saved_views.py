"""Saved views: a person's own, so nobody else is told and nothing is audited."""

from django.db import transaction

from tenants.errors import InvalidInputError, NameTakenError, RuleError
from tenants.models import SavedView, User
from tenants.models.saved_view import LONGEST_NAME, LONGEST_QUERY

MOST = 20
"""Saved views of one person, of one list."""


class TooManyViewsError(RuleError):
    code = "too_many_views"
    status = 409


@transaction.atomic
def saved_view_save(*, user: User, list_name: str, name: str, query: str) -> SavedView:
    """Keep `query` under `name`; a view of that name shows it from now on.

    Whoever calls has seen to it that `query` is one of the list's.
    Raises InvalidInputError, TooManyViewsError.
    """
    name = _name_check(name)
    if len(query) > LONGEST_QUERY:
        raise InvalidInputError("These filters are too long to be saved. Shorten the search.")
    _one_at_a_time(user)
    known = SavedView.objects.of(user, list_name)
    view = known.named(name).first()
    if view is not None:
        view.name, view.query = name, query
        view.save(update_fields=["name", "query"])
        return view
    if known.count() >= MOST:
        raise TooManyViewsError(
            f"This list has {MOST} saved views already. Delete one of them, or save under the "
            "name of one that may go."
        )
    return SavedView.objects.create(user=user, list_name=list_name, name=name, query=query)


@transaction.atomic
def saved_view_rename(*, view: SavedView, name: str) -> None:
    """Raises InvalidInputError, NameTakenError."""
    name = _name_check(name)
    _one_at_a_time(view.user)
    others = SavedView.objects.of(view.user, view.list_name).exclude(pk=view.pk)
    if others.named(name).exists():
        raise NameTakenError(
            f"Another saved view of this list is named “{name}”. Choose another name.",
            field="name",
        )
    view.name = name
    view.save(update_fields=["name"])


@transaction.atomic
def saved_view_set_default(*, view: SavedView, default: bool) -> None:
    """Whether the list opens with it. At most one does."""
    _one_at_a_time(view.user)
    SavedView.objects.of(view.user, view.list_name).filter(is_default=True).update(is_default=False)
    view.is_default = default
    view.save(update_fields=["is_default"])


def saved_view_delete(*, view: SavedView) -> None:
    view.delete()


def _one_at_a_time(user: User) -> None:
    User.objects.select_for_update(no_key=True).get(pk=user.pk)


def _name_check(name: str) -> str:
    name = " ".join(name.split())
    if not name or not name.isprintable():
        raise InvalidInputError("Give the view a name that can be read.", field="name")
    if len(name) > LONGEST_NAME:
        raise InvalidInputError(
            f"The name has {len(name)} characters; {LONGEST_NAME} is the most.", field="name"
        )
    return name
