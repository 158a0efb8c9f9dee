"""Every caller by every address by every method by everybody's things, by walking the routers.

An answer holds a leak when it holds digits of a tenant that the caller does not reach, when it
differs from the answer about what never was, or when a row of such a tenant changed.
"""

import contextlib
import itertools
import json
import logging
import random
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.cookies import SimpleCookie
from typing import Any

from django.apps import apps
from django.core.cache import cache
from django.db import connection, transaction
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from tests.factories import SSH_KEY
from tests.policy.worlds import GIVEN, NOBODY, Caller, Scene, World, word

METHODS = ("get", "post", "put", "patch", "delete", "head", "options")
_CODE = re.compile(r"f00d([0-9a-f]{4})")
_PARAMETER = re.compile(r"\(\?P<(\w+)>(?:[^()]|\([^()]*\))*\)|<(?:(\w+):)?(\w+)>")
# Documents about the API, files, and pages of signing in, which no tenant's rows are on.
_LEFT_OUT = re.compile(r"^(api/v1/(schema|docs)/|account/|static/|install$|healthz/)")
_FILLINGS = {"action": "stop", "sha256": "ab" * 32, "format": "json", "key": "x", "uidb36": "x"}
_SEGMENTS = {
    "tenants": "tenant", "sites": "site", "hypervisors": "hypervisor", "networks": "network",
    "images": "image", "vms": "vm", "jobs": "job", "activity": "job", "roles": "role",
    "people": "user", "users": "user", "memberships": "membership", "audit": "audit_event",
    "access-rules": "access_rule", "consents": "consent",
    "identity-providers": "identity_provider", "providers": "identity_provider",
    "invitations": "invitation", "tokens": "api_token", "service-accounts": "service_account",
    "quotas": "quota", "second-person": "second_person",
}  # fmt: skip
_SUM = "SELECT count(*), coalesce(sum(hashtextextended(r::text, 0)), 0)"


@dataclass(frozen=True)
class Call:
    """One way to ask. `template` names the places that a tenant's words go into."""

    template: str
    method: str
    variant: str
    query: tuple[tuple[str, str], ...] = ()
    body: tuple[tuple[str, str], ...] = ()
    """Names of fields to kinds of ids of the tenant at hand."""

    @property
    def name(self) -> str:
        return f"{self.method.upper()} /{self.template} {self.variant}".strip()


@dataclass
class Tally:
    """What came of the calls. `leaks` says each one in words."""

    calls: int = 0
    cells: int = 0
    leaks: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    heard: int = 0
    """What was said over sockets: nothing leaks where nothing is said."""


# ------------------------------------------------------------------ which calls there are


def templates() -> list[tuple[str, Any]]:
    """Every address of the portal with its view."""

    def walk(patterns: list[Any], prefix: str) -> Iterator[tuple[str, Any]]:
        for pattern in patterns:
            address = prefix + str(pattern.pattern).removeprefix("^").removesuffix("$")
            if isinstance(pattern, URLResolver):
                yield from walk(pattern.url_patterns, address)
            elif isinstance(pattern, URLPattern) and not _LEFT_OUT.match(address):
                yield address.replace("\\.", ".").replace("/?", "/"), pattern.callback

    return list(walk(get_resolver().url_patterns, ""))


def calls() -> list[Call]:
    """All of them, in an order that is the same every time."""
    found = []
    for template, view in templates():
        for method in METHODS:
            found.append(Call(template, method, ""))
            if method == "get" and not _PARAMETER.search(template):
                found += [Call(template, method, f"?{n}={v}", ((n, v),)) for n, v in _queries(view)]
            if method in ("post", "put", "patch") and _answers(view, method):
                found += [Call(template, method, variant, (), body) for variant, body in _BODIES]
    return sorted(set(found), key=lambda call: call.name)


def _answers(view: Any, method: str) -> bool:
    """Whether the view has this method at all; one that has not is asked once."""
    actions = getattr(view, "actions", None)
    cls = getattr(view, "view_class", None)
    return method in actions if actions else cls is None or hasattr(cls, method)


_IDS = {
    "tenant": "tenant", "parent": "tenant", "customer": "tenant", "site": "site",
    "hypervisor": "hypervisor", "host": "hypervisor", "image": "image", "network": "network",
    "vm": "vm", "vms": "vm", "id": "vm", "ids": "vm", "user": "user", "role": "role",
    "job": "job", "token": "api_token", "from": "job", "request": "consent",
    "second": "second_person", "row": "vm",
}  # fmt: skip
_BODIES = (
    *((f"with {name}", ((name, kind),)) for name, kind in _IDS.items()),
    ("with all", tuple(_IDS.items())),
)


