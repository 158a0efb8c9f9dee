"""Looking at the portal as somebody else sees it."""

from datetime import timedelta

import pytest
from django.utils import timezone

from tenants.models import ApiToken, AuditEvent
from tenants.services.see_as import SESSION_KEY
from tests.factories import MembershipFactory, UserFactory, deny, grant

pytestmark = pytest.mark.django_db


def start(client, user):
    return client.post(f"/people/{user.id}/see-as/", follow=True)


@pytest.fixture
def looking(as_technician, fleet, others):
    """A technician, who looks as the owner of one customer."""
    answer = start(as_technician, fleet.owner)
    assert "You see the portal as" in answer.content.decode()
    return as_technician


def test_pages_are_those_of_the_other(looking, fleet):
    text = looking.get("/vms/").content.decode()
    assert "alder-vm" in text
    assert "birch" not in text
    assert looking.get("/api/v1/vms/").json()["results"][0]["name"] == "alder-vm"
    assert looking.get(fleet.vm_page).status_code == 200


def test_stopping_gives_ones_own_eyes_back(looking):
    looking.post("/see-as/stop/")
    text = looking.get("/vms/").content.decode()
    assert "birch-vm" in text
    assert "You see the portal as" not in text


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
def test_nothing_is_changed(looking, fleet, method):
    for address in (f"{fleet.vm_page}power/stop/", "/me/", "/account/logout/"):
        answer = getattr(looking, method)(address)
        assert answer.status_code == 403
        assert "change nothing" in answer.content.decode()
    answer = getattr(looking, method)(f"/api/v1/vms/{fleet.vm.id}/")
    assert answer.status_code == 403
    assert answer.json()["error"]["code"] == "see_as"


def test_a_part_of_a_page_is_told_above_the_page(looking, fleet):
    answer = looking.post(f"{fleet.vm_page}power/stop/", headers={"hx-request": "true"})
    assert (answer.status_code, answer["HX-Retarget"]) == (422, "#messages")
    assert "change nothing" in answer.content.decode()


@pytest.mark.parametrize("address", ["/me/", "/account/password/change/", "console"])
def test_secrets_and_consoles_are_not_shown(looking, fleet, address):
    answer = looking.get(f"{fleet.vm_page}console/" if address == "console" else address)
    assert answer.status_code == 403
    assert "alone" in answer.content.decode()


def test_nobody_begins_again_from_there(looking, msp):
    other = MembershipFactory(tenant=msp, role="msp-read-only").user
    assert start(looking, other).status_code == 403


def test_start_and_stop_are_written_down_with_who_it_was(looking, technician, fleet):
    looking.post("/see-as/stop/")
    events = AuditEvent.objects.filter(action__startswith="see_as").order_by("created_at")
    assert [(event.action, event.actor) for event in events] == [
        ("see_as.start", technician),
        ("see_as.stop", technician),
    ]
    assert {event.object_id for event in events} == {fleet.owner.id}
    assert {event.tenant for event in events} == {fleet.customer}


def test_it_ends_by_itself(looking, fleet):
    session = looking.session
    session[SESSION_KEY] |= {"until": (timezone.now() - timedelta(seconds=1)).isoformat()}
    session.save()
    text = looking.get("/vms/").content.decode()
    assert "Half an hour is over" in text
    assert "birch-vm" in text
    assert "Half an hour" not in looking.get("/vms/").content.decode()
    event = AuditEvent.objects.get(action="see_as.stop")
    assert "Half an hour" in event.after["why"]


def test_what_was_sent_when_it_ended_is_not_done_as_oneself(looking, fleet):
    session = looking.session
    session[SESSION_KEY] |= {"until": (timezone.now() - timedelta(seconds=1)).isoformat()}
    session.save()
    assert looking.post(f"{fleet.vm_page}power/stop/").status_code == 403


def test_it_ends_when_the_viewer_loses_the_right(looking, technician):
    technician.memberships.all().delete()
    text = looking.get("/").content.decode()
    assert "You see the portal as" not in text
    assert AuditEvent.objects.filter(action="see_as.stop").exists()


def test_an_api_token_goes_on_as_its_owner(looking, technician, others):
    from tenants.services.people import api_token_create

    _, secret = api_token_create(user=technician, name="script")
    answer = looking.get("/api/v1/vms/", headers={"authorization": f"Bearer {secret}"})
    assert {vm["name"] for vm in answer.json()["results"]} == {"alder-vm", "birch-vm"}
    assert ApiToken.objects.count() == 1


# ------------------------------------------------------------------ who may look as whom


def refused(client, user) -> str:
    answer = start(client, user)
    text = answer.content.decode()
    assert "see-as-stop" not in text
    return text


def test_nobody_looks_upward(as_customer, fleet):
    above = MembershipFactory(tenant=fleet.customer, role="msp-owner").user
    assert "Nobody looks upward" in refused(as_customer, above)


def test_nor_as_who_has_access_elsewhere(as_customer, fleet, others):
    user = MembershipFactory(tenant=fleet.customer, role="customer-viewer").user
    grant(user, others.vm)
    assert "everywhere" in refused(as_customer, user)


def test_nor_as_who_sees_what_is_kept_from_oneself(as_technician, technician, msp, fleet):
    user = MembershipFactory(tenant=msp, role="msp-read-only").user
    rule = deny(technician, fleet.vm)
    assert "Nobody looks upward" in refused(as_technician, user)
    deny(user, fleet.vm)
    assert "You see the portal as" in start(as_technician, user).content.decode()
    assert rule.user == technician


def test_nor_as_oneself_a_closed_account_or_a_stranger(as_technician, technician, fleet):
    assert "as yourself already" in refused(as_technician, technician)
    fleet.owner.is_active = False
    fleet.owner.save()
    assert "closed" in refused(as_technician, fleet.owner)
    assert start(as_technician, UserFactory()).status_code == 404


def test_who_may_not_manage_people_may_not_look(client, msp, fleet):
    client.force_login(MembershipFactory(tenant=msp, role="msp-technician").user)
    assert start(client, fleet.owner).status_code == 404
