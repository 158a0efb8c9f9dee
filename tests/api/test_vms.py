"""VMs over the API, as a program with a token sees them."""

import logging
import uuid

import pytest
from structlog.stdlib import ProcessorFormatter

from agent.protocol import JobError, JobFinished, VmReport
from hypervisors.models import Job
from hypervisors.services.jobs import job_finished, job_take_for_sending
from tests.factories import (
    SSH_KEY,
    HypervisorFactory,
    ImageFactory,
    ImageVersionFactory,
    MembershipFactory,
    NetworkFactory,
    VirtualMachineFactory,
)
from vms.models import VirtualMachine

pytestmark = pytest.mark.django_db


@pytest.fixture
def host():
    host = HypervisorFactory()
    NetworkFactory(hypervisor=host, name="nat")
    return host


@pytest.fixture
def technician(host, api_as):
    membership = MembershipFactory(role="msp-technician", tenant=host.tenant.parent)
    return api_as(membership.user)


@pytest.fixture
def image():
    return ImageVersionFactory(image=ImageFactory(name="debian-12")).image


def body(host, image, **changes):
    return {
        "name": "web-1",
        "hypervisor": str(host.id),
        "image": str(image.id),
        "vcpus": 2,
        "memory_mib": 2048,
        "disks": [{"size_gib": 10}, {"size_gib": 1}],
        "nics": [{"network": str(host.networks.get().id), "address": "10.77.0.77"}],
        "username": "ada",
        "password": "correct horse 42",
        "ssh_keys": [SSH_KEY],
        "user_data": "#!/bin/sh\ntrue\n",
    } | changes


def test_a_vm_is_asked_for_with_all_its_fields(technician, host, image):
    answer = technician.post("/api/v1/vms/", body(host, image))
    assert answer.status_code == 202, answer.json()
    vm, job = answer.json()["vm"], answer.json()["job"]
    assert (vm["name"], vm["state"], vm["power"]) == ("web-1", "creating", "unknown")
    assert vm["hypervisor"] == {"id": str(host.id), "name": host.name}
    assert vm["site"]["name"] == host.site.name
    assert [disk["size_gib"] for disk in vm["disks"]] == [10, 1]
    assert vm["nics"][0]["address"] == "10.77.0.77"
    assert (job["kind"], job["status"], job["progress"], job["error"]) == (
        "vm.create",
        "queued",
        0,
        None,
    )
    assert job["subject"] == {"id": vm["id"], "name": "web-1"}
    assert "correct horse" not in answer.content.decode()


def test_names_will_do_and_the_rest_has_defaults(technician, host, image):
    answer = technician.post(
        "/api/v1/vms/",
        {
            "name": "hello",
            "hypervisor": host.name,
            "image": "Debian-12",
            "password": "correct horse battery",
            "nics": [{"network": "nat"}],
        },
    )
    assert answer.status_code == 202, answer.json()
    vm = answer.json()["vm"]
    assert (vm["vcpus"], vm["memory_mib"], vm["username"]) == (1, 1024, "debian")
    assert [disk["size_gib"] for disk in vm["disks"]] == [10]


def test_at_a_site_the_online_host_with_the_most_free_memory_is_chosen(technician, host, image):
    full = host
    VirtualMachineFactory(hypervisor=full, memory_mib=20_000)
    offline = HypervisorFactory(site=host.site, online=False)
    roomy = HypervisorFactory(site=host.site)
    for other in (offline, roomy):
        NetworkFactory(hypervisor=other, name="nat")
    wish = body(host, image, site=str(host.site.id))
    del wish["hypervisor"], wish["nics"]
    answer = technician.post("/api/v1/vms/", wish)
    assert answer.status_code == 202, answer.json()
    assert answer.json()["vm"]["hypervisor"]["id"] == str(roomy.id)


def test_a_site_without_room_says_so(technician, host, image):
    wish = body(host, image, site=str(host.site.id), memory_mib=10**6)
    del wish["hypervisor"]
    answer = technician.post("/api/v1/vms/", wish)
    assert answer.status_code == 409
    assert answer.json()["error"]["code"] == "no_host_fits"


def test_host_and_site_together_are_refused(technician, host, image):
    answer = technician.post("/api/v1/vms/", body(host, image, site=str(host.site.id)))
    assert answer.status_code == 400
    assert "either the host or the site" in answer.json()["error"]["message"]


