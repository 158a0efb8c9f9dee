"""The process of `script/bench audit` that is a portal: `python -m tests.bench.audit_worker`."""

import json
import logging
import sys
import threading
import time
from collections import Counter
from typing import Any

import django

django.setup()

from django.core.management import call_command  # noqa: E402
from django.db import connection, connections, transaction  # noqa: E402

from tenants.actor import Actor  # noqa: E402
from tenants.database.owner import as_owner  # noqa: E402
from tenants.models import Site  # noqa: E402
from tenants.scope import enter, system_scope  # noqa: E402
from tenants.services.audit_checkpoints import checkpoints_make  # noqa: E402
from tenants.services.audit_verify import audit_verify  # noqa: E402
from tenants.services.tenants import site_change  # noqa: E402
from tests.audit.tampering import doors_open, tamper  # noqa: E402
from tests.factories import MembershipFactory, MspFactory, SiteFactory  # noqa: E402

BLOCK = 40
"""Calls with the chain, then as many without: switching forgets PostgreSQL's plans, so that the
first few of each are not counted."""
NOT_COUNTED = 8
WRITERS = 4
CHAIN = ("basalt_chain", "basalt_queue")


def migrate() -> None:
    call_command("migrate", interactive=False, verbosity=0)


def cost(calls: str) -> dict[str, Any]:
    """Milliseconds of the same service call with the chain and without, turn by turn."""
    logging.disable(logging.CRITICAL)
    msp = MspFactory()
    actor = Actor(
        user=MembershipFactory(tenant=msp, role="msp-owner").user,
        ip="192.0.2.1",
        user_agent="Firefox 140 on Linux",
        session="0a1b2c3d",
    )
    sites = [SiteFactory(tenant=msp) for _ in range(WRITERS)]
    took: dict[str, Any] = {"with": [], "without": []}
    for _ in range(max(1, int(calls) // (BLOCK - NOT_COUNTED))):
        took["with"] += _block(actor, sites[0])
        _chain("DISABLE")
        took["without"] += _block(actor, sites[0])
        _chain("ENABLE")
    took["alone"] = _per_second(actor, sites[:1])
    took["at_once"] = _per_second(actor, sites)
    with as_owner(), connection.cursor() as cursor:
        # Those that were written without the chain.
        cursor.execute("SET basalt.audit_door = 'prune'")
        cursor.execute(
            "DELETE FROM tenants_auditevent e WHERE NOT EXISTS "
            "(SELECT 1 FROM tenants_auditlink link WHERE link.event_id = e.id)"
        )
    began = time.perf_counter()
    [report] = audit_verify()
    if report.problem is not None:
        raise RuntimeError(report.problem.sentence)
    took["verified"] = report.events / (time.perf_counter() - began)
    return took


def _block(actor: Actor, site: Site) -> list[float]:
    found = []
    for number in range(BLOCK):
        began = time.perf_counter()
        site_change(actor=actor, site=site, address=f"{time.time_ns()}")
        if number >= NOT_COUNTED:
            found.append((time.perf_counter() - began) * 1000)
    return found


def _chain(word: str) -> None:
    with as_owner(), connection.cursor() as cursor:
        for name in CHAIN:
            cursor.execute(f"ALTER TABLE tenants_auditevent {word} TRIGGER {name}")


def _per_second(actor: Actor, sites: list[Site], *, each: int = 300) -> float:
    """Events of one chain in a second, by a writer for each of `sites`."""

    def write(site: Site) -> None:
        try:
            with system_scope("the bench's own writers"):
                for _ in range(each):
                    site_change(actor=actor, site=site, address=f"{time.time_ns()}")
        finally:
            connections.close_all()

    threads = [threading.Thread(target=write, args=(site,)) for site in sites]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return each * len(sites) / (time.perf_counter() - began)


def tampering(events: str, count: str, seed: str) -> dict[str, Any]:
    """Each is done, looked for, and taken back."""
    logging.disable(logging.CRITICAL)
    call_command("flush", interactive=False, verbosity=0)
    msp = MspFactory()
    site = SiteFactory(tenant=msp)
    actor = Actor(user=MembershipFactory(tenant=msp, role="msp-owner").user, ip="192.0.2.1")
    for number in range(int(events)):
        site_change(actor=actor, site=site, address=f"place {number}")
        if number == int(events) // 2:
            checkpoints_make()
    checkpoints_make()
    ways: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    missed = []
    with doors_open(), as_owner():
        for number in range(int(count)):
            with transaction.atomic():
                what = tamper(seed=int(seed) * 1_000_000 + number)
                [problem, *_] = [report.problem for report in audit_verify() if report.problem] or [
                    None
                ]
                transaction.set_rollback(True)
            ways[what.split(" ")[0]] += 1
            if problem is None:
                missed.append(what)
            else:
                kinds[problem.kind] += 1
    return {"missed": missed, "ways": dict(ways), "kinds": dict(kinds)}


if __name__ == "__main__":
    enter(system_scope("the bench's own eyes"))
    work: Any = {"migrate": migrate, "cost": cost, "tampering": tampering}[sys.argv[1]]
    json.dump(work(*sys.argv[2:]), sys.stdout)
