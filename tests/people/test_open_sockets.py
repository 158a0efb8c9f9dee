"""Open pages and consoles close as soon as their person may not have them any more: real sockets,
the whole portal between them."""

import asyncio
import contextlib
import time
from datetime import timedelta

import pytest
from django.utils import timezone

from agent.protocol import OpenStream
from consoles.consumers import ConsoleConsumer
from consoles.models import ConsoleTicket
from consoles.services.tickets import console_ticket_create
from hypervisors.sockets import in_database
from tenants.actor import Actor
from tenants.models import ApiToken, Membership, Role
from tenants.scope import scope_of
from tenants.services.leaving import person_leave
from tenants.services.people import api_token_create, api_token_revoke
from tenants.services.rechecks import recheck_ended
from tests.consoles.test_streams import _session, browser, dial_back
from tests.factories import MembershipFactory, UserFactory, VirtualMachineFactory, deny
from tests.hypervisors.conftest import _no_refusals_of_others, portal
from tests.hypervisors.fake_agent import FakeAgent
from tests.hypervisors.running_portal import closed_with, eventually
from vms.models import VirtualMachine

__all__ = ["_no_refusals_of_others", "portal"]


def _scene():
    vm = VirtualMachineFactory()
    user = MembershipFactory(tenant=vm.tenant, role="customer-operator").user
    admin = MembershipFactory(tenant=vm.tenant, role="customer-administrator").user
    return vm, user, admin


def _leave(admin, user):
    with scope_of(admin):
        person_leave(actor=Actor(user=admin), person=user)


def _ticket(vm, user, kind="vnc", token=None):
    return console_ticket_create(actor=Actor(user=user, token=token), vm=vm, kind=kind)[1]


@contextlib.asynccontextmanager
async def console(portal, agent, vm, user, kind="vnc", token=None):
    """An open console, as a program has it that came with the ticket alone; both its ends."""
    secret = await in_database(_ticket, vm, user, kind, token)
    async with browser(portal, secret) as page:
        asked = await agent.hear(OpenStream)
        async with dial_back(portal, vm.hypervisor, asked.stream_id) as guest:
            await guest.send(b"hello")
            assert await page.recv() == b"hello"
            yield page, guest


async def test_who_leaves_loses_page_screen_and_serial_line_within_a_second(portal):
    vm, user, admin = await in_database(_scene)
    headers = await in_database(_session, user)
    async with (
        FakeAgent(portal, vm.hypervisor) as agent,
        portal.websocket("/live/", additional_headers=headers, origin=portal.url) as live,
    ):
        await agent.open()
        async with (
            console(portal, agent, vm, user) as (screen, guest),
            console(portal, agent, vm, user, "serial") as (line, _),
        ):
            count = await in_database(lambda: ConsoleTicket.objects.open().count())
            assert count == 2
            await in_database(_leave, admin, user)
            left = time.monotonic()
            codes = await asyncio.gather(*map(closed_with, (live, screen, line)))
            assert time.monotonic() - left < 1
            assert [code for code, _ in codes] == [4401, 4403, 4403]
            assert "not use this console any more" in codes[1][1]
            assert (await closed_with(guest))[0] == 4403
    await eventually(lambda: not ConsoleTicket.objects.open().exists())


async def test_what_remains_elsewhere_stays_open(portal):
    vm, user, admin = await in_database(_scene)
    other = await in_database(VirtualMachineFactory)
    await in_database(lambda: MembershipFactory(user=user, tenant=other.tenant))
    async with FakeAgent(portal, vm.hypervisor) as one, FakeAgent(portal, other.hypervisor) as two:
        await one.open()
        await two.open()
        async with (
            console(portal, one, vm, user) as (lost, _),
            console(portal, two, other, user) as (kept, guest),
        ):
            await in_database(_leave, admin, user)
            assert (await closed_with(lost))[0] == 4403
            await guest.send(b"still here")
            assert await kept.recv() == b"still here"


