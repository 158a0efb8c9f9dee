"""A console from ticket to bytes: real sockets at both ends, the portal in the middle."""

import asyncio
import base64
import contextlib
import uuid
from datetime import timedelta

import pytest
from django.utils import timezone
from websockets.exceptions import InvalidStatus

from agent.protocol import JobError, OpenStream, StreamRefused, sign, stream_statement
from consoles.models import ConsoleTicket
from consoles.services.tickets import console_ticket_create, console_url
from hypervisors.sockets import in_database
from tenants.actor import Actor
from tenants.models import Membership
from tests.factories import MembershipFactory, UserFactory, VirtualMachineFactory
from tests.hypervisors.fake_agent import FakeAgent
from tests.hypervisors.running_portal import closed_with


def _scene():
    vm = VirtualMachineFactory()
    user = UserFactory()
    MembershipFactory(user=user, tenant=vm.tenant, role="customer-operator")
    return vm, user


async def scene():
    return await in_database(_scene)


async def ticket_for(vm, user, kind="vnc"):
    _, secret = await in_database(console_ticket_create, actor=Actor(user=user), vm=vm, kind=kind)
    return secret


def _session(user, **values):
    from django.conf import settings
    from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
    from django.contrib.sessions.backends.db import SessionStore

    session = SessionStore()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[0]
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.update(values)
    session.save()
    return {"Cookie": f"{settings.SESSION_COOKIE_NAME}={session.session_key}"}


def browser(portal, secret, **options):
    options.setdefault("origin", portal.url)
    return portal.websocket(f"/console/{secret}/", **options)


def dial_back(portal, host, stream_id, *, private=None, claimed=None):
    statement = stream_statement(
        stream_id=str(stream_id), hypervisor_id=str(host.pk), origin=portal.url
    )
    signature = base64.b64encode(sign(private or host.sign_private, statement)).decode()
    return portal.websocket(
        f"/agent/v1/streams/{claimed or stream_id}/",
        additional_headers={"Authorization": f"Basalt {host.pk}:{signature}"},
    )


async def send_until_stuck(console, *, at_most):
    """Bytes sent before the portal took no more for a while."""
    sent = 0
    with contextlib.suppress(TimeoutError):
        while sent < at_most:
            async with asyncio.timeout(1.5):
                await console.send(bytes(256 * 1024))
            sent += 256 * 1024
    return sent


async def test_bytes_go_both_ways_in_order_and_untouched(portal):
    vm, user = await scene()
    async with FakeAgent(portal, vm.hypervisor) as agent:
        await agent.open()
        async with browser(portal, await ticket_for(vm, user)) as page:
            await page.send(b"early")
            asked = await agent.hear(OpenStream)
            assert (asked.vm_id, asked.kind) == (str(vm.pk), "vnc")
            async with dial_back(portal, vm.hypervisor, asked.stream_id) as console:
                await console.send(b"RFB 003.008\n")
                assert await page.recv() == b"RFB 003.008\n"
                assert await console.recv() == b"early"
                blob = bytes(range(256)) * 4096
                for start in range(0, len(blob), 50_000):
                    await console.send(blob[start : start + 50_000])
                got = b""
                while len(got) < len(blob):
                    got += await page.recv()
                assert got == blob


async def test_the_subprotocol_that_novnc_offers_is_taken_up(portal):
    vm, user = await scene()
    async with browser(portal, await ticket_for(vm, user), subprotocols=["binary"]) as page:
        assert page.subprotocol == "binary"


async def test_a_slow_browser_makes_the_guest_wait_and_memory_stay_bounded(portal):
    vm, user = await scene()
    async with FakeAgent(portal, vm.hypervisor) as agent:
        await agent.open()
        async with browser(portal, await ticket_for(vm, user), max_queue=1) as page:
            asked = await agent.hear(OpenStream)
            async with dial_back(portal, vm.hypervisor, asked.stream_id) as console:
                sent = await send_until_stuck(console, at_most=200 * 1024**2)
                assert sent < 60 * 1024**2
                got = 0
                while got < sent:
                    got += len(await page.recv())


