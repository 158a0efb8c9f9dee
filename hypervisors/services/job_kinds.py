"""The registry by which higher layers bring their job kinds.

`vms` registers `vm.create` and the like in its AppConfig.ready(); nothing here knows them.
"""

from collections.abc import Callable
from dataclasses import dataclass

from agent.protocol import JobArguments, JobFinished
from hypervisors.models import Job


@dataclass(frozen=True, kw_only=True)
class JobKind:
    """How one kind of job is put into words for the host, and what its end means.

    `build` makes the typed arguments when the job is sent: secrets come from the rows
    they are sealed in, never from `Job.arguments`. It raises JobObsoleteError when the
    job has nothing left to act on. `on_end` runs in the transaction that ends the job,
    whatever the end; `report` is None where the agent had no word in it.
    """

    name: str
    label: str
    """For people: "Create VM"."""
    build: Callable[[Job], JobArguments]
    on_end: Callable[[Job, JobFinished | None], None]


class JobObsoleteError(Exception):
    """What the job was about is gone."""


_kinds: dict[str, JobKind] = {}


def job_kind_register(kind: JobKind) -> None:
    """Raises ValueError for a name that is taken."""
    if kind.name in _kinds:
        raise ValueError(f"job kind {kind.name} is registered twice")
    _kinds[kind.name] = kind


def job_kind(name: str) -> JobKind:
    """Raises KeyError."""
    return _kinds[name]


def job_kind_labels() -> dict[str, str]:
    """Name to label, of every registered kind."""
    return {name: kind.label for name, kind in sorted(_kinds.items())}
