"""The whole of the API's own description, tried as everybody: Schemathesis makes the requests,
right ones and wrong ones, and where a request names a thing it is often another tenant's.

An answer must be one that the description knows, hold nothing of a tenant that the caller does
not reach, and change no row of one.
"""

import io
import logging
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import hypothesis
import schemathesis
from django.core.cache import cache
from django.core.signals import request_finished, request_started
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections, transaction
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.renderers import OpenApiJsonRenderer
from hypothesis import HealthCheck, Phase, strategies
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.policy.matrix import _IDS, _SEGMENTS, _digest, _hidden_from, said_too_much
from tests.policy.worlds import Caller, Scene, World

CONFORM = [status_code_conformance, content_type_conformance, response_schema_conformance]
_WRITING = frozenset({"post", "put", "patch", "delete"})
NOT_SIGNED_IN = Caller("nobody who signed in", "", "", frozenset())


@dataclass
class Findings:
    """What came of the requests. `problems` says each one in words."""

    requests: int = 0
    operations: int = 0
    accepted: int = 0
    problems: list[str] = field(default_factory=list)
    kinds: set[str] = field(default_factory=set)
    """What was told once already, whoever asked."""


def described() -> Any:
    """The API as it describes itself."""
    text = OpenApiJsonRenderer().render(SchemaGenerator().get_schema(request=None, public=True))
    schema = schemathesis.openapi.from_file(io.BytesIO(text))
    schema.app = get_wsgi_application()
    return schema


def run(
    scene: Scene,
    *,
    examples: int,
    seed: int = 0,
    part: float = 1.0,
    share: tuple[int, int] = (0, 1),
) -> Findings:
    """`examples` requests for each operation, caller and mode; of the operations `part`, chosen by
    chance from `seed`; of those each n-th from the i-th on (`share`)."""
    findings, chance = Findings(), random.Random(seed)
    callers = [*(c for c in scene.callers if " of the " in c.name), NOT_SIGNED_IN]
    before = {caller.sees: _digest(_hidden_from(caller)) for caller in callers}
    # As in Django's own test client: the connection is that of the transaction around it.
    request_started.disconnect(close_old_connections)
    request_finished.disconnect(close_old_connections)
    logging.disable(logging.CRITICAL)
    try:
        for number, operation in enumerate(_operations()):
            if number % share[1] != share[0] or chance.random() >= part:
                continue
            findings.operations += 1
            for caller in callers:
                for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
                    _try(operation, mode, scene, caller, before[caller.sees], examples, findings)
    finally:
        logging.disable(logging.NOTSET)
        request_started.connect(close_old_connections)
        request_finished.connect(close_old_connections)
    return findings


def _operations() -> Iterator[Any]:
    for found in described().get_all_operations():
        yield found.ok()


def _try(
    operation: Any,
    mode: GenerationMode,
    scene: Scene,
    caller: Caller,
    before: Any,
    examples: int,
    findings: Findings,
) -> None:
    worlds = list(scene.worlds.values())

    @hypothesis.seed(findings.operations)
    @hypothesis.settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @hypothesis.given(
        case=operation.as_strategy(generation_mode=mode),
        world=strategies.sampled_from([*worlds, None]),
    )
    def each(case: Any, world: World | None) -> None:
        if world is not None:
            _name_things(case, world)
        findings.requests += 1
        for problem in _asked(case, caller, scene, before, findings):
            what = f"{operation.method.upper()} {operation.path} ({mode.value}): {problem[:60]}"
            if what not in findings.kinds:
                findings.kinds.add(what)
                findings.problems.append(f"{caller.name}: {what}{problem[60:]}")

    try:
        each()
    except hypothesis.errors.Unsatisfiable:
        return  # nothing can be wrong about a request without any input


def _name_things(case: Any, world: World) -> None:
    """The ids of this tenant in all places where ids go."""
    if case.path_parameters:
        kind = _SEGMENTS.get(case.operation.path.split("/")[3], "vm")
        if "join-tokens" in case.operation.path.split("/")[3:4]:
            kind = "join_token"
        case.path_parameters = dict.fromkeys(case.path_parameters, world.ids.get(kind, "x"))
    for part in (case.query, case.body):
        if isinstance(part, dict):
            for name in part.keys() & _IDS.keys():
                part[name] = world.ids[_IDS[name]]


def _asked(
    case: Any, caller: Caller, scene: Scene, before: Any, findings: Findings
) -> Iterator[str]:
    headers = {"Authorization": f"Bearer {caller.token}"} if caller.token else {}
    changed = ""
    cache.clear()
    with transaction.atomic():
        answer = case.call(headers=headers)
        if answer.status_code < 400:
            findings.accepted += 1
            if case.method.lower() in _WRITING:
                after = _digest(_hidden_from(caller))
                changed = "" if after == before else f"rows of others changed: {after}"
        transaction.set_rollback(True)
    text = answer.content.decode(errors="replace")
    if changed:
        yield changed
    if answer.status_code >= 500:
        yield f"answered {answer.status_code} to {_told(case)}: {text[:300]}"
        return
    if not caller.token and answer.status_code < 400:
        yield f"answered {answer.status_code} to nobody"
    sent = f"{case.path_parameters} {case.query} {case.body}"
    words = tuple(w for one in scene.worlds.values() for w in one.words() if w in sent)
    if leak := said_too_much(caller, text, words):
        yield f"answered {answer.status_code} to {_told(case)} and {leak}"
    try:
        case.validate_response(answer, checks=CONFORM)
    except Exception as error:  # noqa: BLE001 - Schemathesis raises a group of its failures
        told = " ".join(str(one) for one in getattr(error, "exceptions", [error]))
        yield f"not as described: {answer.status_code} to {_told(case)}: {told[:600]}"


def _told(case: Any) -> str:
    return f"{case.path_parameters} ?{case.query} {case.body!r}"[:400]