async def test_when_the_browser_leaves_the_host_is_told(portal):
    vm, user = await scene()
    async with FakeAgent(portal, vm.hypervisor) as agent:
        await agent.open()
        page = await browser(portal, await ticket_for(vm, user))
        asked = await agent.hear(OpenStream)
        async with dial_back(portal, vm.hypervisor, asked.stream_id) as console:
            await page.close()
            assert (await closed_with(console))[0] == 1000


async def test_when_the_host_ends_it_the_browser_gets_the_last_bytes_and_a_sentence(portal):
    vm, user = await scene()
    async with FakeAgent(portal, vm.hypervisor) as agent:
        await agent.open()
        async with browser(portal, await ticket_for(vm, user, "serial")) as page:
            asked = await agent.hear(OpenStream)
            assert asked.kind == "serial"
            async with dial_back(portal, vm.hypervisor, asked.stream_id) as console:
                await console.send(b"Power down.")
            assert await page.recv() == b"Power down."
            code, reason = await closed_with(page)
            assert code == 4410
            assert "host closed" in reason


async def test_a_refusal_of_the_host_reaches_the_browser(portal):
    vm, user = await scene()
    async with FakeAgent(portal, vm.hypervisor) as agent:
        await agent.open()
        async with browser(portal, await ticket_for(vm, user)) as page:
            asked = await agent.hear(OpenStream)
            error = JobError(code="vm_must_be_off", message="The VM is off. " + "ü" * 300)
            await agent.say(StreamRefused(stream_id=asked.stream_id, error=error))
            code, reason = await closed_with(page)
            assert code == 4502
            assert reason.startswith("The VM is off.")


async def test_a_host_that_does_not_dial_back_in_time_is_named_as_the_cause(portal, monkeypatch):
    monkeypatch.setattr("consoles.consumers.ConsoleConsumer.dial_back_s", 0.3)
    vm, user = await scene()
    async with browser(portal, await ticket_for(vm, user)) as page:
        code, reason = await closed_with(page)
        assert code == 4408
        assert "did not open the console in time" in reason


# ------------------------------------------------------------------ who may not


async def test_a_ticket_opens_one_console_only(portal):
    vm, user = await scene()
    secret = await ticket_for(vm, user)
    # Either may come first: sockets open before their tickets are looked at.
    async with browser(portal, secret) as one, browser(portal, secret) as other:
        closing = [asyncio.create_task(closed_with(page)) for page in (one, other)]
        done, waiting = await asyncio.wait(closing, return_when=asyncio.FIRST_COMPLETED)
        assert [task.result()[0] for task in done] == [4404]
        for task in waiting:
            task.cancel()


async def test_of_two_that_redeem_at_once_one_gets_in(portal):
    vm, user = await scene()
    secret = await ticket_for(vm, user)
    pages = await asyncio.gather(*(browser(portal, secret) for _ in range(8)))
    closing = {asyncio.create_task(closed_with(page, seconds=20)) for page in pages}
    ended = []
    while len(ended) < len(pages) - 1:
        done, closing = await asyncio.wait(closing, return_when=asyncio.FIRST_COMPLETED)
        ended += [task.result()[0] for task in done]
    assert ended == [4404] * (len(pages) - 1)
    closing.pop().cancel()
    await asyncio.gather(*(page.close() for page in pages))


async def test_an_old_ticket_opens_nothing(portal):
    vm, user = await scene()
    secret = await ticket_for(vm, user)
    await in_database(
        lambda: ConsoleTicket.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    )
    async with browser(portal, secret) as page:
        assert (await closed_with(page))[0] == 4404


async def test_a_stranger_who_is_signed_in_cannot_use_anothers_ticket_nor_use_it_up(portal):
    vm, user = await scene()
    stranger = await in_database(UserFactory)
    secret = await ticket_for(vm, user)
    headers = await in_database(_session, stranger)
    async with browser(portal, secret, additional_headers=headers) as page:
        assert (await closed_with(page))[0] == 4404
    headers = await in_database(_session, user)
    async with browser(portal, secret, additional_headers=headers) as page:
        await asyncio.sleep(0.3)
        assert page.close_code is None


