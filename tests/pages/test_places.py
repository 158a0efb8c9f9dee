"""Customers, sites, hosts, networks, images, account: making and changing them."""

import re

import pytest

from hypervisors.models import Hypervisor, JoinToken, Network
from tenants.models import ApiToken, Site, Tenant
from tests.factories import MembershipFactory
from vms.models import Image

SHA = "a" * 64


def test_a_new_msp_is_led_from_customer_to_site_to_host(client, msp):
    client.force_login(MembershipFactory(tenant=msp, role="msp-owner").user)
    assert "Add customer" in client.get("/").content.decode()
    answer = client.post("/customers/new/", {"name": "Alder Dental", "parent": str(msp.id)})
    assert answer["Location"] == "/c/alder-dental/"
    answer = client.post(
        "/sites/new/",
        {"tenant": "alder-dental", "name": "Head office", "time_zone": "Europe/Berlin"},
    )
    assert answer["Location"] == "/c/alder-dental/sites/head-office/"
    assert "No host has joined yet" in client.get(answer["Location"]).content.decode()
    assert Site.objects.get().tenant == Tenant.objects.get(slug="alder-dental")


def test_a_name_twice_is_said_beside_it(as_technician, msp, fleet):
    answer = as_technician.post(
        "/customers/new/", {"name": fleet.customer.name, "parent": str(msp.id)}
    )
    assert answer.status_code == 422
    assert "already" in answer.context["form"].errors["name"][0]


def test_a_site_cant_be_made_for_somebody_elses_customer(client, fleet, others):
    manager = MembershipFactory(tenant=fleet.customer, role="msp-technician").user
    client.force_login(manager)
    answer = client.post(
        "/sites/new/", {"tenant": others.customer.slug, "name": "x", "time_zone": "UTC"}
    )
    assert answer.status_code == 422
    assert answer.context["form"].errors["tenant"]


def test_the_join_command_is_shown_once_and_its_token_can_be_revoked(as_technician, fleet):
    answer = as_technician.post(
        f"{fleet.site_page}join-tokens/", {"join-max_uses": "2", "join-hours": "24"}
    )
    command = answer.context["command"]
    assert re.search(r"curl -fsSL http\S+/install \| sh -s -- bj_\S+", command)
    token = JoinToken.objects.get()
    assert token.max_uses == 2
    secret = command.split()[-1]
    again = as_technician.get(fleet.site_page).content.decode()
    assert secret not in again
    assert str(token) in again
    as_technician.post(f"{fleet.site_page}join-tokens/{token.id}/revoke/")
    token.refresh_from_db()
    assert token.revoked_at


def test_a_customers_administrator_makes_no_join_token(as_customer, fleet):
    assert b'data-testid="add-host"' not in as_customer.get(fleet.site_page).content
    assert as_customer.post(f"{fleet.site_page}join-tokens/").status_code == 404


def test_networks_are_added_and_removed(as_technician, fleet):
    nat = {"name": "lab", "kind": "nat", "subnet": "10.99.0.0/24", "mtu": "1500"}
    assert as_technician.post(f"{fleet.host_page}networks/", nat).status_code == 302
    network = Network.objects.get(name="lab")
    assert (network.gateway, network.addressing) == ("10.99.0.1", "portal")
    bridge = {
        "name": "lan",
        "kind": "bridge",
        "bridge": "br0",
        "addressing": "site",
        "mtu": "1500",
    }
    assert as_technician.post(f"{fleet.host_page}networks/", bridge).status_code == 302
    as_technician.post(f"{fleet.host_page}networks/{network.id}/remove/")
    assert not Network.objects.filter(name="lab").exists()


def test_a_wrong_network_is_refused_beside_its_field(as_technician, fleet):
    wrong = {"name": "lab", "kind": "nat", "subnet": "nonsense", "mtu": "1500"}
    answer = as_technician.post(f"{fleet.host_page}networks/", wrong)
    assert answer.status_code == 422
    assert answer.context["network"].errors["subnet"]
    assert 'id="network-dialog"' in answer.content.decode()


