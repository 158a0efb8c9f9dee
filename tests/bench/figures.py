"""What a bench says: one JSON line for each figure."""

import json
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Figure:
    """`ok` is False only where there is an aim and it was missed. `peer` is what the value
    stands beside: the floor's, where one was measured."""

    bench: str
    name: str
    value: float
    unit: str
    aim: float | None = None
    ok: bool = True
    peer: float | None = None


def at_most(
    bench: str, name: str, value: float, unit: str, *, aim: float, peer: float | None = None
) -> Figure:
    """A figure whose aim is an upper bound."""
    return Figure(bench, name, round(value, 3), unit, aim, value <= aim, _rounded(peer))


def plain(bench: str, name: str, value: float, unit: str, *, peer: float | None = None) -> Figure:
    """A figure without an aim."""
    return Figure(bench, name, round(value, 3), unit, peer=_rounded(peer))


def emit(figure: Figure) -> Figure:
    """Print the figure's line to standard output."""
    sys.stdout.write(json.dumps(asdict(figure)) + "\n")
    sys.stdout.flush()
    return figure


def say(text: str) -> None:
    """A line for the person who waits; standard output is for figures alone."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
