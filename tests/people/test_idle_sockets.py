"""Open pages and consoles of a session that nobody uses close: real sockets, the whole portal
between them."""

import contextlib
from datetime import timedelta

from allauth.usersessions.models import UserSession
from django.conf import settings
from django.utils import timezone

from agent.protocol import OpenStream
from consoles.consumers import ConsoleConsumer
from hypervisors.sockets import in_database
from portal import consumers
from tenants.actor import Actor
from tenants.scope import scope_of
from tenants.services.signing_out import person_sign_out
from tests.consoles.test_streams import _session, browser, dial_back
from tests.factories import SignInPolicyFactory
from tests.hypervisors.conftest import _no_refusals_of_others, portal
from tests.hypervisors.fake_agent import FakeAgent
from tests.hypervisors.running_portal import closed_with
from tests.people.test_open_sockets import _scene, _ticket

__all__ = ["_no_refusals_of_others", "portal"]

SIGNED_OUT = 4401


def _used(headers, user, ago):
    """The session that a browser has, used so long ago for the last time."""
    key = headers["Cookie"].removeprefix(f"{settings.SESSION_COOKIE_NAME}=")
    when = timezone.now() - ago
    facts = {"user": user, "ip": "192.0.2.1", "user_agent": "x", "last_seen_at": when}
    UserSession.objects.update_or_create(session_key=key, defaults=facts)


@contextlib.asynccontextmanager
async def console(portal, agent, vm, user, headers):
    """An open console, as a page of the portal has it; both its ends."""
    secret = await in_database(_ticket, vm, user)
    async with browser(portal, secret, additional_headers=headers) as page:
        asked = await agent.hear(OpenStream)
        async with dial_back(portal, vm.hypervisor, asked.stream_id) as guest:
            await guest.send(b"hello")
            assert await page.recv() == b"hello"
            yield page, guest


async def test_page_and_console_of_a_session_that_nobody_uses_close(portal, monkeypatch):
    monkeypatch.setattr(ConsoleConsumer, "recheck_s", 0.2)
    monkeypatch.setattr(consumers, "RECHECK_S", 0.2)
    vm, user, _ = await in_database(_scene)
    await in_database(lambda: SignInPolicyFactory(tenant=vm.tenant, idle_minutes=5))
    headers = await in_database(lambda: _session(user, basalt_signed_in_at=_long_ago()))
    await in_database(_used, headers, user, timedelta(minutes=4))
    async with (
        FakeAgent(portal, vm.hypervisor) as agent,
        portal.websocket("/live/", additional_headers=headers, origin=portal.url) as live,
    ):
        await agent.open()
        async with console(portal, agent, vm, user, headers) as (page, guest):
            # Looked at a few times, they stay.
            assert not await _closes(page, seconds=1)
            await in_database(_used, headers, user, timedelta(minutes=6))
            # What guest and page say to each other by themselves changes nothing.
            with contextlib.suppress(Exception):
                await page.send(b"another picture, please")
                await guest.send(b"a picture")
            assert (await closed_with(page, seconds=3))[0] == SIGNED_OUT
        assert (await closed_with(live, seconds=3))[0] == SIGNED_OUT


async def test_a_console_of_no_session_is_never_idle(portal, monkeypatch):
    monkeypatch.setattr(ConsoleConsumer, "recheck_s", 0.1)
    vm, user, _ = await in_database(_scene)
    await in_database(lambda: SignInPolicyFactory(tenant=vm.tenant, idle_minutes=5))
    async with FakeAgent(portal, vm.hypervisor) as agent:
        await agent.open()
        async with console(portal, agent, vm, user, {}) as (page, _):
            assert not await _closes(page, seconds=1)


async def test_an_administrator_ends_pages_and_consoles_within_a_second(portal):
    vm, user, admin = await in_database(_scene)
    headers = await in_database(_session, user)
    await in_database(_used, headers, user, timedelta(0))

    def sign_out():
        with scope_of(admin):
            assert person_sign_out(actor=Actor(user=admin), person=user) == 1

    async with (
        FakeAgent(portal, vm.hypervisor) as agent,
        portal.websocket("/live/", additional_headers=headers, origin=portal.url) as live,
    ):
        await agent.open()
        async with (
            console(portal, agent, vm, user, headers) as (page, _),
            console(portal, agent, vm, user, {}) as (program, guest),
        ):
            await in_database(sign_out)
            assert (await closed_with(page, seconds=1))[0] == SIGNED_OUT
            assert (await closed_with(live, seconds=1))[0] == SIGNED_OUT
            await guest.send(b"still here")
            assert await program.recv() == b"still here"


def _long_ago():
    return (timezone.now() - timedelta(hours=8)).timestamp()


async def _closes(socket, *, seconds):
    try:
        await closed_with(socket, seconds=seconds)
    except TimeoutError:
        return False
    return True
