"""`script/bench walls`: whether anything leaks, asked in every way there is, and what it costs."""

import argparse
import json
import os
import secrets
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from portal.embedded.leftovers import mark
from portal.embedded.services import Postgres, Redis
from tests.bench.figures import Figure, at_most, emit, median, plain, say
from tests.bench.portal import PortalError

NAME = "walls"
ROOT = Path(__file__).resolve().parents[2]
AIM_CALLS = 100_000
AIM_COST_MS = 3.0
SHOWN = 20


def run(arguments: list[str]) -> int:
    """The figures, one line each. Returns 0 when every aim was met, else 1."""
    options = _options(arguments)
    figures: list[Figure] = []
    with services() as env:
        if options.only in ("all", "matrix"):
            figures += _matrix(env, options)
        if options.only in ("all", "schema"):
            figures += _schema(env, options)
        if options.only in ("all", "cost"):
            figures += _cost(env, options)
    return 0 if all(figure.ok for figure in figures) else 1


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="script/bench walls", description=__doc__)
    parser.add_argument("--only", choices=["all", "matrix", "schema", "cost"], default="all")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--sample", type=float, default=1.0, help="part of the matrix (default 1)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--examples", type=int, default=10, help="requests for each operation, caller and mode"
    )
    parser.add_argument("--tenants", type=int, default=300)
    parser.add_argument("--vms", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=40)
    return parser.parse_args(arguments)


@contextmanager
def services() -> Iterator[dict[str, str]]:
    """A PostgreSQL and a Redis of the bench's own, migrated, and the environment that names
    them."""
    with tempfile.TemporaryDirectory(prefix="basalt-bench-") as folder:
        data = Path(folder)
        data.chmod(0o755)
        mark(data)
        postgres, redis = Postgres(data, durable=False), Redis(data, durable=False)
        env = {
            **os.environ,
            "DATABASE_URL": postgres.url,
            "BASALT_OWNER_DATABASE_URL": postgres.owner_url,
            "REDIS_URL": redis.url,
            "BASALT_DATA_DIR": str(data / "portal"),
            "DJANGO_SETTINGS_MODULE": "tests.settings",
            # One for all processes: sessions that one made are good in the others.
            "BASALT_SECRET_KEY": secrets.token_hex(32),
        }
        try:
            postgres.start()
            redis.start()
            yield env
        finally:
            redis.stop()
            postgres.stop()


def _matrix(env: Mapping[str, str], options: argparse.Namespace) -> list[Figure]:
    with tempfile.TemporaryDirectory(prefix="basalt-bench-") as folder:
        scene = Path(folder) / "scene.json"
        said_by(worker(env, "migrate"))
        said_by(worker(env, "scene", str(scene)))
        both = _try_all(env, scene, "both", options)
        second = _try_all(env, scene, "second", options)
        # Last, as it alone leaves something behind: reports of hosts.
        for tally, walls in ((both, "both"), (second, "second")):
            _try_sockets(env, scene, walls, tally)
    calls = both["calls"] + second["calls"]
    return [
        emit(Figure(NAME, "matrix-calls", calls, "calls", AIM_CALLS, calls >= AIM_CALLS)),
        emit(plain(NAME, "matrix-cells", both["cells"] + second["cells"], "cells")),
        emit(at_most(NAME, "leaks", len(both["leaks"]), "leaks", aim=0)),
        emit(at_most(NAME, "leaks-without-first-wall", len(second["leaks"]), "leaks", aim=0)),
        emit(at_most(NAME, "answers-500", len(both["errors"]), "answers", aim=0)),
    ]