def _queries(view: Any) -> Iterator[tuple[str, str]]:
    """Names and values of a list's query; a value in braces is a word of the tenant."""
    yield from (("page_size", "500"), ("format", "csv"), ("sort", "-name"), ("ordering", "name"))
    yield from (("q", "{vm}"), ("q", "{customer}"), ("q", "f00d"), ("customer", "{customer}"))
    yield from (("name", "{vm}"), ("from", "{job}"), ("cursor", "bz1mMDBk"), ("page", "2"))
    cls = getattr(view, "cls", None) or getattr(view, "view_class", None)
    filters = getattr(cls, "filterset_class", None) or getattr(cls, "filters_class", None)
    for name in filters.base_filters if filters else ():
        yield name, f"{{{_IDS.get(name, 'vm')}}}"


# ------------------------------------------------------------------ one call


def address(call: Call, world: World) -> str:
    """The template with the tenant's words in its places."""
    segments = call.template.split("/")

    def fill(match: re.Match[str]) -> str:
        name = match[1] or match[3]
        if name in _FILLINGS:
            return _FILLINGS[name]
        if name == "name":
            return world.host if "hosts" in segments else world.vm
        if name in ("customer", "site"):
            return str(getattr(world, name))
        # A place that nobody knows gets the id of a VM, which is not it, but whose is known.
        return world.ids.get(_kind(name, call.template, match.start()), world.ids["vm"])

    return "/" + _PARAMETER.sub(fill, call.template)


def _kind(name: str, template: str, at: int) -> str:
    """Of which kind the id at this place is."""
    before = [part for part in template[:at].split("/") if part]
    if name == "token_id":
        return "join_token" if "join-tokens" in before else "api_token"
    if name in ("version_id", "view_id"):
        return {"version_id": "image_version", "view_id": "saved_view"}[name]
    if name == "account_id":
        return "service_account"
    if name == "rule_id":
        return "access_rule"
    if name.endswith("_id") and name != "object_id":
        return name.removesuffix("_id")
    return _SEGMENTS.get(before[-1], "vm") if before else "vm"


def _body(call: Call, world: World, own: World) -> dict[str, Any]:
    """A right wish about one's own, with the other tenant's ids where the call names them."""
    if not call.body:
        return {}
    right: dict[str, Any] = {
        "name": "new", "hypervisor": own.ids["hypervisor"], "image": own.ids["image"],
        "nics": [{"network": own.ids["network"]}], "ssh_keys": [SSH_KEY],
    }  # fmt: skip
    kinds = {"tenants": ("name",), "sites": ("name",), "vms": tuple(right)}
    wanted = kinds.get(call.template.split("/")[2] if call.template.startswith("api") else "", ())
    body = {name: right[name] for name in wanted}
    for name, kind in call.body:
        body[name] = [{"network": world.ids[kind]}] if name == "nics" else world.ids[kind]
    return body


@dataclass(frozen=True)
class Answer:
    """`sent`: the words of the other tenant in the request. `changed`: what became of rows that
    the caller may not touch; empty when nothing did."""

    status: int
    said: str
    sent: tuple[str, ...]
    changed: str


class Asker:
    """Asks in this process, and takes back whatever a call did."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.own = scene.worlds["own"]
        self.client = Client(raise_request_exception=False)
        self.before = {caller.sees: _digest(_hidden_from(caller)) for caller in scene.callers}

    def ask(self, caller: Caller, call: Call, world: World) -> Answer:
        path = address(call, world)
        api = path.startswith("/api/")
        self.client.cookies = SimpleCookie({} if api else {"sessionid": caller.session})
        options: dict[str, Any] = {}
        if api:
            options["headers"] = {"authorization": f"Bearer {caller.token}"}
        data: Any = {name: _query(value, world) for name, value in call.query}
        if call.method in ("post", "put", "patch"):
            data = _body(call, world, self.own)
            if api or call.method != "post":
                data, options["content_type"] = json.dumps(data), "application/json"
        sent = tuple(one for one in world.words() if one in f"{path} {data}")
        changed = ""
        # Else those that ask often are slowed down, whatever they ask.
        cache.clear()
        with transaction.atomic():
            answer = getattr(self.client, call.method)(path, data, **options)
            content = b"".join(answer) if answer.streaming else answer.content
            said = content.decode(errors="replace") + str(sorted(answer.items()))
            if call.method not in ("get", "head", "options") and answer.status_code < 400:
                after = _digest(_hidden_from(caller))
                changed = "" if after == self.before[caller.sees] else f"{after}"
            transaction.set_rollback(True)
        return Answer(answer.status_code, said, sent, changed)


def _query(value: str, world: World) -> str:
    if not value.startswith("{"):
        return value
    name = value.strip("{}")
    return world.ids.get(name) or str(getattr(world, name))


def _hidden_from(caller: Caller) -> str:
    """A pattern of all digits that are not this caller's."""
    return "|".join(sorted(word(digits) for digits in GIVEN - {NOBODY} - caller.sees))


