"""A second person over pages and the API, as people meet it."""

import pytest
from django.contrib.messages import get_messages
from django.core import mail
from django.core.cache import cache
from django.test import Client

from hypervisors.models import Job
from tenants.models import SecondPersonRequest, SecondPersonRule
from tests.factories import MembershipFactory, MspFactory, VirtualMachineFactory
from tests.pages.conftest import fleet_of

pytestmark = pytest.mark.django_db
PAGE = "/approvals/second-person/"
API = "/api/v1/second-person/"


@pytest.fixture(autouse=True)
def _fresh_limits():
    cache.clear()


@pytest.fixture
def msp():
    return MspFactory(name="Northwind")


@pytest.fixture
def fleet(msp):
    fleet = fleet_of(msp, "alder")
    VirtualMachineFactory(hypervisor=fleet.host, network=fleet.network, name="db")
    SecondPersonRule.objects.create(tenant=fleet.customer)
    return fleet


@pytest.fixture
def second(fleet):
    return MembershipFactory(tenant=fleet.customer, user__name="Ben").user


def signed_in(user):
    client = Client()
    client.force_login(user)
    return client


def told(answer):
    return [str(message) for message in get_messages(answer.wsgi_request)]


def bulk(fleet, **more):
    chosen = [vm.id for vm in fleet.host.virtual_machines.all()]
    return {"action": "delete", "chosen": chosen, **more}


def test_many_are_asked_for_with_a_preview_agreed_to_and_deleted(fleet, second):
    asker, other = signed_in(fleet.owner), signed_in(second)
    preview = asker.post("/vms/bulk/delete/", bulk(fleet)).content.decode()
    assert "alder Ltd wants a second person to agree before 2 or more things" in preview
    assert "These can agree: Ben." in preview
    confirmed = {"confirmed": "yes", "count": "2"}
    refused = asker.post("/vms/bulk/delete/", bulk(fleet, **confirmed))
    assert refused.status_code == 422
    assert "Say in a few words why" in refused.content.decode()
    asked = asker.post("/vms/bulk/delete/", bulk(fleet, reason="We move.", **confirmed))
    assert asked.headers["Location"] == PAGE
    assert not Job.objects.exists()
    [message] = mail.outbox
    assert message.to == [second.email]
    assert "db (alder-host): is deleted with its disks (1 disk, 10 GiB)" in message.body
    assert "Take it back" in asker.get(PAGE).content.decode()
    shown = other.get("/").content.decode()
    assert 'data-testid="nav-count">1<' in shown
    assert 'data-testid="nav-count"' not in asker.get("/").content.decode()
    shown = other.get(PAGE).content.decode()
    assert "We move." in shown
    assert "is deleted with its disks (1 disk, 10 GiB)" in shown
    request = SecondPersonRequest.objects.get()
    agreed = other.post(PAGE, {"second": request.id, "decision": "agree", "word": "Fine."})
    assert told(agreed)[-1].startswith("2 VMs are being deleted.")
    assert {job.subject_name for job in Job.objects.all()} == {"alder-vm", "db"}
    assert mail.outbox[1].to == [fleet.owner.email]
    assert "Fine." in mail.outbox[1].body
    # A second time does nothing.
    again = other.post(PAGE, {"second": request.id, "decision": "agree"})
    assert "done already" in told(again)[-1]
    assert Job.objects.count() == 2


def test_rows_that_need_nobody_are_done_at_once(fleet, second, msp):
    birch = fleet_of(msp, "birch")
    technician = signed_in(MembershipFactory(tenant=msp, role="msp-owner").user)
    chosen = [fleet.vm.id, fleet.host.virtual_machines.get(name="db").id, birch.vm.id]
    wish = {"action": "delete", "chosen": chosen}
    preview = technician.post("/vms/bulk/delete/", wish).content.decode()
    assert "2 of the 3 need it; the others are done at once" in preview
    technician.post("/vms/bulk/delete/", {**wish, "confirmed": "y", "count": "3", "reason": "x"})
    assert [job.subject_name for job in Job.objects.all()] == ["birch-vm"]
    assert len(SecondPersonRequest.objects.get().things) == 2


def test_one_alone_leads_from_its_page_to_asking(fleet, second):
    SecondPersonRule.objects.update(threshold=1)
    client = signed_in(fleet.owner)
    refused = client.post(
        f"{fleet.vm_page}delete/", {"delete-name": "alder-vm", "delete-disks": "keep"}
    )
    assert refused.status_code == 302
    ask = client.get(refused.headers["Location"])
    assert "its disks stay on the host" in ask.content.decode()
    wish = {"kind": "vm.delete", "row": fleet.vm.id, "option": "keep", "reason": "Old."}
    assert client.post(f"{PAGE}ask/", wish).headers["Location"] == PAGE
    assert SecondPersonRequest.objects.get().option == "keep"
    for action in ("stop", "reset"):
        assert "/ask/" in client.post(f"{fleet.vm_page}power/{action}/").headers["Location"]
    assert not Job.objects.exists()


