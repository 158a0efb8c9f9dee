"""The history of how busy things are: written, thinned out with age, and read as series.

One row a minute for each host and VM, kept for a day; means of 15 minutes of them, kept for
30 days. Every write may be repeated: a row is found again by its thing, span and time.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import connection, models
from django.db.models import Avg, Func, Max, Min, Q
from django.utils import timezone

from agent.protocol import Usage
from hypervisors.models import HostUsage, Hypervisor
from hypervisors.models.usage import FIGURES, MINUTE, QUARTER, UsageQuerySet, UsageSample

MINUTES_KEPT = timedelta(hours=24)
QUARTERS_KEPT = timedelta(days=30)
_QUARTER = timedelta(seconds=QUARTER)
_SETTLED = timedelta(minutes=2)
"""Spans that ended so long ago get no values any more."""
_MOST_WORDS = 30
"""Words of an agent that count towards one minute; more change nothing."""
_BATCH = 5_000
_MOST_STEPS = 200


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One word of an agent about one thing."""

    tenant_id: UUID
    subject_id: UUID
    figures: dict[str, float | None]


def host_usage_record(host: Hypervisor, usage: Usage) -> None:
    """Add the host's word to this minute."""
    memory = host.facts.get("memory_mib")
    disk = host.facts.get("disk_total")
    figures: dict[str, float | None] = {
        "cpu_percent": usage.cpu_percent,
        "memory_used_mib": at_most(usage.memory_used_mib, memory),
        "disk_used": at_most(usage.disk_used, disk),
        "disk_read": usage.disk_read,
        "disk_write": usage.disk_write,
        "net_in": usage.net_in,
        "net_out": usage.net_out,
    }
    samples_add(HostUsage, [Sample(tenant_id=host.tenant_id, subject_id=host.id, figures=figures)])


def at_most(value: float | None, most: Any) -> float | None:
    """A thing never uses more than there is of it, whatever its agent says."""
    if value is None or not most:
        return value
    return min(value, float(most))


def samples_add(model: type[UsageSample], samples: Sequence[Sample]) -> None:
    """Add each to the mean of its thing's current minute. One statement."""
    if not samples:
        return
    table = connection.ops.quote_name(model._meta.db_table)
    columns = ("tenant_id", model.SUBJECT, "at", "span_s", "count", *FIGURES)
    row = f"({', '.join(['%s'] * len(columns))})"
    means = ", ".join(
        f"{name} = COALESCE((old.{name} * old.count + EXCLUDED.{name}) / (old.count + 1), "
        f"EXCLUDED.{name}, old.{name})"
        for name in FIGURES
    )
    minute = floor(timezone.now(), MINUTE)
    values: list[Any] = []
    # In one order, so that two writers never wait for each other.
    for sample in sorted(samples, key=lambda one: one.subject_id):
        values += [sample.tenant_id, sample.subject_id, minute, MINUTE, 1]
        values += [sample.figures.get(name) for name in FIGURES]
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {table} AS old ({', '.join(columns)}) "  # noqa: S608 - our own names
            f"VALUES {', '.join([row] * len(samples))} "
            f"ON CONFLICT ({model.SUBJECT}, span_s, at) DO UPDATE "
            f"SET count = old.count + 1, {means} WHERE old.count < {_MOST_WORDS}",
            values,
        )


# ------------------------------------------------------------------ growing old


def samples_thin_out(model: type[UsageSample]) -> int:
    """Make quarters of minutes that are over, then delete what is too old. Answers how many
    rows were deleted.

    Each step is whole by itself and harmless when repeated. Minutes are deleted only after
    their quarter was made, however long nobody came to do it.
    """
    now = timezone.now()
    rows = _rows(model)
    made_until = _make_quarters(model, before=now - _SETTLED)
    deleted = _delete(rows.filter(span_s=MINUTE, at__lt=min(now - MINUTES_KEPT, made_until)))
    return deleted + _delete(rows.filter(span_s=QUARTER, at__lt=now - QUARTERS_KEPT))


def _rows(model: type[UsageSample]) -> "models.QuerySet[UsageSample]":
    return model._default_manager.all()


def _make_quarters(model: type[UsageSample], *, before: datetime) -> datetime:
    """Answers the time up to which every minute is part of a quarter."""
    rows = _rows(model)
    done = datetime.min.replace(tzinfo=UTC)
    last = rows.filter(span_s=QUARTER).aggregate(last=Max("at"))["last"]
    if last is not None:
        done = last + _QUARTER
    for _ in range(_MOST_STEPS):
        first = rows.filter(span_s=MINUTE, at__gte=done).aggregate(first=Min("at"))["first"]
        if first is None:
            break
        quarter = floor(first, QUARTER)
        if quarter + _QUARTER > before:
            break
        _make_quarter(model, quarter)
        done = quarter + _QUARTER
    return done