def _sign_out(user, headers):
    from allauth.usersessions.models import UserSession

    from tenants.services.sessions import session_end

    key = headers["Cookie"].partition("=")[2]
    row = UserSession.objects.create(user=user, session_key=key, ip="192.0.2.1", user_agent="x")
    assert session_end(user=user, session_id=row.pk)


async def test_a_console_closes_at_once_when_its_session_ends(portal):
    vm, user = await scene()
    headers = await in_database(_session, user)
    async with FakeAgent(portal, vm.hypervisor) as agent:
        await agent.open()
        secret = await ticket_for(vm, user)
        async with browser(portal, secret, additional_headers=headers) as page:
            asked = await agent.hear(OpenStream)
            async with dial_back(portal, vm.hypervisor, asked.stream_id) as console:
                await console.send(b"RFB 003.008\n")
                assert await page.recv() == b"RFB 003.008\n"
                await in_database(_sign_out, user, headers)
                assert (await closed_with(page))[0] == 4401
                await closed_with(console)


async def test_a_person_whose_role_was_taken_away_meanwhile_gets_nothing(portal):
    vm, user = await scene()
    secret = await ticket_for(vm, user)
    await in_database(lambda: Membership.objects.all().delete())
    async with browser(portal, secret) as page:
        assert (await closed_with(page))[0] == 4404


async def test_nobody_opens_a_console_while_they_look_as_somebody_else(portal):
    vm, user = await scene()
    secret = await ticket_for(vm, user)
    headers = await in_database(lambda: _session(user, see_as={"user": "whoever"}))
    async with browser(portal, secret, additional_headers=headers) as page:
        code, reason = await closed_with(page)
    assert code == 4404
    assert "as somebody else" in reason


async def test_a_page_of_another_site_opens_nothing(portal):
    vm, user = await scene()
    with pytest.raises(InvalidStatus):
        await browser(portal, await ticket_for(vm, user), origin="https://evil.example")


async def test_another_host_cannot_dial_a_stream(portal):
    vm, user = await scene()
    other = (await scene())[0].hypervisor
    async with FakeAgent(portal, vm.hypervisor) as agent:
        await agent.open()
        async with browser(portal, await ticket_for(vm, user)):
            asked = await agent.hear(OpenStream)
            with pytest.raises(InvalidStatus):
                await dial_back(portal, other, asked.stream_id)
            with pytest.raises(InvalidStatus):
                await dial_back(portal, vm.hypervisor, asked.stream_id, private=other.sign_private)
            async with dial_back(portal, vm.hypervisor, asked.stream_id) as console:
                assert console.close_code is None
                with pytest.raises(InvalidStatus):
                    await dial_back(portal, vm.hypervisor, asked.stream_id)


async def test_a_signature_for_one_stream_does_not_open_another(portal):
    vm, user = await scene()
    async with FakeAgent(portal, vm.hypervisor) as agent:
        await agent.open()
        async with browser(portal, await ticket_for(vm, user)):
            asked = await agent.hear(OpenStream)
            with pytest.raises(InvalidStatus):
                await dial_back(portal, vm.hypervisor, uuid.uuid4(), claimed=asked.stream_id)


@pytest.mark.parametrize("header", ["", "Basalt", "Basalt x:y", "Bearer x", "Basalt " + "a" * 400])
async def test_streams_without_a_proper_signature_are_not_opened(portal, header):
    with pytest.raises(InvalidStatus):
        await portal.websocket(
            f"/agent/v1/streams/{uuid.uuid4()}/", additional_headers={"Authorization": header}
        )


def test_the_address_of_a_console_is_a_websocket(settings):
    settings.BASALT_ORIGIN = "https://portal.example"
    assert console_url("s") == "wss://portal.example/console/s/"