def _try_all(
    env: Mapping[str, str], scene: Path, walls: str, options: argparse.Namespace
) -> dict[str, Any]:
    """The tallies of all processes, added up."""
    count = options.processes
    say(f"The matrix, in {count} processes, with {walls} wall{'s' if walls == 'both' else ''}")
    processes = [
        worker(env, "matrix", str(scene), walls, f"{number}/{count}",
                str(options.sample), str(options.seed))
        for number in range(count)
    ]  # fmt: skip
    total: dict[str, Any] = {"calls": 0, "cells": 0, "leaks": [], "errors": []}
    statuses: Counter[str] = Counter()
    for process in processes:
        tally = said_by(process)
        statuses.update(tally.pop("statuses"))
        for name in total:
            total[name] += tally[name]
    for line in [*total["leaks"][:SHOWN], *total["errors"][:SHOWN]]:
        say(f"  {line}")
    say(f"  {total['calls']} calls; answers {dict(sorted(statuses.items()))}")
    return total


def _try_sockets(env: Mapping[str, str], scene: Path, walls: str, tally: dict[str, Any]) -> None:
    """Add what came of the sockets' messages."""
    say(f"The sockets, with {walls} wall{'s' if walls == 'both' else ''}")
    found = said_by(worker(env, "sockets", str(scene), walls))
    if not found["heard"]:
        raise PortalError("Nothing was said over any socket: the bench is at fault.")
    for line in found["leaks"][:SHOWN]:
        say(f"  {line}")
    for name in ("calls", "cells", "leaks"):
        tally[name] += found[name]
    say(f"  {found['calls']} messages; ends {dict(sorted(found['statuses'].items()))}")


def _schema(env: Mapping[str, str], options: argparse.Namespace) -> list[Figure]:
    say(f"The API's description, {options.examples} times each way, as everybody")
    with tempfile.TemporaryDirectory(prefix="basalt-bench-") as folder:
        scene = Path(folder) / "scene.json"
        said_by(worker(env, "migrate"))
        said_by(worker(env, "scene", str(scene)))
        count = options.processes
        processes = [
            worker(env, "schema", str(scene), f"{number}/{count}", str(options.sample),
                   str(options.seed), str(options.examples))
            for number in range(count)
        ]  # fmt: skip
        found = [said_by(process) for process in processes]
    problems = [line for each in found for line in each["problems"]]
    for line in problems[:SHOWN]:
        say(f"  {line}")
    requests = sum(each["requests"] for each in found)
    accepted = sum(each["accepted"] for each in found)
    return [
        emit(plain(NAME, "schema-requests", requests, "requests", peer=accepted)),
        emit(plain(NAME, "schema-operations", sum(e["operations"] for e in found), "operations")),
        emit(at_most(NAME, "schema-problems", len(problems), "problems", aim=0)),
    ]


def _cost(env: Mapping[str, str], options: argparse.Namespace) -> list[Figure]:
    say(f"The list of {options.vms} VMs of {options.tenants} tenants, with and without walls")
    said_by(worker(env, "migrate"))
    size = [str(options.tenants), str(options.vms), str(options.rounds)]
    said = said_by(worker(env, "cost", *size))
    with_walls, without = said["with"], said["without"]
    more = median([one - other for one, other in zip(with_walls, without, strict=True)])
    return [
        emit(plain(NAME, "vm-list", median(with_walls), "ms", peer=median(without))),
        emit(at_most(NAME, "cost-of-both-walls", more, "ms", aim=AIM_COST_MS)),
        emit(plain(NAME, "queries", said["queries"], "queries", peer=said["queries_without"])),
    ]


def worker(
    env: Mapping[str, str], *arguments: str, module: str = "walls_worker"
) -> "subprocess.Popen[str]":
    """A process of the portal's: this one knows nothing of Django."""
    return subprocess.Popen(
        [sys.executable, "-m", f"tests.bench.{module}", *arguments],
        cwd=ROOT,
        env=dict(env),
        stdout=subprocess.PIPE,
        text=True,
    )


def said_by(process: "subprocess.Popen[str]") -> Any:
    """What a worker answers. Raises PortalError where it failed; it has said why."""
    said, _ = process.communicate()
    if process.returncode != 0:
        raise PortalError("A process of the bench failed; its own words are above.")
    return json.loads(said)
