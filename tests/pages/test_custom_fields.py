"""Fields of one's own on the pages of customers and sites, and an MSP's part of first boots."""

import pytest

from tests.factories import MembershipFactory


def test_fields_of_a_customer_are_saved_and_shown_again(as_technician, fleet):
    page = f"/c/{fleet.customer.slug}/"
    answer = as_technician.post(
        f"{page}fields/", {"fields-custom_fields": "vpn = 10.9.8.1\nrack = 7"}
    )
    assert answer.status_code == 302
    fleet.customer.refresh_from_db()
    assert fleet.customer.custom_fields == {"vpn": "10.9.8.1", "rack": "7"}
    assert "vpn = 10.9.8.1" in as_technician.get(page).content.decode()


def test_fields_of_a_site_are_saved(as_technician, fleet):
    as_technician.post(f"{fleet.site_page}fields/", {"fields-custom_fields": "rack = 7"})
    fleet.site.refresh_from_db()
    assert fleet.site.custom_fields == {"rack": "7"}


@pytest.mark.parametrize("typed", ["no mark", "Name = 1", "name = 1", f"a = {'x' * 501}"])
def test_a_refusal_keeps_what_was_typed(as_technician, fleet, typed):
    answer = as_technician.post(f"{fleet.site_page}fields/", {"fields-custom_fields": typed})
    assert answer.status_code == 422
    assert typed in answer.content.decode()
    fleet.site.refresh_from_db()
    assert fleet.site.custom_fields == {}


def test_the_msps_part_is_saved_and_no_customer_reads_it(as_technician, client, fleet):
    text = "#!/bin/sh\necho of-the-msp-alone\n"
    as_technician.post(f"/c/{fleet.msp.slug}/vendor-data/", {"vendor-vendor_data": text})
    fleet.msp.refresh_from_db()
    assert fleet.msp.vendor_data == text
    assert "of-the-msp-alone" in as_technician.get(f"/c/{fleet.msp.slug}/").content.decode()
    client.force_login(fleet.owner)
    for page in (f"/c/{fleet.customer.slug}/", "/vms/new/", fleet.vm_page):
        assert "of-the-msp-alone" not in client.get(page).content.decode()
    assert client.get(f"/c/{fleet.msp.slug}/").status_code == 404


def test_who_only_looks_changes_nothing(client, fleet):
    client.force_login(MembershipFactory(tenant=fleet.customer, role="customer-viewer").user)
    for page in (f"/c/{fleet.customer.slug}/fields/", f"{fleet.site_page}fields/"):
        assert client.post(page, {"fields-custom_fields": "a = 1"}).status_code == 404
    assert client.post(f"/c/{fleet.msp.slug}/vendor-data/", {}).status_code == 404
