"""Telling guests over the API: what is told, what is sealed by whom, and what is seen of boots."""

import base64

import msgspec
import pytest

from agent.protocol import open_sealed, seal
from hypervisors.models import Job
from hypervisors.services.jobs import job_take_for_sending
from tests.factories import (
    HypervisorFactory,
    MembershipFactory,
    NetworkFactory,
    VirtualMachineFactory,
)

pytestmark = pytest.mark.django_db
PASSWORD = "another one 43"


@pytest.fixture
def host():
    host = HypervisorFactory()
    NetworkFactory(hypervisor=host)
    return host


@pytest.fixture
def vm(host):
    return VirtualMachineFactory(hypervisor=host, name="web-1")


@pytest.fixture
def technician(host, api_as):
    return api_as(MembershipFactory(role="msp-technician", tenant=host.tenant.parent).user)


def box_for(host, vm_id, content) -> str:
    plain = msgspec.msgpack.encode(content)
    return base64.b64encode(seal(bytes(host.seal_public), plain, purpose=f"vm:{vm_id}")).decode()


def sent(answer):
    assert answer.status_code == 202, answer.json()
    _, words = job_take_for_sending(Job.objects.get(pk=answer.json()["id"]).id)
    return words


def test_tags_are_told(technician, vm):
    words = sent(technician.post(f"/api/v1/vms/{vm.id}/tell/", {"tags": {"role": "web"}}))
    assert words.guest.tags == {"role": "web"}


def test_a_password_in_clear_is_sealed_at_the_door(technician, host, vm):
    answer = technician.post(f"/api/v1/vms/{vm.id}/reset_password/", {"password": PASSWORD})
    box = sent(answer).guest.sealed_secrets
    plain = open_sealed(host.seal_private, box, purpose=f"vm:{vm.id}")
    assert msgspec.msgpack.decode(plain)["password"] == PASSWORD
    assert PASSWORD not in answer.content.decode()


def test_a_password_sealed_by_the_sender_is_never_open_here(technician, host, vm):
    box = box_for(host, vm.id, {"password": PASSWORD})
    wishes = {"sealed_secrets": box, "sealed_holds": ["password"]}
    words = sent(technician.post(f"/api/v1/vms/{vm.id}/reset_password/", wishes))
    assert words.guest.sealed_secrets == base64.b64decode(box)


@pytest.mark.parametrize(
    "wishes",
    [
        {},
        {"password": ""},
        {"sealed_secrets": "not base64!", "sealed_holds": ["password"]},
        {"sealed_secrets": "AAAA", "sealed_holds": ["password"]},
        {"sealed_secrets": "A" * 88, "sealed_holds": []},
        {"sealed_secrets": "A" * 88, "sealed_holds": ["shoes"]},
        {"sealed_secrets": "A" * 88, "sealed_holds": ["password"], "password": PASSWORD},
    ],
)
def test_what_cannot_be_a_password_is_refused(technician, vm, wishes):
    answer = technician.post(f"/api/v1/vms/{vm.id}/reset_password/", wishes)
    assert answer.status_code == 400
    assert not Job.objects.exists()


def test_a_boot_is_seen_with_its_stages(technician, vm):
    vm.boot = {
        "instance_id": str(vm.id),
        "verdict": "failed",
        "reason": "bad_yaml",
        "source": "reports",
        "datasource": "DataSourceOpenStackLocal",
        "stages": [
            {"name": "final", "status": "ok", "started_at": None, "seconds": 1.5, "errors": []}
        ],
        "log": ["a line"],
    }
    vm.save()
    seen = technician.get(f"/api/v1/vms/{vm.id}/").json()
    assert (seen["boot"]["verdict"], seen["boot"]["reason"]) == ("failed", "bad_yaml")
    assert seen["boot"]["stages"][0]["seconds"] == 1.5
    assert seen["nics"][0]["sealed_at"] is None


def test_a_boot_that_nobody_heard_of_is_null(technician, vm):
    assert technician.get(f"/api/v1/vms/{vm.id}/").json()["boot"] is None