def test_a_host_with_vms_cant_be_removed_and_an_empty_one_can(as_technician, fleet):
    typed = {"remove-name": fleet.host.name}
    answer = as_technician.post(f"{fleet.host_page}remove/", typed)
    assert answer.status_code == 422
    assert "Delete them first" in answer.content.decode()
    fleet.vm.delete()
    assert as_technician.post(f"{fleet.host_page}remove/", typed).status_code == 302
    assert not Hypervisor.objects.exists()


def test_a_host_that_is_gone_is_forgotten_with_its_vms(as_technician, fleet):
    typed = {"remove-name": fleet.host.name}
    answer = as_technician.post(f"{fleet.host_page}forget/", typed)
    assert answer.status_code == 422
    assert "is online" in answer.content.decode()
    Hypervisor.objects.update(online=False)
    page = as_technician.get(fleet.host_page).content.decode()
    assert 'data-testid="host-forget"' in page
    assert f"<li>{fleet.vm.name}</li>" in page
    wrong = as_technician.post(f"{fleet.host_page}forget/", {"remove-name": "other"})
    assert wrong.status_code == 422
    assert as_technician.post(f"{fleet.host_page}forget/", typed).status_code == 302
    assert not Hypervisor.objects.exists()


def test_a_customers_people_forget_no_host(as_customer, fleet):
    Hypervisor.objects.update(online=False)
    assert b"forget-dialog" not in as_customer.get(fleet.host_page).content
    answer = as_customer.post(f"{fleet.host_page}forget/", {"remove-name": fleet.host.name})
    assert answer.status_code == 404


def test_a_customer_is_renamed_and_its_page_keeps_its_address(client, msp, fleet):
    client.force_login(MembershipFactory(tenant=msp, role="msp-owner").user)
    page = f"/c/{fleet.customer.slug}/"
    answer = client.post(f"{page}rename/", {"rename-name": "Alder & Daughters"})
    assert answer["Location"] == page
    assert "Alder &amp; Daughters</h1>" in client.get(page).content.decode()
    empty = client.post(f"{page}rename/", {"rename-name": "?"})
    assert empty.status_code == 422
    assert "at least one letter" in empty.content.decode()


def test_a_site_is_edited_and_removed_once_it_is_empty(as_technician, fleet):
    page = fleet.site_page
    wishes = {"name": "Main plant", "address": "Quay 1", "time_zone": "Europe/Oslo"}
    answer = as_technician.post(
        f"{page}change/", {f"change-{key}": value for key, value in wishes.items()}
    )
    assert answer["Location"] == page
    seen = as_technician.get(page).content.decode()
    assert "Main plant</h1>" in seen
    assert "Quay 1 · Europe/Oslo" in seen
    typed = {"remove-name": "Main plant"}
    refused = as_technician.post(f"{page}remove/", typed)
    assert refused.status_code == 422
    assert "has hosts" in refused.content.decode()
    fleet.vm.delete()
    fleet.host.delete()
    assert as_technician.post(f"{page}remove/", {"remove-name": "x"}).status_code == 422
    assert as_technician.post(f"{page}remove/", typed)["Location"] == f"/c/{fleet.customer.slug}/"
    assert not Site.objects.exists()


