"""Which function does which job."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from agent.protocol import JobArguments

if TYPE_CHECKING:
    from agent.host import Host


class Report(Protocol):
    """Tells a person how far the job is: percent done, and the step as a phrase."""

    def __call__(self, percent: float, step: str) -> None: ...


Handler = Callable[["Host", Any, Report], Awaitable[None]]
Function = TypeVar("Function", bound=Handler)

_handlers: dict[type, Handler] = {}


def handles(kind: type[JobArguments]) -> Callable[[Function], Function]:
    """Register the function for one kind of job. It must be idempotent: a job that was
    cut off is started again from its beginning."""

    def register(function: Function) -> Function:
        if kind in _handlers:
            raise TypeError(f"{kind.__name__} has a handler already")
        _handlers[kind] = function
        return function

    return register


def handler_for(kind: type) -> Handler:
    """Raises KeyError for a kind that no module handles."""
    return _handlers[kind]
