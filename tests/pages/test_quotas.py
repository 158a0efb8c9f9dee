"""Quotas on the pages: who sees which bars, who sets them, and what the list shows."""

import csv
import io

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tenants.actor import SYSTEM
from tests.factories import CustomerFactory, MembershipFactory, VirtualMachineFactory, grant
from tests.pages.conftest import fleet_of
from vms.models import Quota, VirtualMachine
from vms.services.quota_settings import quota_set


def limit(tenant, site=None, **limits):
    return quota_set(actor=SYSTEM, tenant=tenant, site=site, limits=limits)


def text_of(answer):
    assert answer.status_code == 200
    return answer.content.decode()


def names(answer):
    return [row.record.name for row in answer.context["table"].page.object_list]


def test_the_empty_list_teaches_and_has_the_button_for_who_may(client, fleet, technician):
    client.force_login(technician)
    text = text_of(client.get("/quotas/"))
    assert "No quota yet" in text
    assert 'href="/quotas/new/"' in text
    client.force_login(fleet.owner)
    text = text_of(client.get("/quotas/"))
    assert "No quota yet" in text
    assert "/quotas/new/" not in text


def test_a_quota_is_set_from_the_customers_page_and_shown_there_as_bars(as_technician, fleet):
    page = f"/c/{fleet.customer.slug}/"
    assert f"/quotas/new/?of=tenant:{fleet.customer.id}" in text_of(as_technician.get(page))
    of = f"tenant:{fleet.customer.id}"
    assert f'value="{of}" selected' in text_of(as_technician.get(f"/quotas/new/?of={of}"))
    values = {"of": of, "vms": 5, "memory_gib": "1.25", "disk_gib": "", "vcpus": ""}
    answer = as_technician.post("/quotas/new/", values)
    assert answer.headers["Location"] == page
    assert Quota.objects.get().limits == {
        "vms": 5, "vcpus": None, "memory_mib": 1280, "disk_gib": None, "snapshots": None,
    }  # fmt: skip
    text = text_of(as_technician.get(page))
    assert "1 of 5" in text
    assert "1 GiB of 1.25 GiB" in text
    assert "Nearly full" in text
    assert "quota-dialog" in text


def test_the_quota_of_a_site_is_changed_and_removed(as_technician, fleet):
    quota = limit(fleet.customer, fleet.site, vms=1)
    assert "Full" in text_of(as_technician.get(fleet.site_page))
    answer = as_technician.post(f"/quotas/{quota.id}/", {"vcpus": 3, "snapshots": 2})
    assert answer.headers["Location"] == fleet.site_page
    quota.refresh_from_db()
    assert (quota.vms, quota.vcpus, quota.snapshots) == (None, 3, 2)
    answer = as_technician.post(f"/quotas/{quota.id}/remove/", follow=True)
    assert "has no quota any more" in text_of(answer)
    assert not Quota.objects.exists()


@pytest.mark.parametrize("memory_mib", [1, 1200, 3 * 1024 * 1024, 5])
def test_the_form_gives_memory_back_as_it_was(as_technician, fleet, memory_mib):
    quota = limit(fleet.customer, memory_mib=memory_mib)
    page = as_technician.get(f"/quotas/{quota.id}/")
    shown = page.context["form"]["memory_gib"].value()
    answer = as_technician.post(f"/quotas/{quota.id}/", {"memory_gib": shown})
    assert answer.status_code == 302
    quota.refresh_from_db()
    assert quota.memory_mib == memory_mib


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, "give at least one number"),
        ({"vms": "-1"}, "greater than or equal to 0"),
        ({"vms": "many"}, "whole number"),
        ({"memory_gib": "NaN"}, "Enter a number"),
        ({"disk_gib": "9" * 30}, "less than or equal to"),
    ],
)
def test_a_quota_of_nothing_or_nonsense_is_refused_on_the_page(as_technician, fleet, values, words):
    quota = limit(fleet.customer, vms=4)
    answer = as_technician.post(f"/quotas/{quota.id}/", values)
    assert answer.status_code == 422
    assert words in answer.content.decode()
    answer = as_technician.post("/quotas/new/", {"of": f"site:{fleet.site.id}", **values})
    assert answer.status_code == 422
    assert words in answer.content.decode()
    assert Quota.objects.get().vms == 4


