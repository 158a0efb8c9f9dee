"""The matrix of sockets: every caller, every host and nobody, by every message of every socket,
about everybody's things. The sockets are found by walking the routing, the messages in what the
consumers declare; one that this does not know how to send is an error, not a gap.

Needs rows that are committed: consumers look at them on connections of their own.
"""

import base64
import json
import logging
import uuid
from collections.abc import Iterator
from typing import Any, get_args

import msgspec
from asgiref.sync import async_to_sync
from asgiref.testing import ApplicationCommunicator
from channels.layers import get_channel_layer
from django.conf import settings
from django.contrib.auth import SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore
from django.core.cache import cache

import consoles.routing
import hypervisors.routing
import portal.routing
from agent.protocol import (
    VERSION,
    Boot,
    BootReported,
    Challenge,
    FromAgent,
    Hello,
    JobAccepted,
    JobError,
    JobFinished,
    JobProgress,
    Screenshot,
    Snapshot,
    StreamRefused,
    Usage,
    VmChanged,
    VmReport,
    Welcome,
    decode_from_portal,
    encode,
    generate_sign_key,
    link_statement,
    sign,
    stream_statement,
)
from agent.protocol.messages import DiskReport, GuestUsage, NicReport
from consoles.consumers import AgentStreamConsumer, ConsoleConsumer
from hypervisors.consumers import AgentConsumer
from hypervisors.models import Hypervisor
from hypervisors.sockets import in_database
from portal.consumers import _ROWS, LiveConsumer
from tenants.models import User
from tenants.scope import system_scope
from tenants.services.live import tenant_group
from tenants.services.sessions import session_group
from tenants.sockets import NOTHING_HEARD
from tests.hypervisors.fake_agent import USAGE, snapshot_of
from tests.policy.matrix import Tally, _digest, _hidden_from, said_too_much
from tests.policy.worlds import IMAGES, NOBODY, PUBLIC, Caller, Scene, World

BROWSERS = [*consoles.routing.websocket_urlpatterns, *portal.routing.websocket_urlpatterns]
AGENTS = [
    *hypervisors.routing.websocket_urlpatterns,
    *consoles.routing.agent_websocket_urlpatterns,
]
_PATIENCE_S = 5.0
_EYES = system_scope("the matrix' own eyes")


def consumers() -> list[type[Any]]:
    """Every consumer of the routing."""
    return [pattern.callback.consumer_class for pattern in [*BROWSERS, *AGENTS]]


def agent_messages() -> tuple[type[Any], ...]:
    """Every type of message that the protocol lets an agent send."""
    return get_args(FromAgent)


# What pages call a kind of row, and what the worlds do.
_KINDS = {"agreement": "second_person"}


class Socket:
    """One end of a socket, and what it heard until it was closed."""

    def __init__(self, path: str, *headers: tuple[bytes, bytes], application: Any = None) -> None:
        from portal import asgi

        host = settings.BASALT_ORIGIN.split("://")[1].encode()
        self.port = ApplicationCommunicator(
            application or asgi.application,
            {
                "type": "websocket", "path": path, "query_string": b"", "subprotocols": [],
                "headers": [(b"host", host), *headers],
            },
        )  # fmt: skip

    async def open(self) -> bool:
        await self.port.send_input({"type": "websocket.connect"})
        event = await self.port.receive_output(_PATIENCE_S)
        return bool(event["type"] == "websocket.accept")

    async def say(self, data: str | bytes) -> None:
        kind = "text" if isinstance(data, str) else "bytes"
        await self.port.send_input({"type": "websocket.receive", kind: data})

    async def hear(self) -> Any:
        event = await self.port.receive_output(_PATIENCE_S)
        return event.get("text") or event.get("bytes")

    async def rest(self) -> tuple[list[Any], tuple[int, str]]:
        """All that is still said, and the code and reason of its end."""
        said = []
        while True:
            event = await self.port.receive_output(_PATIENCE_S)
            if event["type"] == "websocket.close":
                await self.leave()
                return said, (event.get("code", 1000), event.get("reason") or "")
            said.append(event.get("text") or event.get("bytes"))

    async def leave(self) -> None:
        await self.port.send_input({"type": "websocket.disconnect", "code": 1005})
        await self.port.wait(_PATIENCE_S)


def _as(caller: Caller) -> tuple[tuple[bytes, bytes], ...]:
    cookie = f"{settings.SESSION_COOKIE_NAME}={caller.session}".encode()
    return (b"cookie", cookie), (b"origin", settings.BASALT_ORIGIN.encode())


# ------------------------------------------------------------------ what browsers hear