def test_a_misspelt_field_is_refused_and_not_ignored(technician, host, image):
    answer = technician.post("/api/v1/vms/", body(host, image, disk=[{"size_gib": 5}]))
    assert answer.status_code == 400
    assert answer.json()["error"]["fields"] == {"disk": ["There is no such field."]}


@pytest.mark.parametrize(
    ("changes", "status", "code", "field"),
    [
        ({"name": "web 1"}, 400, "invalid", "name"),
        ({"name": "taken"}, 409, "name_taken", "name"),
        ({"memory_mib": 40_000}, 409, "not_enough_memory", "memory_mib"),
        ({"memory_mib": "lots"}, 400, "invalid", "memory_mib"),
        ({"disks": [{"size_gib": 5000}]}, 409, "not_enough_disk", "disks"),
        ({"disks": []}, 400, "invalid", "disks"),
        ({"disks": [{"size_gib": 0}]}, 400, "invalid", "disks.0.size_gib"),
        ({"nics": [{"network": str(uuid.uuid4())}]}, 400, "invalid", "nics.0.network"),
        ({"nics": [{"network": "nat\x00"}]}, 400, "invalid", "nics.0.network"),
        ({"image": "debian-99"}, 400, "invalid", "image"),
        ({"image": 7}, 400, "invalid", "image"),
        ({"image": {"a": 1}}, 400, "invalid", "image"),
        ({"user_data": "#cloud-config\na: [1"}, 400, "invalid", "user_data"),
        ({"password": None, "ssh_keys": []}, 400, "invalid", "password"),
    ],
)
def test_bad_input_is_one_shape_and_leaves_nothing(
    technician, host, image, changes, status, code, field
):
    VirtualMachineFactory(hypervisor=host, name="taken")
    answer = technician.post("/api/v1/vms/", body(host, image) | changes)
    assert answer.status_code == status, answer.json()
    error = answer.json()["error"]
    assert error["code"] == code
    assert field in error["fields"]
    assert error["message"].rstrip(".”)")
    assert VirtualMachine.objects.count() == 1
    assert Job.objects.count() == 0


def test_a_body_that_is_no_json_object_is_refused_politely(technician):
    for wrong in ('["a"]', "7", "null", "{", '"x"'):
        answer = technician.post("/api/v1/vms/", wrong, content_type="application/json")
        assert answer.status_code == 400, wrong
        assert answer.json()["error"]["message"]


def test_an_offline_host_is_a_409_with_a_next_step(technician, host, image):
    host.online = False
    host.save()
    answer = technician.post("/api/v1/vms/", body(host, image))
    assert answer.status_code == 409
    assert answer.json()["error"]["code"] == "host_offline"
    assert "try again" in answer.json()["error"]["message"]


def finish(job: dict, **report) -> None:
    row = Job.objects.get(pk=job["id"])
    job_take_for_sending(row.id)
    job_finished(hypervisor=row.hypervisor, report=JobFinished(job_id=str(row.id), **report))


def test_the_life_of_a_vm_over_the_api(technician, host, image):
    made = technician.post("/api/v1/vms/", body(host, image)).json()
    address = f"/api/v1/vms/{made['vm']['id']}/"
    finish(made["job"], vm=VmReport(vm_id=made["vm"]["id"], power="running"))
    seen = technician.get(address).json()
    assert (seen["state"], seen["power"]) == ("ready", "running")

    for verb, power in (("shutdown", "off"), ("start", "running"), ("stop", "off")):
        answer = technician.post(f"{address}{verb}/")
        assert answer.status_code == 202, answer.json()
        assert answer.json()["kind"] == f"vm.{verb}"
        finish(answer.json(), vm=VmReport(vm_id=made["vm"]["id"], power=power))
        assert technician.get(address).json()["power"] == power

    wish = {"memory_mib": 4096, "disks": [{"id": seen["disks"][0]["id"], "size_gib": 12}]}
    answer = technician.post(f"{address}resize/", wish)
    assert answer.status_code == 202, answer.json()
    finish(answer.json())
    seen = technician.get(address).json()
    assert (seen["memory_mib"], [disk["size_gib"] for disk in seen["disks"]]) == (4096, [12, 1])

    answer = technician.patch(address, {"name": "web-2"})
    assert answer.status_code == 202, answer.json()
    finish(answer.json())
    assert technician.get(address).json()["hostname"] == "web-2"

    answer = technician.post(f"{address}reboot/", {"force": True})
    assert answer.status_code == 202, answer.json()
    finish(answer.json())

    answer = technician.delete(f"{address}?keep_disks=true")
    assert answer.status_code == 202, answer.json()
    assert answer.json()["arguments"] == {"keep_disks": True}
    finish(answer.json())
    assert technician.get(address).status_code == 404

    jobs = technician.get(f"/api/v1/jobs/?vm={made['vm']['id']}").json()["results"]
    assert [job["kind"] for job in jobs][-1] == "vm.create"
    assert {job["status"] for job in jobs} == {"succeeded"}


