"""Portal, worker or agent is killed in the middle of a creation: it ends once, or not at all."""

import time

import pytest

from tests.e2e.leftovers import traces_of

pytestmark = [pytest.mark.guest, pytest.mark.libvirt, pytest.mark.root, pytest.mark.timeout(600)]


@pytest.mark.parametrize("victim", ["portal", "worker", "agent"])
@pytest.mark.parametrize("delay", [0.0, 0.4])
def test_a_killed_process_leaves_one_vm_or_a_reason(stack, victim, delay):
    name = f"killed-{victim}-{int(delay * 10)}"
    answer = stack.api.post(
        "vms/",
        {
            "name": name,
            "hypervisor": stack.hypervisor["id"],
            "image": stack.image["id"],
            "vcpus": 1,
            "memory_mib": 256,
            "disks": [{"size_gib": 5}],
            "username": "tester",
            "password": "correct horse 42",
        },
        expect=202,
    )
    time.sleep(delay)
    stack.kill(victim)
    job = stack.wait_for_job(answer["job"]["id"], seconds=180)
    domains = [
        line
        for line in stack.virsh("list", "--all", "--uuid").split()
        if line == answer["vm"]["id"]
    ]
    if job["status"] == "succeeded":
        assert domains == [answer["vm"]["id"]]
        stack.wait_for_vm(answer["vm"]["id"], power="running", seconds=30)
    else:
        assert job["error"]["message"]
        assert domains == []
    stack.delete_vm_if_there(answer["vm"]["id"])
    assert traces_of(answer["vm"], stack.agent_data) == []
