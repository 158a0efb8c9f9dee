"""Whatever is sent: an answer in the one shape, never a crash, never a row by accident."""

import base64
import json
from urllib.parse import urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.factories import (
    SSH_KEY,
    HypervisorFactory,
    ImageVersionFactory,
    MembershipFactory,
    NetworkFactory,
    VirtualMachineFactory,
)

pytestmark = pytest.mark.django_db

ODD = [
    *(None, True, -1, 1.5, 2**63, 10**30),
    *("", "\x00", "\ud800", "😀" * 40, "a" * 70_000, "1e400"),
    *([None], [[]], ["\ud800"], {"": 1}, [{}], ["1.2.3.4"] * 9),
    *([{"size_gib": 2**70}], [{"network": "\ud800"}], [{"network": "nat", "address": "::1"}]),
]
FEW = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@pytest.fixture
def host():
    host = HypervisorFactory()
    NetworkFactory(hypervisor=host, name="nat")
    return host


@pytest.fixture
def owner(host, api_as):
    return api_as(MembershipFactory(role="msp-owner", tenant=host.tenant.parent).user)


def answered(answer) -> None:
    assert answer.status_code < 500, answer.content
    if answer.status_code >= 400:
        error = answer.json()["error"]
        assert error["code"]
        assert error["message"]


def wishes(host, image):
    vm = VirtualMachineFactory(hypervisor=host, observed_power="off")
    tenant = str(host.tenant_id)
    return {
        "vms/": {
            "name": "web",
            "hypervisor": str(host.id),
            "image": str(image.id),
            "vcpus": 1,
            "memory_mib": 512,
            "disks": [{"size_gib": 5}],
            "nics": [{"network": "nat", "address": "10.77.0.9"}],
            "username": "ada",
            "password": "correct horse 42",
            "ssh_keys": [SSH_KEY],
            "user_data": "#!/bin/sh\n",
            "firmware": "bios",
            "autostart": True,
        },
        f"vms/{vm.id}/resize/": {
            "vcpus": 2,
            "memory_mib": 2048,
            "disks": [{"id": str(vm.disks.get().id), "size_gib": 20}],
            "autostart": False,
        },
        f"vms/{vm.id}/reboot/": {"force": True},
        f"vms/{vm.id}/console/": {"kind": "vnc"},
        "networks/": {
            "hypervisor": str(host.id),
            "name": "lab",
            "kind": "nat",
            "addressing": "portal",
            "bridge": "",
            "subnet": "10.20.0.0/24",
            "gateway": "10.20.0.1",
            "dns": ["10.20.0.1"],
            "mtu": 1500,
        },
        "sites/": {"tenant": tenant, "name": "S", "address": "A", "time_zone": "UTC"},
        "tenants/": {"parent": str(host.tenant.parent_id), "name": "T"},
        f"sites/{host.site_id}/join-tokens/": {"max_uses": 1, "expires_in_hours": 1},
        "images/": {
            "tenant": tenant,
            "name": "I",
            "os": "Debian",
            "url": "https://1.1.1.1/x",
            "sha256": "ab" * 32,
            "format": "raw",
            "default_username": "debian",
            "min_disk_gib": 1,
            "min_memory_mib": 256,
        },
    }


def test_every_odd_value_in_every_field_of_a_right_wish(owner, host):
    wish = wishes(host, ImageVersionFactory().image)
    for address, right in wish.items():
        for field in right:
            for odd in ODD:
                body = json.dumps(right | {field: odd})
                answered(owner.post(f"/api/v1/{address}", body, content_type="application/json"))


@FEW
@given(name=st.text(max_size=80))
def test_any_name(owner, host, name):
    vm = VirtualMachineFactory(hypervisor=host)
    answered(owner.patch(f"/api/v1/vms/{vm.id}/", {"name": name}))
    answered(owner.patch(f"/api/v1/hypervisors/{host.id}/", {"name": name}))


@FEW
@given(
    kind=st.sampled_from(["vms", "jobs", "hypervisors", "networks", "images", "sites", "tenants"]),
    field=st.sampled_from(
        ["name", "tenant", "site", "hypervisor", "status", "kind", "cursor", "page_size", "online"]
    ),
    value=st.text(max_size=50),
)
def test_any_filter(owner, kind, field, value):
    answered(owner.get(f"/api/v1/{kind}/", {field: value}))


@FEW
@given(pk=st.text(min_size=1, max_size=50).filter(lambda text: "/" not in text))
def test_any_id(owner, pk):
    from urllib.parse import quote

    for kind in ("vms", "jobs", "images"):
        answered(owner.get(f"/api/v1/{kind}/{quote(pk, errors='replace')}/"))


@pytest.mark.parametrize(
    "position",
    ["p=foo", "p=2026-13-40", "p=%00", "p=2026-01-01", "o=-3", "o=x", f"p={'9' * 5000}", "r=1&p=-"],
)
def test_a_cursor_that_is_none_of_ours_is_refused_with_a_next_step(owner, position):
    cursor = base64.b64encode(position.encode()).decode()
    answer = owner.get("/api/v1/vms/", {"cursor": cursor})
    assert answer.status_code == 400
    assert "begin again without a cursor" in answer.json()["error"]["fields"]["cursor"][0]


@pytest.mark.parametrize("edge", ["0001-01-01 00:00:00+14:00", "9999-12-31 23:59:59-14:00"])
def test_a_cursor_at_the_edge_of_time_is_answered(owner, edge):
    cursor = base64.b64encode(urlencode({"p": edge}).encode()).decode()
    answered(owner.get("/api/v1/vms/", {"cursor": cursor}))