async def _live(caller: Caller, scene: Scene, tally: Tally) -> None:
    """News of every kind about everybody's things: only one's own is told of."""
    assert set(LiveConsumer.messages) == {"live.changed", "session.ended", "person.recheck"}
    socket, layer = Socket("/live/", *_as(caller)), get_channel_layer()
    assert await socket.open()
    for world in scene.worlds.values():
        for kind in _ROWS:
            tenant_id, object_id = world.ids["tenant"], world.ids[_KINDS.get(kind, kind)]
            await layer.group_send(
                tenant_group(uuid.UUID(tenant_id)),
                {"type": "live.changed", "tenant": tenant_id, "kind": kind, "id": object_id},
            )
            tally.cells += 1
            tally.calls += 1
    # What a page could say: it is not listened to.
    for world in scene.worlds.values():
        await socket.say(json.dumps({"join": world.ids["tenant"]}))
        await socket.say(world.ids["tenant"].encode())
        tally.cells += 2
        tally.calls += 2
    await layer.group_send(session_group(caller.session), {"type": "session.ended"})
    said, end = await socket.rest()
    tally.statuses[end[0]] += 1
    for text in said:
        tally.heard += 1
        if leak := said_too_much(caller, text, ()):
            tally.leaks.append(f"{caller.name}: /live/ {leak}")


async def _console(caller: Caller, scene: Scene, tally: Tally) -> None:
    """Tickets of others, and text and bytes into what did not open."""
    ends = {}
    for relation, world in scene.worlds.items():
        socket = Socket(f"/console/{world.secret}/", *_as(caller))
        accepted = await socket.open()
        try:
            ends[relation] = (accepted, *(await socket.rest()))
        except TimeoutError:
            # It opened, and waits for its host: right for one's own ticket alone.
            ends[relation] = (accepted, [], (1000, "still open"))
        tally.statuses[ends[relation][2][0]] += 1
        tally.calls += len(ConsoleConsumer.hears) + 1
        tally.cells += len(ConsoleConsumer.hears) + 1
    for relation, end in ends.items():
        if end != ends["nobody"] and scene.worlds[relation].digits not in caller.sees:
            tally.leaks.append(f"{caller.name}: /console/, {relation}: {end}")


# ------------------------------------------------------------------ what hosts say


def _wishes(world: World) -> dict[type[Any], list[Any]]:
    """Each message of an agent, with this tenant's ids wherever it holds ids."""
    ids, refusal = world.ids, JobError(code="internal", message="no")
    report = VmReport(
        vm_id=ids["vm"], power="running",
        disks=[DiskReport(disk_id=ids["disk"], capacity=1, allocation=1)],
        nics=[NicReport(nic_id=ids["nic"], mac="52:54:00:00:00:01", addresses=["192.0.2.77/24"])],
    )  # fmt: skip
    busy = msgspec.structs.replace(USAGE, guests=[GuestUsage(vm_id=ids["vm"], cpu_percent=50)])
    jobs = [str(ids["job"])]
    return {
        VmChanged: [VmChanged(vm_id=ids["vm"], vm=report), VmChanged(vm_id=ids["vm"], vm=None)],
        JobAccepted: [JobAccepted(job_id=ids["job"])],
        JobProgress: [JobProgress(job_id=ids["job"], percent=50, step="theirs")],
        StreamRefused: [StreamRefused(stream_id=ids["ticket"], error=refusal)],
        Screenshot: [
            Screenshot(request_id=ids["vm"], png=b"\x89PNG"),
            Screenshot(request_id=ids["vm"], error=refusal),
        ],
        # Acknowledged whoever's it is, as below.
        BootReported: [
            BootReported(
                vm_id=ids["vm"], number=1, boot=Boot(instance_id=ids["vm"], verdict="failed")
            )
        ],
        Usage: [busy],
        Snapshot: [msgspec.structs.replace(snapshot_of(report, jobs=jobs), usage=busy,
                                           cached_images=[ids["image_version"]])],
        # Acknowledged whoever's it is, so it tells when the rest was heard.
        JobFinished: [
            JobFinished(job_id=ids["job"], vm=report),
            JobFinished(job_id=ids["job"], error=refusal),
        ],
        Hello: [Hello(hypervisor_id=ids["hypervisor"], protocol=VERSION, signature=bytes(64),
                      run_id=str(uuid.uuid4()), agent_version="1")],
    }  # fmt: skip