def test_a_second_wish_while_a_job_holds_the_vm_is_a_409(technician, host):
    vm = VirtualMachineFactory(hypervisor=host)
    assert technician.post(f"/api/v1/vms/{vm.id}/stop/").status_code == 202
    answer = technician.post(f"/api/v1/vms/{vm.id}/start/")
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "vm_busy")


def test_a_failed_job_says_why(technician, host):
    vm = VirtualMachineFactory(hypervisor=host)
    job = technician.post(f"/api/v1/vms/{vm.id}/shutdown/").json()
    error = {"code": "guest_did_not_stop", "message": "The guest did not stop. Force it off."}

    finish(job, error=JobError(**error))
    seen = technician.get(f"/api/v1/jobs/{job['id']}/").json()
    assert (seen["status"], seen["error"]) == ("failed", error)
    assert [event["status"] for event in seen["events"]] == ["queued", "sent", "failed"]


def test_lists_are_filtered_and_paged_by_key(technician, host):
    other = HypervisorFactory(site__tenant=host.tenant)
    vms = [VirtualMachineFactory(hypervisor=host, name=f"a-{n}") for n in range(3)]
    VirtualMachineFactory(hypervisor=other, name="b", observed_power="off")
    get = lambda query: technician.get(f"/api/v1/vms/?{query}").json()  # noqa: E731
    names = lambda query: [vm["name"] for vm in get(query)["results"]]  # noqa: E731
    assert names("") == ["b", "a-2", "a-1", "a-0"]
    assert names(f"hypervisor={other.id}") == ["b"]
    assert names(f"site={host.site_id}") == ["a-2", "a-1", "a-0"]
    assert names(f"tenant={host.tenant_id}&status=off") == ["b"]
    assert names("name=A-1") == ["a-1"]
    first = get("page_size=3")
    rest = technician.get(first["next"]).json()
    assert [vm["name"] for vm in rest["results"]] == ["a-0"]
    assert rest["next"] is None
    assert technician.get("/api/v1/vms/?hypervisor=nonsense").status_code == 400
    assert len(vms) == 3


def test_a_list_costs_the_same_queries_for_one_vm_as_for_many(
    technician, host, django_assert_max_num_queries
):
    VirtualMachineFactory.create_batch(12, hypervisor=host)
    # Two of them find out what the person reaches, for the second wall.
    with django_assert_max_num_queries(10):
        assert len(technician.get("/api/v1/vms/").json()["results"]) == 12


def test_without_a_token_nothing_answers(api, host):
    answer = api.get("/api/v1/vms/")
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "not_authenticated"


def test_a_broken_token_is_told_where_to_get_a_new_one(api):
    api.credentials(HTTP_AUTHORIZATION="Bearer bslt_wrong")
    answer = api.get("/api/v1/vms/")
    assert answer.status_code == 401
    assert "account page" in answer.json()["error"]["message"]


def test_who_may_only_look_is_told_so(host, api_as):
    vm = VirtualMachineFactory(hypervisor=host)
    viewer = api_as(MembershipFactory(role="customer-viewer", tenant=host.tenant).user)
    assert viewer.get(f"/api/v1/vms/{vm.id}/").status_code == 200
    answer = viewer.post(f"/api/v1/vms/{vm.id}/start/")
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "permission_denied")


def test_methods_that_do_not_exist_are_405(technician, host):
    vm = VirtualMachineFactory(hypervisor=host)
    assert technician.put(f"/api/v1/vms/{vm.id}/", {}).status_code == 405
    assert technician.delete("/api/v1/vms/").status_code == 405


