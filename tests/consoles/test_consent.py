"""A customer's consent: without it, whoever comes from the MSP sees nothing of a guest."""

from datetime import timedelta

import pytest
from django.core import mail
from django.core.cache import cache
from django.test import Client
from django.utils import timezone

from consoles.models import ConsentRequest, ConsentRule
from consoles.services.consent import (
    AlreadyDecidedError,
    ConsentNeededError,
    NotOfTheHouseError,
    consent_ask,
    consent_decide,
    consent_end,
    consent_rule_set,
)
from consoles.services.screens import vm_screen
from consoles.services.tickets import (
    TicketInvalidError,
    console_ticket_create,
    console_ticket_redeem,
)
from hypervisors.sockets import in_database
from tenants.actor import Actor
from tenants.models import AuditEvent, Membership, Role
from tenants.scope import NOTHING, scope_of
from tests.factories import MembershipFactory, MspFactory, VirtualMachineFactory
from tests.hypervisors.fake_agent import FakeAgent
from tests.hypervisors.running_portal import closed_with
from tests.people.test_open_sockets import console

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _fresh_limits():
    cache.clear()


class Scene:
    def __init__(self):
        msp = MspFactory(name="Northwind")
        self.vm = VirtualMachineFactory(
            name="web",
            hypervisor__site__tenant__parent=msp,
            hypervisor__site__tenant__name="Müller GmbH",
        )
        self.customer = self.vm.tenant
        self.technician = MembershipFactory(
            tenant=msp, role="msp-technician", user__name="Tess"
        ).user
        self.owner = MembershipFactory(tenant=msp, role="msp-owner").user
        self.approver = MembershipFactory(tenant=self.customer).user
        self.operator = MembershipFactory(tenant=self.customer, role="customer-operator").user

    def rule(self, vm=None):
        with scope_of(self.approver):
            consent_rule_set(
                actor=Actor(user=self.approver), tenant=self.customer, vm=vm, wanted=True
            )

    def ticket(self, user):
        with scope_of(user):
            return console_ticket_create(actor=Actor(user=user), vm=self.vm, kind="vnc")[1]

    def ask(self, user=None, reason="It does not boot."):
        user = user or self.technician
        with scope_of(user):
            return consent_ask(actor=Actor(user=user), vm=self.vm, reason=reason)[0]

    def decide(self, request, hours, user=None):
        user = user or self.approver
        with scope_of(user):
            return consent_decide(actor=Actor(user=user), request=request, hours=hours)


@pytest.fixture
def scene():
    return Scene()


def test_without_a_rule_nobody_asks(scene):
    assert scene.ticket(scene.technician)


@pytest.mark.parametrize("on_the_vm_alone", [True, False])
def test_with_a_rule_a_technician_opens_nothing_and_the_customer_does(scene, on_the_vm_alone):
    scene.rule(scene.vm if on_the_vm_alone else None)
    for user in (scene.technician, scene.owner):
        with pytest.raises(ConsentNeededError, match="Müller GmbH wants to approve"):
            scene.ticket(user)
        # Nor the small picture.
        with scope_of(user), pytest.raises(ConsentNeededError):
            vm_screen(user=user, vm=scene.vm)
    assert scene.ticket(scene.operator)
    scene.vm = VirtualMachineFactory(hypervisor=scene.vm.hypervisor)
    if on_the_vm_alone:
        assert scene.ticket(scene.technician)


def test_one_of_the_msps_roles_on_the_customer_is_not_of_the_house(scene):
    scene.rule()
    three_only = MembershipFactory(tenant=scene.customer, role="msp-technician").user
    own = Role.objects.create(
        tenant=scene.customer.parent, slug="x", name="X", permissions=["vm.view", "vm.console"]
    )
    vendor = MembershipFactory(tenant=scene.customer, role=own).user
    for user in (three_only, vendor):
        with pytest.raises(ConsentNeededError):
            scene.ticket(user)


def test_approved_it_opens_for_its_hours_and_no_longer(scene):
    scene.rule()
    request = scene.ask()
    with pytest.raises(ConsentNeededError, match="Waiting for approval of Müller GmbH"):
        scene.ticket(scene.technician)
    scene.decide(request, 4)
    secret = scene.ticket(scene.technician)
    # Another technician has asked nothing.
    with pytest.raises(ConsentNeededError):
        scene.ticket(scene.owner)
    ConsentRequest.objects.update(approved_until=timezone.now())
    # Also between ticket and socket.
    with NOTHING, pytest.raises(TicketInvalidError):
        console_ticket_redeem(user=scene.technician, secret=secret)
    with pytest.raises(ConsentNeededError):
        scene.ticket(scene.technician)
    actions = list(AuditEvent.objects.order_by("created_at").values_list("action", flat=True))
    assert actions == ["consent.rule", "consent.ask", "consent.approve", "vm.console"]


def test_refused_it_stays_closed_and_can_be_asked_again(scene):
    scene.rule()
    first = scene.ask()
    assert scene.ask() == first
    scene.decide(first, 0)
    with pytest.raises(ConsentNeededError):
        scene.ticket(scene.technician)
    with pytest.raises(AlreadyDecidedError, match="refused already"):
        scene.decide(first, 1)
    assert scene.ask() != first


