"""Hosts, networks, sites, tenants and jobs over the API."""

import pytest

from tenants.models import AuditEvent
from tests.factories import (
    CustomerFactory,
    HypervisorFactory,
    JobFactory,
    MembershipFactory,
    MspFactory,
    NetworkFactory,
    SiteFactory,
    VirtualMachineFactory,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def host():
    return HypervisorFactory()


@pytest.fixture
def owner(host, api_as):
    return api_as(MembershipFactory(role="msp-owner", tenant=host.tenant.parent).user)


def test_a_host_shows_what_it_is_and_none_of_its_keys(owner, host):
    seen = owner.get(f"/api/v1/hypervisors/{host.id}/").json()
    assert seen["facts"]["memory_mib"] == 32768
    assert seen["online"] is True
    assert not {"sign_public", "machine_id", "link_channel"} & set(seen)


def test_a_host_is_renamed(owner, host):
    answer = owner.patch(f"/api/v1/hypervisors/{host.id}/", {"name": "vienna-1"})
    assert (answer.status_code, answer.json()["name"]) == (200, "vienna-1")
    other = HypervisorFactory(site=host.site)
    answer = owner.patch(f"/api/v1/hypervisors/{other.id}/", {"name": "Vienna-1"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "name_taken")


def test_a_host_with_vms_is_not_forgotten(owner, host):
    vm = VirtualMachineFactory(hypervisor=host)
    answer = owner.delete(f"/api/v1/hypervisors/{host.id}/")
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "host_has_vms")
    vm.delete()
    assert owner.delete(f"/api/v1/hypervisors/{host.id}/").status_code == 204
    assert owner.get(f"/api/v1/hypervisors/{host.id}/").status_code == 404


def test_networks_are_added_and_removed(owner, host):
    answer = owner.post(
        "/api/v1/networks/",
        {"hypervisor": host.name, "name": "lab", "kind": "nat", "subnet": "10.20.0.0/24"},
    )
    assert answer.status_code == 201, answer.json()
    made = answer.json()
    assert (made["addressing"], made["gateway"]) == ("portal", "10.20.0.1")
    answer = owner.post(
        "/api/v1/networks/",
        {"hypervisor": str(host.id), "name": "lan", "kind": "bridge", "bridge": "br0"},
    )
    assert (answer.status_code, answer.json()["addressing"]) == (201, "site")
    seen = owner.get(f"/api/v1/networks/?hypervisor={host.id}&kind=nat").json()["results"]
    assert [network["name"] for network in seen] == ["lab"]
    assert owner.delete(f"/api/v1/networks/{made['id']}/").status_code == 204


def test_a_network_in_use_stays(owner, host):
    network = NetworkFactory(hypervisor=host)
    VirtualMachineFactory(hypervisor=host, network=network)
    answer = owner.delete(f"/api/v1/networks/{network.id}/")
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "network_in_use")


def test_a_join_token_is_shown_once_with_its_command(owner, host):
    answer = owner.post(f"/api/v1/sites/{host.site_id}/join-tokens/", {"max_uses": 3})
    assert answer.status_code == 201, answer.json()
    made = answer.json()
    assert made["token"].startswith("bj_")
    assert made["command"].endswith(f"/install | sh -s -- {made['token']}")
    assert made["max_uses"] == 3
    wrong = owner.post(f"/api/v1/sites/{host.site_id}/join-tokens/", {"max_uses": 0})
    assert wrong.status_code == 400


def test_customers_and_sites_are_made(owner, host):
    msp = host.tenant.parent
    answer = owner.post("/api/v1/tenants/", {"name": "Bakery", "parent": str(msp.id)})
    assert (answer.status_code, answer.json()["slug"]) == (201, "bakery")
    customer = answer.json()["id"]
    again = owner.post("/api/v1/tenants/", {"name": "bakery", "parent": str(msp.id)})
    assert (again.status_code, again.json()["error"]["code"]) == (409, "name_taken")
    answer = owner.post("/api/v1/sites/", {"tenant": customer, "name": "Main Street"})
    assert (answer.status_code, answer.json()["slug"]) == (201, "main-street")
    wrong = owner.post(
        "/api/v1/sites/", {"tenant": customer, "name": "B", "time_zone": "Mars/Olympus"}
    )
    assert "time_zone" in wrong.json()["error"]["fields"]
    seen = owner.get(f"/api/v1/sites/?tenant={customer}").json()["results"]
    assert [site["name"] for site in seen] == ["Main Street"]
    seen = owner.get("/api/v1/tenants/?kind=customer&name=BAKERY").json()["results"]
    assert [tenant["id"] for tenant in seen] == [customer]


def test_nobody_makes_an_msp_over_the_api(owner):
    assert owner.post("/api/v1/tenants/", {"name": "Mine"}).status_code == 400
    assert owner.post("/api/v1/tenants/", {"name": "Mine", "parent": None}).status_code == 400