def test_what_is_not_there_or_not_theirs_can_not_be_asked_for(fleet, msp):
    birch = fleet_of(msp, "birch")
    client = signed_in(fleet.owner)
    for kind, row in (
        ("vm.delete", birch.vm.id),
        ("vm.delete", fleet.host.id),
        ("hypervisor.remove", fleet.host.id),
        ("vm.explode", fleet.vm.id),
        ("vm.delete", "x"),
    ):
        wish = {"kind": kind, "row": row, "reason": "x"}
        assert client.get(f"{PAGE}ask/", wish).status_code == 404
        assert client.post(f"{PAGE}ask/", wish).status_code == 404
    assert (
        client.get(
            f"{PAGE}ask/", {"kind": "vm.delete", "row": fleet.vm.id, "option": "x"}
        ).status_code
        == 404
    )


def test_another_tenants_people_find_nothing(fleet, second, msp, api_as):
    birch = fleet_of(msp, "birch")
    signed_in(fleet.owner).post(
        "/vms/bulk/delete/", bulk(fleet, confirmed="y", count="2", reason="We move.")
    )
    request = SecondPersonRequest.objects.get()
    stranger = signed_in(birch.owner)
    assert "We move." not in stranger.get(PAGE).content.decode()
    answer = stranger.post(PAGE, {"second": request.id, "decision": "agree"})
    assert answer.status_code == 404
    client = api_as(birch.owner)
    assert client.get(f"{API}{request.id}/").status_code == 404
    assert client.post(f"{API}{request.id}/decide/", {"agree": True}).status_code == 404
    assert client.get(API).json()["results"] == []
    assert not Job.objects.exists()


def test_who_asked_can_not_agree_by_a_token_either(fleet, second, api_as):
    ids = [str(vm.id) for vm in fleet.host.virtual_machines.all()]
    asker, other = api_as(fleet.owner), api_as(second)
    assert asker.delete(f"/api/v1/vms/{ids[0]}/").status_code == 202
    refused = asker.delete(f"/api/v1/vms/{ids[1]}/")
    assert refused.status_code == 409
    error = refused.json()["error"]
    assert error["code"] == "second_person_needed"
    assert "POST to /api/v1/second-person/" in error["message"]
    asked = asker.post(API, {"kind": "vm.delete", "rows": ids[1:], "reason": "Old."}, "json")
    assert asked.status_code == 202, asked.content
    [request] = asked.json()
    decide = f"{API}{request['id']}/decide/"
    mine = asker.post(decide, {"agree": True}, "json")
    assert (mine.status_code, mine.json()["error"]["code"]) == (409, "not_the_second_person")
    done = other.post(decide, {"agree": True}, "json").json()
    assert (done["state"], done["second_person"]) == ("done", "Ben")
    assert done["things"][0]["outcome"] == "done"
    assert Job.objects.count() == 2


def test_rows_of_others_among_ones_own_are_like_none_at_all(fleet, second, msp, api_as):
    birch = fleet_of(msp, "birch")
    client = api_as(fleet.owner)
    for other in (birch.vm.id, birch.host.id):
        wish = {"kind": "vm.delete", "rows": [str(fleet.vm.id), str(other)], "reason": "x"}
        assert client.post(API, wish, "json").status_code == 404
    assert not SecondPersonRequest.objects.exists()


def test_the_rule_is_set_and_loosened_over_pages_and_the_api(fleet, second, api_as):
    client = signed_in(fleet.owner)
    rules = f"{PAGE}rules/"
    tenant = fleet.customer.id
    assert "from 2 things on" in client.get(PAGE).content.decode()
    client.post(rules, {"tenant": tenant, "threshold": "1"})
    assert SecondPersonRule.objects.get().threshold == 1
    answer = client.post(rules, {"tenant": tenant, "wanted": "no"})
    assert "second_person.loosen" in answer.headers["Location"]
    assert "one person is enough" in client.get(answer.headers["Location"]).content.decode()
    for wrong in ("", "0", "101", "x", "²"):
        answer = client.post(rules, {"tenant": tenant, "threshold": wrong})
        assert "Choose a number from 1 to 100." in told(answer)[-1]
    api, address = api_as(fleet.owner), f"/api/v1/tenants/{tenant}/second-person/"
    assert api.get(address).json() == {"threshold": 1}
    refused = api.put(address, {"threshold": None}, "json")
    assert refused.json()["error"]["code"] == "second_person_needed"
    technician = api_as(MembershipFactory(tenant=fleet.msp, role="msp-owner").user)
    answer = technician.put(address, {"threshold": 1}, "json")
    assert answer.json()["error"]["code"] == "not_of_the_house"


def test_whose_role_can_not_ask_is_told_what_to_do(fleet, second):
    from tenants.models import Role

    SecondPersonRule.objects.update(threshold=1)
    role = Role.objects.create(
        tenant=fleet.customer, slug="d", name="D", permissions=["vm.view", "vm.delete"]
    )
    client = signed_in(MembershipFactory(tenant=fleet.customer, role=role).user)
    answer = client.post(
        f"{fleet.vm_page}delete/", {"delete-name": "alder-vm", "delete-disks": "delete"}
    )
    assert "ask a colleague" in told(answer)[-1]
    assert client.get(PAGE).status_code == 403
    assert not Job.objects.exists()
