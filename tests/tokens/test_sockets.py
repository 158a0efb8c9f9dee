"""Consoles that a token opened end with what the token is good for: real sockets."""

from datetime import timedelta

import pytest
from django.utils import timezone

from consoles.models import ConsoleTicket
from consoles.services.tickets import TicketInvalidError, console_ticket_redeem
from consoles.services.watching import console_still_allowed
from hypervisors.sockets import in_database
from tenants.actor import Actor
from tenants.models import ApiToken, Role
from tenants.scope import scope_of
from tenants.services.rechecks import recheck_ended
from tenants.services.service_accounts import (
    service_account_close,
    service_account_create,
    service_account_delete,
)
from tenants.services.tenants import tenant_move
from tests.factories import CustomerFactory, MembershipFactory, VirtualMachineFactory
from tests.hypervisors.conftest import _no_refusals_of_others, portal
from tests.hypervisors.fake_agent import FakeAgent
from tests.hypervisors.running_portal import closed_with
from tests.people.test_open_sockets import _ticket, console
from tests.tokens.conftest import client_with, token_of

__all__ = ["_no_refusals_of_others", "portal"]


def _scene(**scope):
    vm = VirtualMachineFactory()
    owner = MembershipFactory(tenant=vm.tenant.parent, role="msp-owner").user
    return vm, owner, token_of(owner, **scope)


@pytest.mark.django_db
def test_a_token_without_the_permission_gets_no_ticket(land):
    client = client_with(land.owner, permissions=["vm.view", "vm.power"])
    answer = client.post(f"/api/v1/vms/{land.vm.pk}/console/", {"kind": "vnc"})
    assert answer.status_code == 403
    assert not ConsoleTicket.objects.exists()


@pytest.mark.django_db
def test_a_token_for_another_customer_gets_no_ticket(land):
    client = client_with(land.owner, tenants=[land.birch])
    answer = client.post(f"/api/v1/vms/{land.vm.pk}/console/", {"kind": "vnc"})
    assert answer.status_code == 404


@pytest.mark.django_db
def test_a_ticket_is_as_narrow_as_the_token_that_asked_for_it(land):
    """Even one that was made before the token lost its customer."""
    token = token_of(land.owner, tenants=[land.group])
    secret = _ticket(land.vm, land.owner, token=token)
    with scope_of(land.owner):
        tenant_move(actor=Actor(user=land.owner), tenant=land.alder, parent=land.msp)
    with pytest.raises(TicketInvalidError):
        console_ticket_redeem(user=None, secret=secret)


@pytest.mark.django_db
@pytest.mark.parametrize("change", [{"revoked_at": timezone.now()}, {"expires_at": timezone.now()}])
def test_a_ticket_of_a_token_that_is_over_opens_nothing(land, change):
    token = token_of(land.owner)
    secret = _ticket(land.vm, land.owner, token=token)
    ApiToken.objects.filter(pk=token.pk).update(**change)
    with pytest.raises(TicketInvalidError):
        console_ticket_redeem(user=None, secret=secret)


@pytest.mark.django_db
def test_an_open_console_is_looked_at_with_the_tokens_eyes(land):
    token = token_of(land.owner, tenants=[land.group], permissions=["vm.console"])
    ticket = console_ticket_redeem(user=None, secret=_ticket(land.vm, land.owner, token=token))
    assert console_still_allowed(ticket.pk)
    with scope_of(land.owner):
        tenant_move(actor=Actor(user=land.owner), tenant=land.alder, parent=land.msp)
    assert not console_still_allowed(ticket.pk)


async def test_a_console_closes_when_its_token_expires(portal):
    vm, owner, token = await in_database(_scene)

    def expire():
        ended = timezone.now() - timedelta(seconds=1)
        ApiToken.objects.filter(pk=token.pk).update(expires_at=ended)
        assert recheck_ended() == 1

    async with FakeAgent(portal, vm.hypervisor) as agent:
        await agent.open()
        async with console(portal, agent, vm, owner, token=token) as (page, _):
            await in_database(expire)
            assert (await closed_with(page, seconds=1))[0] == 4403


async def test_a_narrow_tokens_console_closes_when_its_owners_role_shrinks(portal):
    def scene():
        vm = VirtualMachineFactory()
        msp = vm.tenant.parent
        group = CustomerFactory(parent=msp, kind="group")
        owner = MembershipFactory(tenant=msp, role="msp-owner").user
        with scope_of(owner):
            tenant_move(actor=Actor(user=owner), tenant=vm.tenant, parent=group)
        return vm, owner, token_of(owner, tenants=[group])

    def role_shrinks():
        role = Role.objects.get(tenant=None, slug="msp-owner")
        role.permissions = ["vm.view"]
        role.save()

    vm, owner, token = await in_database(scene)
    async with FakeAgent(portal, vm.hypervisor) as agent:
        await agent.open()
        async with console(portal, agent, vm, owner, token=token) as (page, _):
            await in_database(role_shrinks)
            assert (await closed_with(page, seconds=1))[0] == 4403


@pytest.mark.parametrize("end", [service_account_close, service_account_delete])
async def test_a_console_closes_with_its_service_account(portal, end):
    def scene():
        vm, owner, _ = _scene()
        operator = Role.objects.get(tenant=None, slug="customer-operator")
        with scope_of(owner):
            account = service_account_create(
                actor=Actor(user=owner), tenant=vm.tenant, name="Robot", role=operator
            )
        return vm, owner, account, token_of(account.user)

    vm, owner, account, token = await in_database(scene)

    def finish():
        with scope_of(owner):
            end(actor=Actor(user=owner), account=account)

    async with FakeAgent(portal, vm.hypervisor) as agent:
        await agent.open()
        async with console(portal, agent, vm, account.user, token=token) as (page, _):
            await in_database(finish)
            assert (await closed_with(page, seconds=1))[0] == 4403
