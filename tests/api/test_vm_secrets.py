"""What a program tells a guest over the API: wishes in clear, secrets that it sealed itself."""

import base64
import uuid

import msgspec
import pytest

from agent.protocol import open_sealed, seal
from tests.api.test_vms import body, host, image, technician  # noqa: F401
from vms.models import VirtualMachine

pytestmark = pytest.mark.django_db


def sealed_body(host, image, vm_id, **changes):  # noqa: F811
    key = base64.b64decode(base64.b64encode(bytes(host.seal_public)))
    plain = msgspec.msgpack.encode({"password": "correct horse 42", "user_data": None})
    wish = body(host, image) | {
        "id": str(vm_id),
        "sealed_secrets": base64.b64encode(seal(key, plain, purpose=f"vm:{vm_id}")).decode(),
        "sealed_holds": ["password"],
    }
    for clear in ("password", "user_data"):
        del wish[clear]
    return wish | changes


def test_a_program_seals_to_the_key_that_the_host_shows(technician, host, image):  # noqa: F811
    shown = technician.get(f"/api/v1/hypervisors/{host.id}/").json()["seal_public"]
    assert base64.b64decode(shown) == bytes(host.seal_public)
    vm_id = uuid.uuid4()
    answer = technician.post("/api/v1/vms/", sealed_body(host, image, vm_id))
    assert answer.status_code == 202, answer.json()
    vm = VirtualMachine.objects.get(pk=vm_id)
    assert vm.has_password
    plain = open_sealed(host.seal_private, bytes(vm.sealed_secrets), purpose=f"vm:{vm_id}")
    assert msgspec.msgpack.decode(plain)["password"] == "correct horse 42"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"id": None}, "id"),
        ({"sealed_secrets": "%%%"}, "sealed_secrets"),
        ({"sealed_secrets": "c2hvcnQ="}, "sealed_secrets"),
        ({"sealed_holds": []}, "sealed_holds"),
        ({"password": "also in clear"}, "sealed_secrets"),
        ({"user_data": "#!/bin/sh\n"}, "sealed_secrets"),
        ({"id": "00000000-0000-1000-8000-000000000001"}, "id"),
    ],
)
def test_what_nobody_could_open_is_refused(technician, host, image, changes, field):  # noqa: F811
    wish = sealed_body(host, image, uuid.uuid4(), **changes)
    answer = technician.post(
        "/api/v1/vms/", {key: value for key, value in wish.items() if value is not None}
    )
    assert answer.status_code == 400
    assert field in answer.json()["error"].get("fields", {field: 1})
    assert not VirtualMachine.objects.exists()


def test_the_usual_wishes_are_one_object(technician, host, image):  # noqa: F811
    wish = body(host, image) | {
        "setup": {
            "packages": ["nginx"],
            "time_zone": "Europe/Vienna",
            "users": [{"name": "anna"}],
            "mounts": [{"device": "nas:/share", "directory": "/mnt/share", "type": "nfs"}],
            "data_mounts": ["/srv"],
            "commands": ["echo {{ ip }}"],
        },
        "tags": {"role": "web"},
        "secret_user_data": False,
    }
    answer = technician.post("/api/v1/vms/", wish)
    assert answer.status_code == 202, answer.json()
    vm = answer.json()["vm"]
    assert vm["tags"] == {"role": "web"}
    for words in ("nginx", "Europe/Vienna", "anna", "nas:/share", "/srv", "{{ ip }}"):
        assert words in vm["user_data"]


@pytest.mark.parametrize(
    "setup",
    [
        {"packages": ["rm -rf"]},
        {"time_zone": "Mars"},
        {"mounts": [{"device": "x", "directory": "etc"}]},
        {"unknown": 1},
    ],
)
def test_a_wish_that_cant_be_done_is_refused(technician, host, image, setup):  # noqa: F811
    answer = technician.post("/api/v1/vms/", body(host, image) | {"setup": setup})
    assert answer.status_code == 400
    assert not VirtualMachine.objects.exists()


def test_fields_of_customers_and_sites_are_read_and_set(technician, host):  # noqa: F811
    site = f"/api/v1/sites/{host.site_id}/"
    answer = technician.patch(site, {"custom_fields": {"rack": "7"}})
    assert answer.json()["custom_fields"] == {"rack": "7"}
    refused = technician.patch(site, {"custom_fields": {"No": "7"}})
    assert refused.status_code == 400
    assert technician.get(site).json()["custom_fields"] == {"rack": "7"}
