"""The processes of `script/bench walls` that are a portal: `python -m tests.bench.walls_worker`."""

import contextlib
import json
import logging
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import django

django.setup()

from django.core.management import call_command  # noqa: E402
from django.db import connection, connections  # noqa: E402
from django.test import Client  # noqa: E402
from django.test.utils import CaptureQueriesContext, setup_test_environment  # noqa: E402

from tenants.database.base import DatabaseWrapper  # noqa: E402
from tenants.database.owner import as_owner  # noqa: E402
from tenants.scope import NOTHING, enter, scope_of, system_scope  # noqa: E402
from tests.bench.fleet import fleet_make, statistics_gather  # noqa: E402
from tests.policy.matrix import no_first_wall, run  # noqa: E402
from tests.policy.worlds import GIVEN, Caller, Scene, World, scene_make  # noqa: E402


def migrate() -> None:
    call_command("migrate", interactive=False, verbosity=0)


def scene(path: str) -> None:
    """Make the rows, and write down who may ask for what."""
    made = scene_make()
    text = {
        "worlds": {name: asdict(world) for name, world in made.worlds.items()},
        "callers": [
            {**asdict(one), "sees": sorted(one.sees), "behind": sorted(one.behind)}
            for one in made.callers
        ],
        "given": sorted(GIVEN),
    }
    Path(path).write_text(json.dumps(text))


def _read(path: str) -> Scene:
    """The scene that another process made, and whose digits there are: a leak is only seen of
    those that are known to have been given."""
    known = json.loads(Path(path).read_text())
    GIVEN.update(known["given"])
    return Scene(
        worlds={name: World(**world) for name, world in known["worlds"].items()},
        callers=[
            Caller(**{**one, **{name: frozenset(one[name]) for name in ("sees", "behind")}})
            for one in known["callers"]
        ],
    )


def schema(path: str, share: str, sample: str, seed: str, examples: str) -> dict[str, Any]:
    """One share of the API's description, tried as everybody; what was found."""
    from tests.policy import schema as description

    made = _read(path)
    setup_test_environment()
    number, count = map(int, share.split("/"))
    found = description.run(
        made, examples=int(examples), seed=int(seed), part=float(sample), share=(number, count)
    )
    return {name: value for name, value in asdict(found).items() if name != "kinds"}


def sockets(path: str, walls: str) -> dict[str, Any]:
    """Every message of every socket; the tally."""
    from tests.policy import sockets as matrix_of_sockets

    made = _read(path)
    if walls == "second":
        made.callers = [replace(one, sees=one.sees | one.behind) for one in made.callers]
    hosts = tuple(relation for relation in made.worlds if relation != "nobody")
    with no_first_wall() if walls == "second" else contextlib.nullcontext():
        tally = matrix_of_sockets.run(made, callers=made.callers, hosts=hosts)
    return {**vars(tally), "statuses": dict(tally.statuses)}


def matrix(path: str, walls: str, share: str, sample: str, seed: str) -> dict[str, Any]:
    """One share of the matrix; the tally."""
    made = _read(path)
    setup_test_environment()
    number, count = map(int, share.split("/"))
    with no_first_wall() if walls == "second" else contextlib.nullcontext():
        tally = run(
            made,
            share=(number, count),
            sample=float(sample),
            seed=int(seed),
            coarse=walls == "second",
        )
    return {**vars(tally), "statuses": dict(tally.statuses)}


def cost(tenants: str, vms: str, rounds: str) -> dict[str, Any]:
    """Milliseconds of the VM list with both walls and without any, turn by turn."""
    logging.disable(logging.CRITICAL)
    user = fleet_make(tenants=int(tenants), vms=int(vms))
    with as_owner():
        statistics_gather()
    client = Client(SERVER_NAME="127.0.0.1")
    client.force_login(user)
    walled = connections["default"]
    # A superuser passes PostgreSQL's policies.
    open_to_all = DatabaseWrapper({**walled.settings_dict, "USER": "postgres"}, "default")

    def page() -> None:
        answer = client.get("/vms/")
        if answer.status_code != 200 or answer.content.count(b"/vms/vm-") < 50:
            raise RuntimeError(f"the list is not there: {answer.status_code}")

    def without(work: Callable[[], Any]) -> Any:
        from tenants import middleware

        connections["default"] = open_to_all
        middleware.scope_of = lambda _user: NOTHING
        try:
            with no_first_wall():
                return work()
        finally:
            connections["default"] = walled
            middleware.scope_of = scope_of

    took: dict[str, Any] = {"with": [], "without": []}
    for number in range(int(rounds) + 5):
        pair = _ms(page), without(lambda: _ms(page))
        if number >= 5:
            took["with"].append(pair[0])
            took["without"].append(pair[1])
    took["queries"] = _queries(page)
    took["queries_without"] = without(lambda: _queries(page))
    open_to_all.close()
    return took


def _ms(work: Callable[[], None]) -> float:
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1000


def _queries(work: Callable[[], None]) -> int:
    with CaptureQueriesContext(connection) as captured:
        work()
    return len(captured)


if __name__ == "__main__":
    enter(system_scope("the bench's own eyes"))
    works: dict[str, Any] = {
        "migrate": migrate, "scene": scene, "matrix": matrix, "schema": schema, "cost": cost,
        "sockets": sockets,
    }  # fmt: skip
    work = works[sys.argv[1]]
    json.dump(work(*sys.argv[2:]), sys.stdout)