def test_an_image_comes_by_url_and_is_retired(as_technician, msp, monkeypatch):
    fields = {
        "tenant": msp.slug,
        "name": "debian-12",
        "url": "https://93.184.215.14/debian-12.qcow2",
        "sha256": SHA,
        "format": "qcow2",
        "default_username": "debian",
        "min_disk_gib": "2",
        "min_memory_mib": "256",
    }
    assert as_technician.post("/images/new/", fields).status_code == 302
    image = Image.objects.get()
    assert image.latest.sha256 == SHA
    page = f"/images/{image.id}/versions/"
    assert page in as_technician.get("/images/").content.decode()
    newer = {"url": "https://93.184.215.14/newer.qcow2", "sha256": SHA, "format": "qcow2"}
    refused = as_technician.post(page, newer)
    assert "Version 1" in refused.context["form"].errors["sha256"][0]
    assert as_technician.post(page, newer | {"sha256": "cd" * 32})["Location"] == "/images/"
    assert "Version 2" in as_technician.get(page).content.decode()
    as_technician.post(f"/images/{image.id}/retire/")
    image.refresh_from_db()
    assert image.retired_at


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("sha256", "short"),
        ("url", "ftp://example.com/x"),
        ("url", "http://127.0.0.1/x.qcow2"),
        ("default_username", "not a name"),
    ],
)
def test_a_wrong_image_is_refused_beside_its_field(as_technician, msp, field, value):
    fields = {
        "tenant": msp.slug,
        "name": "debian-12",
        "url": "https://93.184.215.14/debian-12.qcow2",
        "sha256": SHA,
        "format": "qcow2",
        "default_username": "debian",
        "min_disk_gib": "2",
        "min_memory_mib": "256",
        field: value,
    }
    answer = as_technician.post("/images/new/", fields)
    assert answer.status_code == 422
    assert answer.context["form"].errors[field]
    assert not Image.objects.exists()


def test_a_customer_cant_retire_everybodys_image(as_customer, fleet):
    assert as_customer.post(f"/images/{fleet.image.id}/retire/").status_code == 404


def test_a_token_is_shown_once_and_revoked(as_customer, fleet):
    wish = {"token-name": "script", "token-days": "30", "token-may": "all", "token-where": "all"}
    answer = as_customer.post("/me/tokens/", wish)
    secret = answer.context["secret"]
    assert secret in answer.content.decode()
    assert secret not in as_customer.get("/me/tokens/").content.decode()
    token = ApiToken.objects.get()
    as_customer.post(f"/me/tokens/{token.id}/revoke/")
    token.refresh_from_db()
    assert token.revoked_at


def test_nobody_revokes_somebody_elses_token(as_customer, others):
    token = ApiToken.objects.create(user=others.owner, name="theirs", prefix="x", hash="y")
    assert as_customer.post(f"/me/tokens/{token.id}/revoke/").status_code == 404


def test_times_are_in_the_persons_own_zone(as_customer, fleet):
    answer = as_customer.post("/me/", {"name": "Maria", "time_zone": "Asia/Tokyo"})
    assert answer.status_code == 302
    fleet.owner.refresh_from_db()
    assert (fleet.owner.name, fleet.owner.time_zone) == ("Maria", "Asia/Tokyo")
    assert "JST" in as_customer.get(fleet.vm_page).content.decode()
    assert as_customer.post("/me/", {"name": "M", "time_zone": "Mars/Base"}).status_code == 422


KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl me@laptop"


def test_ones_own_ssh_keys_are_what_a_new_vm_begins_with(as_technician, fleet):
    profile = {"name": "Me", "time_zone": "UTC"}
    wrong = as_technician.post("/me/", {**profile, "ssh_keys": f"{KEY}\nssh-ed25519 AAAA"})
    assert wrong.status_code == 422
    assert "damaged or cut short" in wrong.context["profile"].errors["ssh_keys"][0]
    assert as_technician.post("/me/", {**profile, "ssh_keys": f"\n{KEY}\n\n"}).status_code == 302
    assert as_technician.get("/me/").context["profile"]["ssh_keys"].value() == KEY
    assert as_technician.get("/vms/new/").context["form"]["ssh_keys"].value() == KEY
    assert as_technician.post("/me/", {**profile, "ssh_keys": ""}).status_code == 302
    assert as_technician.get("/me/").context["profile"]["ssh_keys"].value() == ""
