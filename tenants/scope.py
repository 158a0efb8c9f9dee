"""Whose rows a piece of work may see: what the second wall, in the database, is told.

Work begins with `NOTHING`: it sees no tenant's rows and writes none. A request, a socket, a task
or a command enters a scope, and tenants/database sets it for each of its transactions.

    with scope_of(user): ...                   # what this person may see
    with scope_of(user, token): ...            # and what the token leaves of it
    with tenant_scope([tenant.id]): ...        # one tenant's own work, such as its hosts'
    with system_scope("why"): ...              # everything: say why
    with sign_in_scope(): ...                  # accounts alone: who is at the door?

Scopes nest, and each `with` gives back what was before. They are kept in a context variable:
`sync_to_async` and new asyncio tasks take them along, new threads begin with nothing.
"""

from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from contextlib import ContextDecorator
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import wraps
from typing import TYPE_CHECKING, Any, Literal, TypeVar
from uuid import UUID

if TYPE_CHECKING:
    from django.contrib.auth.models import AnonymousUser

    from tenants.models import ApiToken, User
    from tenants.models.holdings import Holdings, Limit

T = TypeVar("T")

SETTINGS = ("basalt.scope", "basalt.tenants", "basalt.above", "basalt.person")
"""PostgreSQL's settings that the policies read, in the order of `Scope.settings`."""


@dataclass(frozen=True, eq=False)
class Scope(ContextDecorator):
    """Made by the functions below. `above` are tenants over those of `tenants`: their names,
    roles and images may be read, nothing else of theirs."""

    kind: Literal["", "tenants", "sign-in", "system"]
    tenants: frozenset[UUID] = frozenset()
    above: frozenset[UUID] = frozenset()
    person: UUID | None = None
    reason: str = ""
    name: str = ""
    """Of the set of `tenants`, where the database knows it by one (see TenantSet)."""
    holdings: "Holdings | None" = field(default=None, repr=False)
    """What gives and takes access to `person`, as it was when the scope was made."""
    limits: "tuple[Limit, ...]" = field(default=(), repr=False)
    """What the token of the API that `person` works with leaves of it."""
    settings: tuple[str, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        values = (
            self.kind,
            self.name or _as_array(self.tenants),
            _as_array(self.above),
            str(self.person or ""),
        )
        object.__setattr__(self, "settings", values)

    def __enter__(self) -> "Scope":
        _entered.set((*_entered.get(), self))
        return self

    def __exit__(self, *_error: object) -> None:
        _entered.set(_entered.get()[:-1])

    def including(self, tenant_id: UUID) -> "Scope":
        """This scope and a tenant that was made in it a moment ago."""
        if self.kind != "tenants":
            return self
        return Scope(
            kind="tenants",
            tenants=self.tenants | {tenant_id},
            above=self.above,
            person=self.person,
            reason=self.reason,
            holdings=self.holdings,
            limits=self.limits,
        )


def _as_array(ids: frozenset[UUID]) -> str:
    # In PostgreSQL's words, so that one cast reads it.
    return "{" + ",".join(sorted(str(one) for one in ids)) + "}" if ids else ""


NOTHING = Scope(kind="")
"""No tenant's rows at all."""

_entered: ContextVar[tuple[Scope, ...]] = ContextVar("basalt.scope", default=())


def current() -> Scope:
    """The innermost scope that was entered, or NOTHING."""
    entered = _entered.get()
    return entered[-1] if entered else NOTHING


def enter(scope: Scope) -> None:
    """Take the place of the innermost scope until its `with` ends. For where it becomes known
    half-way who is asking, as in the API's authentication."""
    _entered.set((*_entered.get()[:-1], scope))


def limits_on(person: UUID) -> "tuple[Limit, ...]":
    """What narrows this person here: the limits of the token that the work at hand came with, in
    whatever scopes it has been wrapped since."""
    for scope in reversed(_entered.get()):
        if scope.limits and scope.person == person:
            return scope.limits
    return ()


def system_scope(reason: str) -> Scope:
    """Everything, of all tenants. For the portal's own work; `reason` says to readers why."""
    if not reason:
        raise ValueError("a system scope needs a reason")
    return Scope(kind="system", reason=reason)


def sign_in_scope() -> Scope:
    """Accounts, memberships and what signing in is about, of everybody; nothing that a tenant
    owns. For finding out who somebody is."""
    return Scope(kind="sign-in")


def scope_of(user: "User | AnonymousUser", token: "ApiToken | None" = None) -> Scope:
    """What this person may see at all, by `reach_tenants`; with a token of the API, what it leaves
    of that. Nothing for who is not signed in, or whose account is closed. One query or two."""
    from tenants.services.scopes import person_scope

    return person_scope(user, token)


def tenant_scope(tenant_ids: Iterable[UUID]) -> Scope:
    """These tenants alone, without those below them. One query."""
    from tenants.services.scopes import tenants_scope

    return tenants_scope(tenant_ids)


# ------------------------------------------------------------------ what outlives a block


def bound(call: Callable[..., T]) -> Callable[..., T]:
    """`call` in the scope of now, whenever and wherever it will run."""
    scope = current()

    @wraps(call)
    def in_scope(*args: Any, **options: Any) -> T:
        with scope:
            return call(*args, **options)

    return in_scope


def bound_iterator(pieces: Iterable[T]) -> Iterator[T]:
    """`pieces`, each made in the scope of now. For answers that are sent as they are made."""
    return _pieces(iter(pieces), current())


def bound_async_iterator(pieces: AsyncIterable[T]) -> AsyncIterator[T]:
    """The same for asynchronous pieces."""
    return _async_pieces(aiter(pieces), current())


def _pieces(pieces: Iterator[T], scope: Scope) -> Iterator[T]:
    # Nothing is yielded inside of the block: between pieces, others' work runs here.
    while True:
        with scope:
            try:
                piece = next(pieces)
            except StopIteration:
                return
        yield piece


async def _async_pieces(pieces: AsyncIterator[T], scope: Scope) -> AsyncIterator[T]:
    while True:
        with scope:
            try:
                piece = await anext(pieces)
            except StopAsyncIteration:
                return
        yield piece