def _make_quarter(model: type[UsageSample], quarter: datetime) -> None:
    """One statement: all things have this quarter, or none."""
    table = connection.ops.quote_name(model._meta.db_table)
    means = ", ".join(f"avg({name})" for name in FIGURES)
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {table} (tenant_id, {model.SUBJECT}, at, span_s, count, "  # noqa: S608
            f"{', '.join(FIGURES)}) SELECT tenant_id, {model.SUBJECT}, %s, {QUARTER}, count(*), "
            f"{means} FROM {table} WHERE span_s = {MINUTE} AND at >= %s AND at < %s "
            f"GROUP BY tenant_id, {model.SUBJECT} "
            f"ON CONFLICT ({model.SUBJECT}, span_s, at) DO NOTHING",
            [quarter, quarter, quarter + _QUARTER],
        )


def _delete(old: "models.QuerySet[UsageSample]") -> int:
    """In batches, each a transaction of its own: no long lock, and a crash loses nothing."""
    deleted = 0
    for _ in range(_MOST_STEPS):
        batch = old.order_by("at").values("pk")[:_BATCH]
        count, _ = old.model._default_manager.filter(pk__in=batch).delete()
        deleted += count
        if count < _BATCH:
            break
    return deleted


# ------------------------------------------------------------------ read as series


@dataclass(frozen=True, kw_only=True)
class Range:
    """How far back a chart looks, and how long each of its points is."""

    length: timedelta
    step_s: int
    span_s: int


RANGES = {
    "1h": Range(length=timedelta(hours=1), step_s=60, span_s=MINUTE),
    "24h": Range(length=timedelta(hours=24), step_s=300, span_s=MINUTE),
    "7d": Range(length=timedelta(days=7), step_s=900, span_s=QUARTER),
    "30d": Range(length=timedelta(days=30), step_s=3600, span_s=QUARTER),
}


@dataclass(frozen=True, kw_only=True)
class Series:
    """Figures at even steps. None where nothing was heard: a gap is a gap."""

    range: str
    step_s: int
    times: list[int]
    """Beginnings of the steps, seconds since the epoch."""
    figures: dict[str, list[float | None]]

    @property
    def empty(self) -> bool:
        return all(value is None for value in self.figures["cpu_percent"])


def usage_series(samples: "UsageQuerySet[Any]", range_name: str) -> Series:
    """The series of one thing, whose samples (in the reader's scope) are given."""
    chosen = RANGES[range_name]
    now = timezone.now()
    begin = floor(now - chosen.length, chosen.step_s) + timedelta(seconds=chosen.step_s)
    wanted = _recent(samples, begin, chosen.span_s)
    figures = {name: Avg(name) for name in FIGURES}
    found: dict[int, dict[str, float | None]] = {
        int(at.timestamp()): dict(zip(FIGURES, values, strict=True))
        for at, *values in wanted.annotate(step=_step(chosen.step_s))
        .values("step")
        .annotate(**figures)
        .values_list("step", *FIGURES)
    }
    times = list(range(int(begin.timestamp()), int(now.timestamp()) + 1, chosen.step_s))
    return Series(
        range=range_name,
        step_s=chosen.step_s,
        times=times,
        figures={name: [_round(found.get(at, {}).get(name)) for at in times] for name in FIGURES},
    )


def usage_sparks(
    samples: "UsageQuerySet[Any]", subject_ids: Iterable[Any]
) -> dict[Any, dict[str, list[float | None]]]:
    """The last 24 hours of many things in one query: CPU and memory in steps of 15 minutes,
    by thing. Things of which nothing was heard are left out."""
    ids = list(subject_ids)
    if not ids:
        return {}
    subject = samples.model.SUBJECT
    now = timezone.now()
    begin = floor(now - timedelta(hours=24), QUARTER) + _QUARTER
    size = int((floor(now, QUARTER) - begin) / _QUARTER) + 1
    figures = ("cpu_percent", "memory_used_mib")
    rows = (
        _recent(samples.of(ids), begin, QUARTER)
        .annotate(step=_step(QUARTER))
        .values(subject, "step")
        .annotate(**{name: Avg(name) for name in figures})
    )
    sparks: dict[Any, dict[str, list[float | None]]] = {}
    for row in rows:
        spark = sparks.setdefault(row[subject], {name: [None] * size for name in figures})
        place = int((row["step"] - begin) / _QUARTER)
        if 0 <= place < size:
            for name in figures:
                spark[name][place] = _round(row[name])
    return sparks


def _recent(samples: "UsageQuerySet[Any]", begin: datetime, span_s: int) -> "UsageQuerySet[Any]":
    """Samples since `begin`. The youngest quarters are not made yet: their minutes stand in."""
    wanted = Q(span_s=span_s)
    if span_s == QUARTER:
        wanted |= Q(span_s=MINUTE, at__gte=timezone.now() - 3 * _QUARTER)
    return samples.filter(wanted, at__gte=begin).order_by()


def _step(seconds: int) -> Func:
    return Func(
        models.Value(f"{seconds} seconds"),
        models.F("at"),
        function="date_bin",
        template="date_bin(%(expressions)s, TIMESTAMPTZ '1970-01-01 00:00:00+00')",
        arg_joiner="::interval, ",
        output_field=models.DateTimeField(),
    )


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 1)


def floor(at: datetime, seconds: int) -> datetime:
    """The beginning of the span of so many seconds that `at` is in."""
    return datetime.fromtimestamp(int(at.timestamp()) // seconds * seconds, tz=UTC)
