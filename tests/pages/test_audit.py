"""The pages of the audit log, and who sees what on them."""

import csv
import io
import json
from datetime import timedelta

import pytest
from django.utils import timezone

from tenants.actor import SYSTEM, Actor
from tenants.models import AuditEvent, AuditVerification
from tenants.services.audit import audit_record
from tests.factories import MembershipFactory


def record(tenant, actor=SYSTEM, *, action="vm.start", name="a thing", **more):
    return audit_record(
        actor=actor, tenant=tenant, action=action, object_kind="vm",
        object_id=more.pop("object_id", None), object_name=name, **more,
    )  # fmt: skip


def names(client, query=""):
    page = client.get(f"/audit/?{query}")
    assert page.status_code == 200
    return [row.record.object_name for row in page.context["table"].page.object_list]


@pytest.fixture
def technician(fleet):
    return MembershipFactory(tenant=fleet.msp, role="msp-technician").user


def test_a_customer_sees_what_was_done_to_its_own_things_and_by_whom(
    as_customer, fleet, others, technician
):
    record(fleet.customer, Actor(user=technician, ip="198.51.100.7"), name="ours")
    record(others.customer, Actor(user=technician, ip="198.51.100.7"), name="theirs")
    record(fleet.msp, Actor(user=technician), name="the MSP's own")
    assert names(as_customer) == ["ours"]
    text = as_customer.get("/audit/").content.decode()
    assert technician.email in text
    # By whom, but not from where its MSP's technicians work.
    assert "198.51.100.7" not in text
    assert names(as_customer, "address=198.51.100") == []


def test_the_msp_sees_all_with_addresses_and_one_sees_ones_own(as_technician, fleet, technician):
    record(fleet.customer, Actor(user=technician, ip="198.51.100.7"), name="by the MSP")
    record(fleet.customer, Actor(user=fleet.owner, ip="203.0.113.9"), name="by the customer")
    assert names(as_technician, "address=198.51.100.7") == ["by the MSP"]
    assert names(as_technician, "address=203.0.113.9") == ["by the customer"]
    as_technician.force_login(fleet.owner)
    assert names(as_technician, "address=203.0.113.9") == ["by the customer"]
    assert names(as_technician, "address=198.51.100.7") == []


def test_who_may_not_read_the_log_gets_none_of_it(client, fleet):
    viewer = MembershipFactory(tenant=fleet.customer, role="customer-viewer").user
    event = record(fleet.customer)
    client.force_login(viewer)
    assert client.get(f"/audit/{event.id}/").status_code == 404
    assert names(client) == []
    assert 'data-testid="audit-rows"' not in client.get(fleet.vm_page).content.decode()
    assert 'href="/audit/"' not in client.get("/").content.decode()


def test_every_filter_finds_its_own(as_technician, fleet, others, technician):
    early = record(fleet.customer, name="early")
    # Nobody can write yesterday's event, so to-day is looked at from tomorrow.
    one = record(
        fleet.customer, Actor(user=technician), name="one", action="vm.stop",
        site_id=fleet.site.id, object_id=fleet.vm.id,
    )  # fmt: skip
    record(others.customer, name="another")
    day = timezone.now().date()
    tomorrow, yesterday = day + timedelta(days=1), day - timedelta(days=1)
    assert names(as_technician, f"customer={others.customer.slug}") == ["another"]
    assert names(as_technician, f"site={fleet.site.id}") == ["one"]
    assert names(as_technician, "action=vm.stop") == ["one"]
    assert names(as_technician, "kind=network") == []
    assert names(as_technician, f"person={technician.email[:9]}") == ["one"]
    assert names(as_technician, f"object={fleet.vm.id}") == ["one"]
    assert names(as_technician, "q=EARL") == ["early"]
    assert names(as_technician, f"since={tomorrow}") == names(as_technician, f"until={yesterday}")
    assert set(names(as_technician, f"since={day}&until={day}")) == {"early", "one", "another"}
    assert early.created_at < one.created_at


