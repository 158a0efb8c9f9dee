"""`script/bench audit`: what the chain costs, and whether every tampering is found."""

import argparse
from collections.abc import Mapping

from tests.bench.figures import Figure, at_most, emit, median, plain, say
from tests.bench.walls import said_by, services, worker

NAME = "audit"
AIM_COST_MS = 0.3
_WORKER = "audit_worker"
SHOWN = 20


def run(arguments: list[str]) -> int:
    """The figures, one line each. Returns 0 when every aim was met, else 1."""
    options = _options(arguments)
    figures: list[Figure] = []
    with services() as env:
        said_by(worker(env, "migrate", module=_WORKER))
        if options.only in ("all", "cost"):
            figures += _cost(env, options)
        if options.only in ("all", "tampering"):
            figures += _tampering(env, options)
    return 0 if all(figure.ok for figure in figures) else 1


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="script/bench audit", description=__doc__)
    parser.add_argument("--only", choices=["all", "cost", "tampering"], default="all")
    parser.add_argument("--calls", type=int, default=4000, help="with the chain, and without")
    parser.add_argument("--events", type=int, default=40, help="in the log that is tampered with")
    parser.add_argument("--tamperings", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args(arguments)


def _cost(env: Mapping[str, str], options: argparse.Namespace) -> list[Figure]:
    say(f"{options.calls} renamings of a site with the chain, and as many without")
    said = said_by(worker(env, "cost", str(options.calls), module=_WORKER))
    more = median([one - other for one, other in zip(said["with"], said["without"], strict=True)])
    call, bare = median(said["with"]), median(said["without"])
    return [
        emit(plain(NAME, "audited-call", call, "ms", peer=bare)),
        emit(at_most(NAME, "cost-per-event", more, "ms", aim=AIM_COST_MS)),
        emit(plain(NAME, "writers-at-once", said["at_once"], "events/s", peer=said["alone"])),
        emit(plain(NAME, "verified", said["verified"], "events/s")),
    ]


def _tampering(env: Mapping[str, str], options: argparse.Namespace) -> list[Figure]:
    count = options.tamperings
    say(f"{count} tamperings with a log of {options.events} events")
    wish = (str(options.events), str(count), str(options.seed))
    said = said_by(worker(env, "tampering", *wish, module=_WORKER))
    for line in said["missed"][:SHOWN]:
        say(f"  not found: {line}")
    say(f"  ways: {said['ways']}; found as {said['kinds']}")
    missed = len(said["missed"])
    return [
        emit(plain(NAME, "tamperings", count, "tamperings")),
        emit(at_most(NAME, "tamperings-not-found", missed, "tamperings", aim=0)),
    ]
