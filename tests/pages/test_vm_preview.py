"""What the guest would get, before it is made; and wishes that arrive with the form."""

import base64
import json
import uuid

import pytest

from agent.protocol import seal
from hypervisors.models import Job
from tenants.actor import SYSTEM
from tenants.models import AuditEvent
from tests.factories import SSH_KEY
from tests.pages.test_vm_create import answers  # noqa: F401
from vms.models import VirtualMachine
from vms.services.vendor_data import vendor_data_set

SCRIPT = "#!/bin/sh\necho {{ ip }} of {{ site.name }}\n"


def preview(client, wishes):
    return client.post("/vms/new/preview/", wishes, headers={"HX-Request": "true"})


def test_the_preview_fills_in_what_the_portal_knows(as_customer, fleet, answers):  # noqa: F811
    answers |= {
        "user_data": SCRIPT,
        "readable": "on",
        "packages": "nginx",
        "address": "10.77.0.9",
        "tags": "role = web",
    }
    page = preview(as_customer, answers).content.decode()
    assert "echo 10.77.0.9 of alder office" in page
    assert "- nginx" in page
    assert "10.77.0.9/24" in page
    assert "Tag role" in page
    assert 'data-variable="customer.name"' in page


def test_it_leaves_nothing_behind(as_customer, fleet, answers):  # noqa: F811
    before = VirtualMachine.objects.count()
    assert preview(as_customer, answers).status_code == 200
    assert VirtualMachine.objects.count() == before
    assert not Job.objects.exists()
    assert not AuditEvent.objects.filter(action="vm.create").exists()


def test_it_needs_no_secret(as_customer, fleet, answers):  # noqa: F811
    answers |= {"password": "", "user_data": ""}
    assert 'data-testid="vm-preview-shown"' in preview(as_customer, answers).content.decode()


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"name": "no good!"}, "letters, digits and hyphens"),
        ({"packages": "rm&-rf"}, "no name of a package"),
        ({"mounts": "one"}, "is no mount"),
        ({"user_data": "#!/bin/sh\n{{ nonsense }}\n", "readable": "on"}, "no variable"),
        ({"image": "x"}, "Image"),
    ],
)
def test_what_is_wrong_is_said_in_place_of_it(as_customer, fleet, answers, wrong, words):  # noqa: F811
    page = preview(as_customer, answers | wrong).content.decode()
    assert 'data-testid="vm-preview-refused"' in page
    assert words in page


def test_that_there_is_vendor_data_is_told_and_not_what_it_is(as_customer, fleet, answers):  # noqa: F811
    vendor_data_set(actor=SYSTEM, msp=fleet.msp, text="#!/bin/sh\necho of-the-msp-alone\n")
    page = preview(as_customer, answers).content.decode()
    assert "What your MSP does in the first boot" in page
    assert "of-the-msp-alone" not in page


def test_a_place_of_somebody_else_is_not_there(as_customer, fleet, others, answers):  # noqa: F811
    theirs = preview(as_customer, answers | {"place": f"host:{others.host.id}"})
    never = preview(as_customer, answers | {"place": f"host:{uuid.uuid4()}"})
    assert (theirs.status_code, never.status_code) == (404, 404)


def test_the_usual_wishes_arrive(as_customer, fleet, answers):  # noqa: F811
    answers |= {
        "time_zone": "Europe/Vienna",
        "upgrade": "on",
        "users": f"anna {SSH_KEY}",
        "commands": "systemctl enable nginx",
        "proxy": "http://10.0.0.8:3128",
        "mounts": "nas:/share /mnt/share nfs",
        "data_disk": ["", "20"],
        "data_mount": ["/never", "/srv"],
    }
    assert as_customer.post("/vms/new/", answers).status_code == 302
    told = VirtualMachine.objects.get(name="web-1").user_data
    for words in ("Europe/Vienna", "anna", "enable nginx", "10.0.0.8:3128", "nas:/share", "/srv"):
        assert words in told
    assert "/never" not in told


def sealed_wish(host, vm_id, /, **changed):
    box = seal(bytes(host.seal_public), b"\x80", purpose=f"vm:{vm_id}")
    wish = {
        "password": "",
        "vm_id": str(vm_id),
        "sealed": json.dumps({str(host.id): base64.b64encode(box).decode()}),
        "sealed_holds": "password",
    }
    return wish | changed


def test_what_the_browser_sealed_is_kept_as_it_came(as_customer, fleet, answers):  # noqa: F811
    vm_id = uuid.uuid4()
    wish = answers | sealed_wish(fleet.host, vm_id)
    assert as_customer.post("/vms/new/", wish).status_code == 302
    vm = VirtualMachine.objects.get(pk=vm_id)
    assert (vm.has_password, vm.has_user_data) == (True, False)
    box = json.loads(wish["sealed"])[str(fleet.host.id)]
    assert bytes(vm.sealed_secrets) == base64.b64decode(box)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"sealed": "no json"}, "sealed for another host"),
        ({"sealed": "[1]"}, "sealed for another host"),
        ({"sealed": '{"%s": "short"}'}, "not base64"),
        ({"sealed": '{"%s": "c2hvcnQ="}'}, "it has between"),
        ({"sealed": '{"other": "c2hvcnQ="}'}, "sealed for another host"),
        ({"vm_id": ""}, "sealed for another host"),
        ({"vm_id": "00000000-0000-1000-8000-000000000001"}, "can&#x27;t be taken"),
        ({"sealed_holds": ""}, "Say what was sealed"),
        ({"password": "also in clear"}, "either sealed or in clear"),
    ],
)
def test_a_box_that_nobody_could_use_is_refused(as_customer, fleet, answers, wrong, words):  # noqa: F811
    changed = {key: value.replace("%s", str(fleet.host.id)) for key, value in wrong.items()}
    wish = answers | sealed_wish(fleet.host, uuid.uuid4(), **changed)
    answer = as_customer.post("/vms/new/", wish)
    assert answer.status_code == 422
    assert words in answer.content.decode()
    assert not VirtualMachine.objects.filter(name="web-1").exists()


def test_an_id_that_somebody_has_is_refused_alike(as_customer, fleet, others, answers):  # noqa: F811
    for taken in (fleet.vm.id, others.vm.id):
        answer = as_customer.post("/vms/new/", answers | sealed_wish(fleet.host, taken))
        assert "can&#x27;t be taken" in answer.content.decode()