def test_less_than_there_is_says_that_nothing_is_taken_away(as_technician, fleet):
    limit(fleet.customer, vcpus=0)
    text = text_of(as_technician.get(f"/c/{fleet.customer.slug}/"))
    assert "1 of 0" in text
    assert "1 more than the quota" in text
    assert "Nothing is taken away" in text
    assert VirtualMachine.objects.count() == 1


def test_a_customer_sees_its_own_quotas_and_sets_none(client, fleet, others):
    limit(fleet.msp, vms=77)
    own = limit(fleet.customer, vms=33)
    limit(others.customer, vms=55)
    client.force_login(fleet.owner)
    for address in ("/quotas/", f"/c/{fleet.customer.slug}/"):
        text = text_of(client.get(address))
        assert "1 of 33" in text
        assert "of 77" not in text
        assert "of 55" not in text
        assert "quota-edit" not in text
        assert "Change…" not in text
    assert client.get("/quotas/new/").status_code == 403
    assert client.get(f"/quotas/{own.id}/").status_code == 404
    assert client.post(f"/quotas/{own.id}/", {"vms": 99}).status_code == 404
    assert Quota.objects.get(pk=own.pk).vms == 33


def test_another_msps_quota_is_like_none_at_all(client, fleet):
    theirs = limit(CustomerFactory(), vms=3)
    client.force_login(MembershipFactory(tenant=fleet.msp, role="msp-owner").user)
    for address in (f"/quotas/{theirs.id}/", f"/quotas/{fleet.vm.id}/"):
        assert client.get(address).status_code == 404
        assert client.post(address, {"vms": 99}).status_code == 404
        assert client.post(f"{address}remove/").status_code == 404
    of = f"tenant:{theirs.tenant_id}"
    answer = client.post("/quotas/new/", {"of": of, "vms": 1})
    assert answer.status_code == 422
    assert theirs.tenant.name not in answer.content.decode()


def test_who_was_given_one_site_alone_sees_its_quota_and_not_its_customers(client, fleet):
    limit(fleet.customer, vms=33)
    limit(fleet.customer, fleet.site, vms=22)
    user = MembershipFactory().user
    grant(user, fleet.site, role="customer-administrator")
    client.force_login(user)
    for address in ("/quotas/", fleet.site_page, "/vms/new/"):
        text = text_of(client.get(address))
        assert "1 of 22" in text
        assert "of 33" not in text


def test_the_list_filters_sorts_and_goes_home_as_csv(as_technician, fleet, others):
    limit(fleet.msp, vms=100)
    limit(fleet.customer, vms=1, memory_mib=2048)
    limit(others.customer, vms=9, vcpus=4)
    limit(others.customer, others.site, disk_gib=12)
    page = "/quotas/"
    of = f"{page}?sort=of"
    assert names(as_technician.get(of)) == ["Northwind", "alder Ltd", "birch office", "birch Ltd"]
    assert names(as_technician.get(f"{page}?q=birch")) == ["birch office", "birch Ltd"]
    assert names(as_technician.get(f"{page}?what=site")) == ["birch office"]
    assert names(as_technician.get(f"{page}?customer=alder-ltd")) == ["alder Ltd"]
    assert names(as_technician.get(f"{page}?state=full")) == ["alder Ltd"]
    assert names(as_technician.get(f"{page}?state=nearly")) == ["alder Ltd", "birch office"]
    assert names(as_technician.get(f"{page}?sort=-vms"))[0] == "Northwind"
    answer = as_technician.get(f"{page}?format=csv&sort=vms")
    rows = list(csv.DictReader(io.StringIO(b"".join(answer.streaming_content).decode())))
    assert rows[0]["customer"] == "alder Ltd"
    assert (rows[0]["vms_limit"], rows[0]["vms_used"]) == ("1", "1")
    assert (rows[0]["vcpus_limit"], rows[0]["memory_mib_used"]) == ("", "1024")
    assert rows[2]["vms_used"] == "2"


def quotas_of_many(msp, *used):
    """One customer with a quota for each of these: so many vCPUs in use of ten."""
    for number, vcpus in enumerate(used):
        more = fleet_of(msp, f"more{number:02}")
        VirtualMachine.objects.filter(tenant=more.customer).update(vcpus=vcpus)
        limit(more.customer, vcpus=10, vms=1000)