async def _host(host: Hypervisor, private: bytes, as_caller: Caller, scene: Scene,
                tally: Tally) -> None:  # fmt: skip
    missing: dict[str, list[Any]] = {}
    # Nobody's first: what is said of those is what all others must be told.
    for relation, world in sorted(scene.worlds.items(), key=lambda item: item[0] != "nobody"):
        before = await in_database(_seen, as_caller)
        # A link for each world, as a Hello on an open link ends it.
        socket = Socket("/agent/v1/link/")
        assert await socket.open()
        challenge = decode_from_portal(await socket.hear())
        assert isinstance(challenge, Challenge)
        statement = link_statement(
            nonce=challenge.nonce, hypervisor_id=str(host.pk), origin=settings.BASALT_ORIGIN
        )
        hello = Hello(
            hypervisor_id=str(host.pk), protocol=VERSION, signature=sign(private, statement),
            run_id=str(host.pk), agent_version="1",
        )  # fmt: skip
        await socket.say(encode(hello))
        assert isinstance(decode_from_portal(await socket.hear()), Welcome)
        for kind in agent_messages():
            for message in _wishes(world)[kind] if kind is not Hello else ():
                await socket.say(encode(message))
                tally.calls += 1
                tally.cells += 1
        await socket.say(encode(_wishes(world)[Hello][0]))
        tally.calls += 1
        tally.cells += 1
        said, end = await socket.rest()
        tally.statuses[end[0]] += 1
        tally.heard += len(said)
        told = [msgspec.to_builtins(decode_from_portal(one)) for one in said]
        cell = f"host of {as_caller.name}: /agent/v1/link/, {relation}"
        if leak := said_too_much(as_caller, f"{told}{end}", tuple(world.words())):
            tally.leaks.append(f"{cell}: {leak}")
        if world.digits not in as_caller.sees:
            shape = [
                f"{one}".replace(world.ids["job"], "JOB").replace(world.ids["vm"], "VM")
                for one in told
            ]
            missing.setdefault("shape", shape)
            if shape != missing["shape"]:
                tally.leaks.append(f"{cell}: {shape} and {missing['shape']} for what never was")
        if await in_database(_seen, as_caller) != before:
            tally.leaks.append(f"{cell}: rows of others changed")
        await _stream(host, private, world, cell, tally)


async def _stream(host: Hypervisor, private: bytes, world: World, cell: str, tally: Tally) -> None:
    """Dial a stream that somebody else's console may wait for."""
    assert set(AgentStreamConsumer.hears) == {bytes}
    statement = stream_statement(
        stream_id=world.ids["ticket"], hypervisor_id=str(host.pk), origin=settings.BASALT_ORIGIN
    )
    for whose in (str(host.pk), world.ids["hypervisor"]):
        proof = base64.b64encode(sign(private, statement)).decode()
        header = (b"authorization", f"Basalt {whose}:{proof}".encode())
        socket = Socket(f"/agent/v1/streams/{world.ids['ticket']}/", header)
        tally.calls += 1
        tally.cells += 1
        if await socket.open():
            tally.leaks.append(f"{cell}: a stream opened")


def _signed_in(caller: Caller) -> bool:
    with _EYES:
        user = str(SessionStore(caller.session).get(SESSION_KEY, uuid.UUID(int=0)))
        return User.objects.filter(pk=user, is_active=True, is_service=False).exists()


def _seen(caller: Caller) -> Any:
    with _EYES:
        return _digest(_hidden_from(caller))


def _keyed(scene: Scene, relations: tuple[str, ...]) -> Iterator[tuple[Hypervisor, bytes, Caller]]:
    """Hosts with keys that are known here, and whose rows each may touch."""
    with _EYES:
        for relation in relations:
            world = scene.worlds[relation]
            private, public = generate_sign_key()
            host = Hypervisor.objects.get(pk=world.ids["hypervisor"])
            host.sign_public = public
            host.save(update_fields=["sign_public"])
            # Its own images too, where these have digits of their own.
            own = {world.digits, world.digits + PUBLIC, world.digits + IMAGES}
            sees = frozenset({*own, NOBODY})
            yield host, private, Caller(relation, "", "", sees)


def run(scene: Scene, *, callers: list[Caller], hosts: tuple[str, ...]) -> Tally:
    """Try the sockets as these people, and as the hosts of these worlds. Programs with a token
    have no session, and a service account's opens nothing: they open consoles by tickets alone,
    and which of these they get is asked in the matrix of calls."""
    assert {*consumers()} == {LiveConsumer, ConsoleConsumer, AgentConsumer, AgentStreamConsumer}
    unheard = {kind for kind, need in AgentConsumer.hears.items() if need == NOTHING_HEARD}
    wishes = _wishes(scene.worlds["own"])
    assert {kind for kind, sent in wishes.items() if not sent} == unheard
    assert {*wishes} == {*agent_messages()} == {*AgentConsumer.hears}
    tally = Tally()
    keyed = list(_keyed(scene, hosts))
    cache.clear()
    tried: list[str] = []

    async def everything() -> None:
        for caller in callers:
            if not caller.session:
                continue
            await _live(caller, scene, tally)
            if await in_database(_signed_in, caller):
                await _console(caller, scene, tally)
                tried.append(caller.name)
        for host, private, as_caller in keyed:
            await _host(host, private, as_caller, scene, tally)

    logging.disable(logging.CRITICAL)
    try:
        async_to_sync(everything)()
    finally:
        logging.disable(logging.NOTSET)
    assert tried or not callers
    return tally