def test_jobs_are_found_by_vm_host_and_status(owner, host):
    job = JobFactory(hypervisor=host, status="failed", error_code="internal", error_message="No.")
    JobFactory(hypervisor=host)
    ids = lambda query: [  # noqa: E731
        found["id"] for found in owner.get(f"/api/v1/jobs/?{query}").json()["results"]
    ]
    assert ids(f"vm={job.subject_id}") == [str(job.id)]
    assert ids(f"hypervisor={host.id}&status=failed&status=lost") == [str(job.id)]
    assert len(ids(f"site={host.site_id}")) == 2
    assert owner.get(f"/api/v1/jobs/{job.id}/").json()["error"] == {
        "code": "internal",
        "message": "No.",
    }


def test_lists_hold_only_ones_own(owner, host):
    stranger = HypervisorFactory(site=SiteFactory(tenant__parent=MspFactory()))
    for kind in ("hypervisors", "sites", "tenants"):
        text = owner.get(f"/api/v1/{kind}/").content.decode()
        assert str(stranger.tenant_id) not in text


def test_the_schema_and_its_page_answer(api):
    schema = api.get("/api/v1/schema/?format=json")
    assert schema.status_code == 200
    start = schema.json()["paths"]["/api/v1/vms/{id}/start/"]["post"]
    assert set(start["responses"]) == {"202", "default"}
    page = api.get("/api/v1/docs/")
    assert page.status_code == 200
    # The policy of the pages holds here too: no script or style in the page itself.
    assert b"<script>" not in page.content
    assert b"<style>" not in page.content
    assert b'<style nonce=""' not in page.content


def test_the_schema_has_no_warnings(capsys):
    from django.core.management import call_command

    call_command("spectacular", "--validate", "--fail-on-warn", "--format", "openapi-json")
    assert "Error" in capsys.readouterr().out


def test_a_customer_is_renamed_and_its_address_stays(owner, host):
    customer = host.tenant
    answer = owner.patch(f"/api/v1/tenants/{customer.id}/", {"name": " Bakery & Sons "})
    assert answer.status_code == 200, answer.json()
    assert (answer.json()["name"], answer.json()["slug"]) == ("Bakery & Sons", customer.slug)
    event = AuditEvent.objects.get(action="tenant.rename")
    assert (event.before, event.after) == ({"name": customer.name}, {"name": "Bakery & Sons"})
    CustomerFactory(parent=customer.parent, name="Other")
    again = owner.patch(f"/api/v1/tenants/{customer.id}/", {"name": "other"})
    assert (again.status_code, again.json()["error"]["code"]) == (409, "name_taken")
    for wrong in ({"name": "!"}, {"name": ""}, {"name": "x" * 101}, {}):
        assert owner.patch(f"/api/v1/tenants/{customer.id}/", wrong).status_code == 400


def test_a_site_is_changed_and_goes_when_it_has_no_hosts(owner, host):
    site = SiteFactory(tenant=host.tenant, name="Old shop")
    path = f"/api/v1/sites/{site.id}/"
    answer = owner.patch(path, {"name": "New shop", "time_zone": "Europe/Vienna"})
    assert answer.status_code == 200, answer.json()
    assert answer.json() | {"name": "New shop", "slug": site.slug} == answer.json()
    event = AuditEvent.objects.get(action="site.change")
    assert event.before == {"name": "Old shop", "time_zone": site.time_zone}
    assert event.after == {"name": "New shop", "time_zone": "Europe/Vienna"}
    assert owner.patch(path, {"name": "New shop"}).status_code == 200
    assert AuditEvent.objects.filter(action="site.change").count() == 1
    taken = owner.patch(path, {"name": host.site.name})
    assert (taken.status_code, taken.json()["error"]["code"]) == (409, "name_taken")
    assert owner.patch(path, {"time_zone": "Mars/Olympus"}).status_code == 400
    assert owner.delete(path).status_code == 204
    assert owner.delete(path).status_code == 404
    full = owner.delete(f"/api/v1/sites/{host.site_id}/")
    assert (full.status_code, full.json()["error"]["code"]) == (409, "site_not_empty")


def test_others_customers_and_sites_are_404_and_a_viewer_changes_nothing(host, api_as):
    stranger = api_as(MembershipFactory(role="msp-owner").user)
    viewer = api_as(MembershipFactory(role="msp-read-only", tenant=host.tenant.parent).user)
    for path in (f"/api/v1/tenants/{host.tenant_id}/", f"/api/v1/sites/{host.site_id}/"):
        assert stranger.patch(path, {"name": "Mine"}).status_code == 404
        assert viewer.patch(path, {"name": "Mine"}).status_code == 403
    assert stranger.delete(f"/api/v1/sites/{host.site_id}/").status_code == 404


def test_join_tokens_are_listed_without_their_secrets_and_revoked(owner, host, api_as):
    made = owner.post(f"/api/v1/sites/{host.site_id}/join-tokens/", {}).json()
    [listed] = owner.get(f"/api/v1/join-tokens/?site={host.site_id}").json()["results"]
    assert (listed["id"], listed["used_count"], listed["revoked_at"]) == (made["id"], 0, None)
    assert made["token"] not in str(listed)
    path = f"/api/v1/join-tokens/{made['id']}/"
    assert api_as(MembershipFactory(role="msp-owner").user).delete(path).status_code == 404
    assert owner.delete(path).status_code == 204
    assert owner.delete(path).status_code == 204
    assert owner.get(path).json()["revoked_at"]