def test_the_fullest_come_first_by_the_fullest_of_what_they_limit(as_technician, fleet, others):
    limit(fleet.customer, vms=4, memory_mib=1)
    limit(others.customer, vms=0)
    limit(others.customer, others.site, vms=1000, vcpus=1)
    quotas_of_many(fleet.msp, 5, 3, 5)
    first = ["alder Ltd", "birch Ltd", "birch office"]
    rest = ["more00 Ltd", "more02 Ltd", "more01 Ltd"]
    assert names(as_technician.get("/quotas/")) == first + rest
    assert names(as_technician.get("/quotas/?sort=-state&sort=of")) == first + rest
    assert names(as_technician.get("/quotas/?sort=state"))[0] == "more01 Ltd"
    answer = as_technician.get("/quotas/?format=csv")
    rows = csv.DictReader(io.StringIO(b"".join(answer.streaming_content).decode()))
    assert [row["customer"] for row in rows][3:] == rest


def test_pages_of_the_fullest_go_on_from_the_last_row_seen(as_technician, fleet, monkeypatch):
    monkeypatch.setattr("portal.views.lists.PER_PAGE", 2)
    quotas_of_many(fleet.msp, 9, 2, 9, 9, 2)
    seen, address, back = [], "/quotas/?", ""
    while address:
        answer = as_technician.get(address)
        seen.append(names(answer))
        keyset = answer.context["table"].page.keyset
        back, address = keyset.previous, keyset.next and f"/quotas/?cursor={keyset.next}"
    assert seen == [["more00 Ltd", "more02 Ltd"], ["more03 Ltd", "more01 Ltd"], ["more04 Ltd"]]
    assert names(as_technician.get(f"/quotas/?cursor={back}")) == seen[1]


@pytest.mark.parametrize(
    "address", ["/quotas/", "/quotas/?format=csv", "/quotas/?state=nearly", "/quotas/new/"]
)
def test_the_number_of_queries_does_not_grow_with_the_quotas(as_technician, fleet, address):
    def queries():
        with CaptureQueriesContext(connection) as captured:
            answer = as_technician.get(address)
            if answer.streaming:
                b"".join(answer.streaming_content)
        assert answer.status_code == 200
        return len(captured)

    limit(fleet.customer, vms=1)
    queries()
    few = queries()
    for number in range(5):
        more = fleet_of(fleet.msp, f"more{number}")
        limit(more.customer, vms=1)
        limit(more.customer, more.site, vms=1)
    queries()
    assert queries() <= few


def test_the_form_for_a_vm_shows_what_its_quotas_leave(as_technician, fleet):
    assert "quota-room" not in text_of(as_technician.get("/vms/new/"))
    limit(fleet.customer, vms=7)
    limit(fleet.msp, vcpus=40)
    text = text_of(as_technician.get(f"/vms/new/?host={fleet.host.id}"))
    assert "1 of 7" in text
    assert "1 of 40" in text
    assert "quota-room" in text_of(as_technician.get(fleet.vm_page))


def test_a_creation_and_a_resize_beyond_a_quota_are_told_beside_their_fields(as_technician, fleet):
    limit(fleet.customer, memory_mib=1024, vcpus=2)
    wish = {
        "place": f"host:{fleet.host.id}", "name": "new", "image": str(fleet.image.id),
        "size": "small", "network": str(fleet.network.id), "username": "maria",
        "password": "staple-battery-7", "firmware": "bios",
    }  # fmt: skip
    answer = as_technician.post("/vms/new/", wish)
    assert answer.status_code == 422
    assert answer.context["form"].errors["memory_gib"][0] == (
        "The quota of alder Ltd allows 1 GiB of memory: 1 GiB in use, 1 GiB more asked for, "
        "0 GiB left. Ask for less, give back what is not needed, or ask Northwind to raise the "
        "quota."
    )
    off = VirtualMachineFactory(
        hypervisor=fleet.host, network=fleet.network, name="sleeper", observed_power="off"
    )
    [disk] = off.disks.all()
    answer = as_technician.post(
        f"/c/{fleet.customer.slug}/vms/sleeper/resize/",
        {"resize-vcpus": 4, "resize-memory_gib": 1, f"resize-disk_{disk.id}": 10},
    )
    assert answer.status_code == 422
    assert "allows 2 vCPUs" in answer.context["resize"].errors["vcpus"][0]


def test_a_move_beyond_a_groups_quota_is_told_beside_its_field(as_technician, fleet):
    group = CustomerFactory(parent=fleet.msp, kind="group", name="Bakers", slug="bakers")
    limit(group, vms=0)
    answer = as_technician.post(f"/c/{fleet.customer.slug}/move/", {"move-parent": group.slug})
    assert answer.status_code == 422
    assert "The quota of Bakers allows 0 VMs" in answer.context["move"].errors["parent"][0]