def test_an_event_shows_what_was_before_beside_what_was_after(as_customer, fleet):
    event = record(
        fleet.customer, Actor(user=fleet.owner), action="vm.resize", name=fleet.vm.name,
        object_id=fleet.vm.id, before={"vcpus": 1, "disks": [10]},
        after={"vcpus": 2, "disks": [10, 20]},
    )  # fmt: skip
    page = as_customer.get(f"/audit/{event.id}/")
    found = {row["name"]: (row["before"], row["after"]) for row in page.context["values"]}
    assert found == {"vcpus": ("1", "2"), "disks": ("10", "10, 20")}
    assert f'href="{fleet.vm_page}"' in page.content.decode()


def test_what_people_call_things_is_never_markup(as_customer, fleet):
    event = record(fleet.customer, name="<script>alert(1)</script>", after={"<b>": "<img src=x>"})
    for address in ("/audit/", f"/audit/{event.id}/"):
        text = as_customer.get(address).content.decode()
        assert "<script>alert(1)" not in text
        assert "<img src=x>" not in text


def test_the_list_goes_home_as_csv_and_as_json_lines_and_that_is_an_event(as_customer, fleet):
    record(fleet.customer, Actor(user=fleet.owner, ip="203.0.113.9"), name="=1+1", after={"a": 1})
    answer = as_customer.get("/audit/?format=csv&q=1%2B1")
    [row] = csv.DictReader(io.StringIO(b"".join(answer.streaming_content).decode()))
    assert (row["name"], row["after"], row["from"]) == ("'=1+1", '{"a": 1}', "203.0.113.9")
    answer = as_customer.get("/audit/?format=jsonl&q=1%2B1")
    assert answer["Content-Disposition"].endswith('.jsonl"')
    [line] = b"".join(answer.streaming_content).decode().splitlines()
    assert json.loads(line)["after"] == {"a": 1}
    exports = AuditEvent.objects.filter(action="list.export")
    assert [event.after for event in exports.order_by("created_at")] == [
        {"format": "CSV", "q": "1+1"},
        {"format": "JSON", "q": "1+1"},
    ]


def test_things_show_their_last_events(as_customer, fleet):
    record(fleet.customer, Actor(user=fleet.owner), object_id=fleet.vm.id, name=fleet.vm.name)
    record(fleet.customer, Actor(user=fleet.owner), object_id=fleet.host.id, action="host.x")
    for address, query in (
        (fleet.vm_page, f"object={fleet.vm.id}"),
        (fleet.host_page, f"object={fleet.host.id}"),
        (f"/c/{fleet.customer.slug}/", f"customer={fleet.customer.slug}"),
    ):
        text = as_customer.get(address).content.decode()
        assert f'href="/audit/?{query}"' in text
        assert fleet.owner.email in text


def test_only_those_who_read_all_of_it_are_told_whether_the_log_is_unbroken(as_technician, fleet):
    AuditVerification.objects.create(
        chain_id=fleet.msp.id, name=fleet.msp.name, events=12345, seq=12345
    )
    record(fleet.customer)
    assert "verified until event 12,345" in as_technician.get("/audit/").content.decode()
    AuditVerification.objects.update(problem="Event 7 was deleted.", seq=6)
    text = as_technician.get("/audit/").content.decode()
    assert "was tampered with" in text
    assert "Event 7 was deleted." in text
    as_technician.force_login(fleet.owner)
    assert "Event 7" not in as_technician.get("/audit/").content.decode()


def test_the_list_costs_the_same_for_any_number_of_events(
    as_technician, fleet, django_assert_max_num_queries
):
    for number in range(60):
        record(fleet.customer, name=f"thing {number}")
    as_technician.get("/audit/")
    with django_assert_max_num_queries(25):
        page = as_technician.get("/audit/")
    assert len(page.context["table"].page.object_list) == 50