def test_what_nobody_decides_on_is_over_after_a_day(scene):
    scene.rule()
    request = scene.ask()
    ConsentRequest.objects.update(created_at=timezone.now() - timedelta(hours=24))
    with pytest.raises(AlreadyDecidedError, match="over already"):
        scene.decide(request, 1)
    assert scene.ask() != request


def test_only_the_customers_own_people_decide_and_set_rules(scene):
    scene.rule()
    request = scene.ask()
    for user in (scene.owner, scene.operator):
        with pytest.raises(NotOfTheHouseError, match="Only people of Müller GmbH"):
            scene.decide(request, 1, user)
        with scope_of(user), pytest.raises(NotOfTheHouseError):
            consent_rule_set(actor=Actor(user=user), tenant=scene.customer, vm=None, wanted=False)
    assert ConsentRule.objects.count() == 1


def test_nobody_approves_what_they_asked_for(scene):
    scene.rule()
    request = scene.ask()
    ConsentRequest.objects.update(requester=scene.approver)
    with pytest.raises(NotOfTheHouseError, match="themselves"):
        scene.decide(request, 1)


def test_where_nobody_can_approve_that_is_said(scene):
    scene.rule()
    Membership.objects.filter(user=scene.approver).update(expires_at=timezone.now())
    with pytest.raises(NotOfTheHouseError, match="Nobody at Müller GmbH can approve"):
        scene.ask()


def test_over_pages_from_asking_to_approval(scene):
    scene.rule()
    technician, approver = Client(), Client()
    technician.force_login(scene.technician)
    approver.force_login(scene.approver)
    page = f"/c/{scene.customer.slug}/vms/web/console/"
    assert "consent-reason" in technician.get(page).content.decode()
    assert technician.post(f"{page}ticket/").status_code == 403
    technician.post(f"{page}ask/", {"reason": "It does not boot."})
    assert "Waiting for approval of Müller GmbH" in technician.get(page).content.decode()
    [message] = mail.outbox
    assert message.to == [scene.approver.email]
    assert "Tess asks to open the console of “web”" in message.body
    assert "It does not boot." in message.body
    shown = approver.get("/approvals/").content.decode()
    assert "It does not boot." in shown
    request = ConsentRequest.objects.get()
    approver.post("/approvals/", {"request": request.pk, "decision": "1"})
    assert 'id="console"' in technician.get(page).content.decode()
    # The page that waited makes itself anew.
    again = technician.get(page, headers={"hx-request": "true"})
    assert again["HX-Refresh"] == "true"
    assert technician.post(f"{page}ticket/").status_code == 201


def test_another_customers_requests_are_not_there(scene, api_as):
    scene.rule()
    request = scene.ask()
    stranger = MembershipFactory().user
    client = Client()
    client.force_login(stranger)
    assert "It does not boot." not in client.get("/approvals/").content.decode()
    answer = client.post("/approvals/", {"request": request.pk, "decision": "1"})
    assert answer.status_code == 404
    answer = api_as(stranger).post(f"/api/v1/consents/{request.pk}/decide/", {"hours": 1})
    assert answer.status_code == 404


def test_over_the_api(scene, api_as):
    scene.rule()
    technician, approver = api_as(scene.technician), api_as(scene.approver)
    refused = technician.post(f"/api/v1/vms/{scene.vm.pk}/console/", {"kind": "vnc"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "consent_needed")
    assert technician.post(f"/api/v1/vms/{scene.vm.pk}/screen/").status_code == 403
    asked = technician.post(f"/api/v1/vms/{scene.vm.pk}/console/request/", {"reason": "Boot."})
    assert (asked.status_code, asked.json()["state"]) == (202, "waiting")
    address = f"/api/v1/consents/{asked.json()['id']}/"
    assert technician.post(f"{address}decide/", {"hours": 1}).status_code == 403
    assert approver.post(f"{address}decide/", {"hours": 3}).status_code == 400
    assert approver.post(f"{address}decide/", {"hours": 4}).json()["state"] == "approved"
    opened = technician.post(f"/api/v1/vms/{scene.vm.pk}/console/", {"kind": "vnc"})
    assert opened.status_code == 202
    assert approver.post(f"{address}end/").json()["state"] == "over"


def _approved():
    cache.clear()
    scene = Scene()
    scene.rule()
    scene.decide(request := scene.ask(), 1)
    return scene, request


@pytest.mark.django_db(transaction=True)
async def test_a_console_closes_when_its_approval_is_taken_back(portal):
    scene, request = await in_database(_approved)

    def end():
        with scope_of(scene.approver):
            consent_end(actor=Actor(user=scene.approver), request=request)

    async with FakeAgent(portal, scene.vm.hypervisor) as agent:
        await agent.open()
        async with console(portal, agent, scene.vm, scene.technician) as (page, _):
            await in_database(end)
            assert (await closed_with(page, seconds=1))[0] == 4403


@pytest.mark.django_db(transaction=True)
async def test_a_console_that_is_open_closes_when_a_rule_begins_to_hold(portal):
    scene = await in_database(Scene)
    async with FakeAgent(portal, scene.vm.hypervisor) as agent:
        await agent.open()
        async with (
            console(portal, agent, scene.vm, scene.technician) as (theirs, _),
            console(portal, agent, scene.vm, scene.operator) as (ours, guest),
        ):
            await in_database(scene.rule)
            assert (await closed_with(theirs, seconds=1))[0] == 4403
            await guest.send(b"still here")
            assert await ours.recv() == b"still here"
