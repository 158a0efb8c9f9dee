"""What a second person can be asked about. Apps register their own kinds, as those of jobs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.db.models import QuerySet

from tenants.actor import Actor
from tenants.models import Tenant, User
from tenants.models.holdings import Holdings, holdings_load


def _no_option(option: str) -> bool:
    return option == ""


def _itself(row: Any) -> set[UUID]:
    return {row.pk}


@dataclass(frozen=True)
class Thing:
    """A row as people know it, frozen when it is asked about. One that reads otherwise when it
    is to be destroyed is left alone."""

    name: str
    where: str
    loss: str
    """What is lost with it."""


@dataclass(frozen=True)
class Kind:
    """One way to destroy something."""

    name: str
    """ "vm.delete": as its audit events are named."""
    verb: str
    done: str
    nouns: tuple[str, str]
    permissions: tuple[str, ...]
    """What both people need on each row."""
    rows: Callable[[], "QuerySet[Any]"]
    thing: Callable[[Any, str], Thing]
    """Of a row and the option."""
    carry_out: Callable[[Actor, Any, str], object]
    counted: Mapping[str, str] = field(default_factory=dict)
    """Actions of audit events that are this, each with a key of `after` that is true, or ""."""
    objects: Callable[[Any], set[UUID]] = _itself
    """All that goes with a row: a host that is forgotten takes its VMs along."""
    tenant: Callable[[Any], Tenant | None] = lambda row: row.tenant
    """Whose business it is."""
    option_good: Callable[[str], bool] = _no_option
    also: Callable[[User, Any], bool] = lambda _user, _row: True
    """What both people must be besides."""


_kinds: dict[str, Kind] = {}


def kind_register(*registered: Kind) -> None:
    """Once, when the app is ready."""
    _kinds.update({kind.name: kind for kind in registered})


def kind_named(name: str) -> Kind | None:
    return _kinds.get(name)


def kinds() -> list[Kind]:
    return list(_kinds.values())


def may(kind: Kind, user: User, row: Any, *, held: Holdings | None = None) -> bool:
    """Whether this person may do it to this row, as the database has it now."""
    if not user.is_active:
        return False
    held = holdings_load(user) if held is None else held
    here = (
        held.along(row.line())
        if isinstance(row, Tenant)
        else held.along(_line(row), _part(row, "site_of_reach"), _part(row, "vm_of_reach"))
    ).here
    return here.issuperset(kind.permissions) and kind.also(user, row)


def _line(row: Any) -> list[UUID]:
    return row.tenant.line() if row.tenant else []


def _part(row: Any, name: str) -> UUID | None:
    found: UUID | None = getattr(row, name, None)
    return found
