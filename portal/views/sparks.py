"""Sparklines: the last 24 hours as one small line, drawn here, with words for who can't see it."""

from collections.abc import Iterator, Sequence

from django.utils.html import format_html
from django.utils.safestring import SafeString

WIDTH, HEIGHT = 96, 22
_EDGE = 1.5
"""Room for the line's own thickness."""
_FRESH = 2
"""A value is "now" if it is among so many last ones."""

Values = Sequence[float | None]


def spark(name: str, values: Values | None, whole: float | None, *, css: str) -> SafeString:
    """`values` in even steps, None where nothing was heard, as shares of `whole`. Nothing is
    drawn where nothing is known."""
    if not values or not whole:
        return SafeString("")
    shares = [None if value is None else min(max(value / whole, 0.0), 1.0) for value in values]
    known = [share for share in shares if share is not None]
    if not known:
        return SafeString("")
    return format_html(
        '<svg class="spark {}" role="img" aria-label="{}" width="{}" height="{}" '
        'viewBox="0 0 {} {}" preserveAspectRatio="none"><path class="area" d="{}"/>'
        '<path class="line" d="{}"/></svg>',
        css,
        _words(name, shares, known),
        WIDTH,
        HEIGHT,
        WIDTH,
        HEIGHT,
        " ".join(_area(shares)),
        " ".join(_line(shares)),
    )


def _words(name: str, shares: Values, known: Sequence[float]) -> str:
    now = next((share for share in reversed(shares[-_FRESH:]) if share is not None), None)
    said = [
        f"now {now:.0%}" if now is not None else "no word at present",
        f"{sum(known) / len(known):.0%} on average",
        f"{max(known):.0%} at most",
    ]
    return f"{name} in the last 24 hours: {', '.join(said)}".replace("%", " %")


def _runs(shares: Values) -> Iterator[list[tuple[float, float]]]:
    """Points that hang together: between them is a gap."""
    step = WIDTH / max(len(shares) - 1, 1)
    run: list[tuple[float, float]] = []
    for number, share in enumerate(shares):
        if share is not None:
            run.append((number * step, HEIGHT - _EDGE - share * (HEIGHT - 2 * _EDGE)))
        elif run:
            yield run
            run = []
    if run:
        yield run


def _line(shares: Values) -> Iterator[str]:
    for run in _runs(shares):
        points = " ".join(f"{x:.1f} {y:.1f}" for x, y in run)
        # A value all alone is a dot: a line of no length with round ends.
        yield f"M{points}" if len(run) > 1 else f"M{points}h.1"


def _area(shares: Values) -> Iterator[str]:
    for run in _runs(shares):
        points = " ".join(f"{x:.1f} {y:.1f}" for x, y in run)
        yield f"M{run[0][0]:.1f} {HEIGHT}L{points} {run[-1][0]:.1f} {HEIGHT}Z"