def _digest(pattern: str) -> tuple[Any, ...]:
    """One number of all rows in which the pattern is found, of every table."""
    tables = [
        table for table in connection.introspection.table_names() if table != "django_session"
    ]
    parts = " UNION ALL ".join(f"{_SUM} FROM {table} r WHERE r::text ~ %s" for table in tables)
    with connection.cursor() as cursor:
        cursor.execute(parts, [pattern] * len(tables))
        return tuple(cursor.fetchall())


# ------------------------------------------------------------------ all calls


@contextlib.contextmanager
def no_first_wall() -> Iterator[None]:
    """`.allowed` of every model lets everything through."""
    classes = {
        cls
        for model in apps.get_models()
        for cls in type(model._default_manager.all()).__mro__
        if "allowed" in cls.__dict__
    }
    kept = {cls: cls.__dict__["allowed"] for cls in classes}
    for cls in classes:
        cls.allowed = lambda self, _user, _permission, *_more, **_options: self.all()
    try:
        yield
    finally:
        for cls, method in kept.items():
            cls.allowed = method


def run(
    scene: Scene,
    *,
    share: tuple[int, int] = (0, 1),
    sample: float = 1.0,
    seed: int = 0,
    coarse: bool = False,
) -> Tally:
    """Try the cells. `share` (i, n): each n-th from the i-th on; `sample`: this part of those,
    by chance from `seed`; `coarse`: count no leak of what only the first wall hides."""
    if coarse:
        scene = Scene(scene.worlds, [replace(c, sees=c.sees | c.behind) for c in scene.callers])
    # A line for each refusal would be all that this does.
    logging.disable(logging.CRITICAL)
    try:
        return _run(scene, share, sample, random.Random(seed))
    finally:
        logging.disable(logging.NOTSET)


def _run(scene: Scene, share: tuple[int, int], sample: float, chance: random.Random) -> Tally:
    asker, tally = Asker(scene), Tally()
    nobody = scene.worlds["nobody"]
    ways = itertools.product(scene.callers, calls())
    for caller, call in itertools.islice(ways, share[0], None, share[1]):
        if chance.random() >= sample:
            continue
        missing = asker.ask(caller, call, nobody)
        tally.calls += 1
        for relation, world in scene.worlds.items():
            if world is nobody:
                continue
            answer = asker.ask(caller, call, world)
            tally.calls += 1
            tally.cells += 1
            tally.statuses[answer.status] += 1
            cell = f"{caller.name}: {call.name}, {relation}"
            if answer.status >= 500:
                tally.errors.append(f"{cell}: {answer.status}")
            if problem := _problem(caller, answer, missing):
                tally.leaks.append(f"{cell}: {problem}")
    return tally


def _problem(caller: Caller, answer: Answer, missing: Answer) -> str:
    if answer.changed:
        return f"changed rows: {answer.changed}"
    if leak := said_too_much(caller, answer.said, answer.sent):
        return f"{answer.status} {leak}"
    known = {int(found, 16) for one in answer.sent for found in _CODE.findall(one)} & caller.sees
    if answer.status != missing.status and not known:
        return f"{answer.status}, and {missing.status} for what never was"
    return ""


def said_too_much(caller: Caller, said: str, sent: tuple[str, ...]) -> str:
    """What an answer tells of a tenant that the caller does not reach; empty when nothing."""
    # What the caller said themselves and gets back tells them nothing.
    for mine in sorted(sent, key=len, reverse=True):
        said = said.replace(mine, "")
    found = {int(digits, 16) for digits in _CODE.findall(said)}
    for digits in (found & GIVEN) - caller.sees - {NOBODY}:
        at = said.index(word(digits))
        return f"holds {word(digits)}: {said[max(0, at - 60) : at + 40]!r}"
    return ""
