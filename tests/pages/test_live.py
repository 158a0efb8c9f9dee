"""The socket of a page: it hears of one's own tenants, and of nothing else."""

import json
import time

import pytest
from asgiref.sync import sync_to_async
from asgiref.testing import ApplicationCommunicator
from django.contrib.auth.models import AnonymousUser
from django.test import Client
from django.utils import timezone

from portal import consumers
from tenants.models import Membership
from tenants.services.live import live_publish
from tests.factories import (
    MembershipFactory,
    UserFactory,
    VirtualMachineFactory,
    deny,
    grant,
)

pytestmark = pytest.mark.django_db(transaction=True)


@sync_to_async
def session_of(user):
    client = Client()
    if user.is_authenticated:
        client.force_login(user)
    return client.session


class Socket:
    """A browser's end of the live socket, as ASGI has it."""

    def __init__(self, user, query=b""):
        self.scope = {"type": "websocket", "path": "/live/", "user": user, "query_string": query}

    async def open(self):
        self.scope["session"] = await session_of(self.scope["user"])
        self.end = ApplicationCommunicator(consumers.LiveConsumer.as_asgi(), self.scope)
        await self.end.send_input({"type": "websocket.connect"})
        assert (await self.end.receive_output(timeout=3))["type"] == "websocket.accept"
        return self

    async def hear(self):
        return json.loads((await self.end.receive_output(timeout=3))["text"])

    async def is_silent(self, seconds):
        return await self.end.receive_nothing(timeout=seconds)

    async def close(self):
        await self.end.send_input({"type": "websocket.disconnect", "code": 1000})
        await self.end.wait(timeout=3)


@sync_to_async
def made():
    membership = MembershipFactory(role="customer-viewer")
    return (
        membership,
        VirtualMachineFactory(),
        VirtualMachineFactory(hypervisor__site__tenant=membership.tenant),
    )


@sync_to_async
def changed(vm):
    live_publish(tenant_id=vm.tenant_id, kind="vm", object_id=vm.id)


async def test_it_tells_of_ones_own_and_not_of_others():
    membership, theirs, mine = await made()
    socket = await Socket(membership.user).open()
    await changed(theirs)
    await changed(mine)
    assert await socket.hear() == {"kind": "vm", "id": str(mine.id)}
    assert await socket.is_silent(0.3)
    await socket.close()


async def test_it_tells_a_page_of_what_changed_before_its_socket_opened():
    membership, theirs, mine = await made()
    moment = int(time.time())
    await changed(theirs)
    untouched = await Socket(membership.user, b"since=%d" % moment).open()
    assert await untouched.is_silent(0.3)
    await changed(mine)
    late = await Socket(membership.user, b"since=%d" % moment).open()
    assert await late.hear() == {"kind": "missed", "id": None}
    current = await Socket(membership.user, b"since=%d" % (moment + 60)).open()
    assert await current.is_silent(0.3)
    for socket in (untouched, late, current):
        await socket.close()


@pytest.mark.parametrize("query", [b"since=soon", b"since=", b"since=nan", b"\xff=1", b""])
async def test_an_odd_moment_is_taken_as_now(query):
    membership, _, mine = await made()
    await changed(mine)
    socket = await Socket(membership.user, query).open()
    assert await socket.is_silent(0.3)
    await socket.close()


async def test_it_closes_when_the_membership_ends_although_nobody_says_so(monkeypatch):
    monkeypatch.setattr(consumers, "RECHECK_S", 0.2)
    membership, _, _ = await made()
    socket = await Socket(membership.user).open()
    await sync_to_async(Membership.objects.all().update)(expires_at=timezone.now())
    closed = await socket.end.receive_output(timeout=3)
    assert (closed["type"], closed["code"]) == ("websocket.close", consumers.NO_MORE_ALLOWED)


async def test_a_stranger_is_sent_away():
    socket = await Socket(AnonymousUser()).open()
    closed = await socket.end.receive_output(timeout=3)
    assert (closed["type"], closed["code"]) == ("websocket.close", consumers.SIGNED_OUT)


@sync_to_async
def parted():
    """Who has one VM alone, who is denied it, the VM and its neighbour."""
    vm = VirtualMachineFactory()
    neighbour = VirtualMachineFactory(hypervisor=vm.hypervisor)
    denied = MembershipFactory(tenant=vm.tenant, role="customer-viewer").user
    deny(denied, vm)
    return grant(UserFactory(), vm).user, denied, vm, neighbour


async def test_whoever_sees_a_part_hears_of_that_part():
    guest, denied, vm, neighbour = await parted()
    for person, heard, unheard in ((guest, vm, neighbour), (denied, neighbour, vm)):
        socket = await Socket(person).open()
        await changed(unheard)
        await changed(heard)
        assert await socket.hear() == {"kind": "vm", "id": str(heard.id)}
        assert await socket.is_silent(0.3)
        await socket.close()