def test_an_answer_that_was_lost_is_had_again_without_a_second_vm(technician, host, image):
    headers = {"Idempotency-Key": "7b1c"}
    first = technician.post("/api/v1/vms/", body(host, image), headers=headers)
    again = technician.post("/api/v1/vms/", body(host, image), headers=headers)
    assert first.status_code == again.status_code == 202
    assert first.json() == again.json()
    assert VirtualMachine.objects.count() == Job.objects.count() == 1
    other = technician.post("/api/v1/vms/", body(host, image, name="web-2"), headers=headers)
    assert (other.status_code, other.json()["error"]["code"]) == (422, "idempotency_key_reused")


def test_a_key_of_a_failed_wish_may_be_used_again(technician, host, image):
    headers = {"Idempotency-Key": "7b1c"}
    wish = body(host, image, memory_mib=10)
    assert technician.post("/api/v1/vms/", wish, headers=headers).status_code == 400
    assert technician.post("/api/v1/vms/", body(host, image), headers=headers).status_code == 202


def test_another_persons_key_is_another_key(technician, host, image, api_as):
    headers = {"Idempotency-Key": "7b1c"}
    other = api_as(MembershipFactory(role="msp-owner", tenant=host.tenant).user)
    assert technician.post("/api/v1/vms/", body(host, image), headers=headers).status_code == 202
    answer = other.post("/api/v1/vms/", body(host, image), headers=headers)
    assert answer.json()["error"]["code"] == "name_taken"


@pytest.mark.parametrize("key", ["x" * 201, "caf\u00e9"])
def test_an_impossible_key_is_refused(technician, host, image, key):
    answer = technician.post("/api/v1/vms/", body(host, image), headers={"Idempotency-Key": key})
    assert answer.status_code == 400
    assert VirtualMachine.objects.count() == 0


def test_a_console_is_a_ticket_and_the_address_of_its_socket(technician, host, settings):
    vm = VirtualMachineFactory(hypervisor=host)
    answer = technician.post(f"/api/v1/vms/{vm.id}/console/")
    assert answer.status_code == 202, answer.json()
    made = answer.json()
    socket = settings.BASALT_ORIGIN.replace("http", "ws", 1)
    assert made["url"] == f"{socket}/console/{made['ticket']}/"
    assert made["kind"] == "vnc"
    answer = technician.post(f"/api/v1/vms/{vm.id}/console/", {"kind": "telepathy"})
    assert answer.status_code == 400
    vm.observed_power = "off"
    vm.save()
    answer = technician.post(f"/api/v1/vms/{vm.id}/console/", {"kind": "serial"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "vm_not_running")


@pytest.mark.parametrize(
    "address", ["vms/nonsense/", "vms/x/console/", "nothing/", "sites/x/join-tokens/"]
)
def test_every_404_has_the_one_shape(technician, address):
    for answer in (technician.get(f"/api/v1/{address}"), technician.post(f"/api/v1/{address}")):
        assert answer.status_code in (404, 405)
        assert answer.json()["error"]["message"]


def test_what_nobody_foresaw_is_a_500_in_the_one_shape_without_details(
    technician, host, monkeypatch, caplog
):
    def broken(**_):
        raise ZeroDivisionError("the secret of the house")

    monkeypatch.setattr("vms.services.power.vm_start", broken)
    vm = VirtualMachineFactory(hypervisor=host)
    answer = technician.post(f"/api/v1/vms/{vm.id}/start/")
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "internal")
    assert "secret" not in answer.content.decode()
    assert "ZeroDivisionError" in caplog.text


def test_a_crash_writes_no_password_into_the_log(technician, host, image, monkeypatch, caplog):
    def broken(*_, **__):
        raise ZeroDivisionError

    monkeypatch.setattr("vms.services.sealed.seal", broken)
    technician.post("/api/v1/vms/", body(host, image))
    formatters = [handler.formatter for handler in logging.getLogger().handlers]
    ours = next(each for each in formatters if isinstance(each, ProcessorFormatter))
    log = "".join(ours.format(record) for record in caplog.records)
    assert "ZeroDivisionError" in log
    assert "correct horse" not in log