def _membership_deleted(user):
    Membership.objects.get(user=user).delete()


def _role_narrowed(user):
    membership = Membership.objects.get(user=user)
    membership.role = Role.objects.get(tenant=None, slug="customer-viewer")
    membership.save()


def _denied(user):
    deny(user, VirtualMachine.objects.get())


def _roles_permissions_narrowed(user):
    role = Membership.objects.get(user=user).role
    role.permissions = ["vm.view"]
    role.save()


def _account_closed(user):
    user.is_active = False
    user.save(update_fields=["is_active"])


def _expired_by_itself(user):
    Membership.objects.filter(user=user).update(expires_at=timezone.now())
    assert recheck_ended() == 1


@pytest.mark.parametrize(
    "loss",
    [
        _membership_deleted,
        _role_narrowed,
        _denied,
        _roles_permissions_narrowed,
        _account_closed,
        _expired_by_itself,
    ],
)
async def test_however_the_permission_is_lost_the_console_closes(portal, loss):
    vm, user, _ = await in_database(_scene)
    async with FakeAgent(portal, vm.hypervisor) as agent:
        await agent.open()
        async with console(portal, agent, vm, user) as (page, _):
            await in_database(loss, user)
            assert (await closed_with(page, seconds=1))[0] == 4403


async def test_a_console_ends_with_the_token_that_opened_it_and_only_with_that(portal):
    vm, user, _ = await in_database(_scene)
    one, other = [
        (await in_database(lambda: api_token_create(user=user, name="x")))[0] for _ in range(2)
    ]
    async with FakeAgent(portal, vm.hypervisor) as agent:
        await agent.open()
        async with (
            console(portal, agent, vm, user, token=one) as (lost, _),
            console(portal, agent, vm, user, token=other) as (kept, guest),
        ):
            await in_database(lambda: api_token_revoke(token=ApiToken.objects.get(pk=one.pk)))
            assert (await closed_with(lost, seconds=1))[0] == 4403
            await guest.send(b"still here")
            assert await kept.recv() == b"still here"


async def test_a_console_asks_by_itself_too(portal, monkeypatch):
    monkeypatch.setattr(ConsoleConsumer, "recheck_s", 0.2)
    vm, user, _ = await in_database(_scene)
    async with FakeAgent(portal, vm.hypervisor) as agent:
        await agent.open()
        async with console(portal, agent, vm, user) as (page, _):
            # As if the message had been lost on its way.
            await in_database(
                lambda: Membership.objects.filter(user=user).update(expires_at=timezone.now())
            )
            assert (await closed_with(page, seconds=2))[0] == 4403


async def test_an_open_console_says_that_it_is_open(portal, monkeypatch):
    monkeypatch.setattr(ConsoleConsumer, "recheck_s", 0.1)
    vm, user, _ = await in_database(_scene)
    async with FakeAgent(portal, vm.hypervisor) as agent:
        await agent.open()
        async with console(portal, agent, vm, user):
            ago = timezone.now() - timedelta(hours=3)
            await in_database(lambda: ConsoleTicket.objects.update(expires_at=ago, seen_at=ago))
            await eventually(lambda: ConsoleTicket.objects.open().exists())
            # Old as its ticket is, making another does not sweep it away.
            await in_database(_ticket, vm, user)
            assert await in_database(lambda: ConsoleTicket.objects.open().count()) == 1


async def test_another_persons_loss_closes_nothing_of_mine(portal):
    vm, user, admin = await in_database(_scene)
    other = await in_database(lambda: MembershipFactory(user=UserFactory(), tenant=vm.tenant).user)
    async with FakeAgent(portal, vm.hypervisor) as agent:
        await agent.open()
        async with console(portal, agent, vm, user) as (page, guest):
            await in_database(_leave, admin, other)
            await guest.send(b"still here")
            assert await page.recv() == b"still here"
