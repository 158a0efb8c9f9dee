"""Every message of every socket says what it needs, and tells nobody of another tenant's things."""

import asyncio
from typing import ClassVar

import pytest
from channels.generic.websocket import AsyncJsonWebsocketConsumer, AsyncWebsocketConsumer
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from hypervisors.sockets import Socket as OurSocket
from tenants.permissions import PERMISSIONS
from tenants.sockets import FROM_PORTAL, WORDS, Declared
from tests.policy.matrix import no_first_wall
from tests.policy.sockets import AGENTS, BROWSERS, Socket, agent_messages, consumers, run
from tests.policy.worlds import Scene, scene_make

CONSUMERS = pytest.mark.parametrize("consumer", consumers(), ids=lambda cls: cls.__name__)
_INHERITED = {name for base in (AsyncJsonWebsocketConsumer, OurSocket) for name in dir(base)}


def handlers(consumer: type) -> set[str]:
    """Its own methods that the channel layer could call: public, asynchronous, of one message."""
    return {
        name.replace("_", ".", 1)
        for name in dir(consumer)
        if name not in _INHERITED
        and not name.startswith("_")
        and asyncio.iscoroutinefunction(method := getattr(consumer, name))
        and method.__code__.co_argcount == 2
        and "_" in name
    }


@CONSUMERS
def test_every_message_of_every_socket_declares_what_it_needs(consumer):
    assert issubclass(consumer, Declared)
    assert handlers(consumer) == set(consumer.messages)
    assert consumer.hears
    for need in [*consumer.messages.values(), *consumer.hears.values()]:
        assert need in WORDS or need in PERMISSIONS


def test_every_message_of_an_agent_is_declared():
    from hypervisors.consumers import AgentConsumer

    assert set(AgentConsumer.hears) == set(agent_messages())


async def test_a_message_that_declares_nothing_is_not_answered():
    class Forgetful(Declared, AsyncWebsocketConsumer):
        messages: ClassVar[dict[str, str]] = {"known.one": FROM_PORTAL}

        async def known_one(self, _message):
            await self.send(text_data="known")

        async def secret_told(self, _message):
            raise AssertionError("it answered")

    assert handlers(Forgetful) - set(Forgetful.messages) == {"secret.told"}
    socket = Socket("/", application=Forgetful.as_asgi())
    assert await socket.open()
    await socket.port.send_input({"type": "known.one"})
    assert await socket.hear() == "known"
    await socket.port.send_input({"type": "secret.told"})
    with pytest.raises(ImproperlyConfigured, match="declares nothing"):
        await socket.port.wait()


async def test_nor_is_one_of_our_other_sockets():
    class Forgetful(OurSocket):
        messages: ClassVar[dict[str, str]] = {}

        async def secret_told(self, _message):
            raise AssertionError("it answered")

    socket = Socket("/", application=Forgetful.as_asgi())
    assert await socket.open()
    await socket.port.send_input({"type": "secret.told"})
    with pytest.raises(ImproperlyConfigured, match="declares nothing"):
        await socket.port.wait()


def test_a_message_can_need_nothing_but_a_known_permission():
    with pytest.raises(ImproperlyConfigured, match=r"vm\.everything"):
        type("Inventive", (Declared,), {"messages": {"a.b": "vm.everything"}})


# ------------------------------------------------------------------ who may open them

PATHS = {"console/<": "/console/secret/", "live/": "/live/"}
AGENT_PATHS = ["/agent/v1/link/", "/agent/v1/streams/00000000-0000-4000-8000-000000000001/"]
OWN = settings.BASALT_ORIGIN
HOST = OWN.split("://")[1]
STRANGE = [
    [],
    [b"null"],
    [b"https://evil.example"],
    [f"{OWN}.evil.example".encode()],
    [f"http://evil.example#{HOST}".encode()],
    [f"http://{HOST.split(':')[0]}:9999".encode()],
    [f"ftp://{HOST}".encode()],
    [b"http://[::1"],
    [OWN.encode(), b"https://evil.example"],
]


def test_the_walk_knows_an_address_of_every_socket():
    assert len(BROWSERS) == len(PATHS)
    assert len(AGENTS) == len(AGENT_PATHS)


@pytest.mark.parametrize("path", PATHS.values())
@pytest.mark.parametrize("origins", STRANGE, ids=repr)
async def test_no_page_of_another_site_opens_a_socket(path, origins):
    socket = Socket(path, *[(b"origin", origin) for origin in origins])
    assert not await socket.open()


@pytest.mark.parametrize("path", AGENT_PATHS)
@pytest.mark.parametrize("origin", [OWN, "https://evil.example", "null"])
async def test_no_page_at_all_opens_a_socket_of_agents(path, origin):
    assert not await Socket(path, (b"origin", origin.encode())).open()


@pytest.mark.django_db(transaction=True)
async def test_our_own_page_does(settings):
    socket = Socket("/live/", (b"origin", OWN.encode()))
    assert await socket.open()


# ------------------------------------------------------------------ the matrix


@pytest.fixture
def scene(transactional_db: None) -> Scene:
    return scene_make()


def some(scene: Scene) -> list:
    names = ("customer-viewer of the customer", "msp-owner of the MSP", "msp-owner of a site",
             "msp-owner until yesterday", "msp-owner but not of one")  # fmt: skip
    found = [caller for caller in scene.callers if caller.name in names]
    assert len(found) == len(names)
    return found


def test_no_socket_tells_of_another_tenants_things(scene):
    tally = run(scene, callers=some(scene), hosts=("own", "another MSP's", "parted"))
    assert tally.leaks == []
    assert tally.cells > 250
    assert tally.heard > 50


def test_nor_with_the_first_wall_gone(scene):
    coarse = [
        type(one)(one.name, one.session, one.token, one.sees | one.behind) for one in some(scene)
    ]
    with no_first_wall():
        tally = run(scene, callers=coarse, hosts=("own",))
    assert tally.leaks == []
