"""script/up as an operator uses it: ready, stopped, continued, interrupted, run twice."""

import json
import os
import signal
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import free_port
from tests.e2e.stack import Stack

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300), pytest.mark.xdist_group("up")]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    data = tmp_path_factory.mktemp("up") / "all my data"
    stack = Stack(data, free_port(), "--no-hypervisor", "--simulate", "2")
    stack.start()
    yield stack
    stack.stop()


def processes_of(stack: Stack) -> str:
    done = subprocess.run(
        ["pgrep", "-af", str(stack.data)], check=False, capture_output=True, text=True
    )
    return done.stdout


def sockets_of(stack: Stack) -> list[Path]:
    run = stack.data / "run"
    return [path for path in run.rglob("*") if stat.S_ISSOCK(path.lstat().st_mode)]


def test_it_says_where_to_go_and_who_to_be(stack: Stack):
    said = stack.output.read_text()
    assert stack.url in said
    assert stack.email in said
    assert stack.password in said


def test_scripts_find_the_token_in_a_file_that_nobody_else_can_read(stack: Stack):
    path = stack.data / "admin.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert set(stack.admin) >= {"url", "email", "password", "api_token"}


def test_the_simulated_hosts_are_online(stack: Stack):
    hosts = stack.api.get("hypervisors/")["results"]
    assert [host["online"] for host in hosts] == [True, True]


def test_a_vm_can_be_made_on_a_simulated_host_at_once(stack: Stack):
    answer = stack.api.post(
        "vms/",
        {
            "name": "first",
            "hypervisor": stack.hypervisor["id"],
            "image": "debian-12",
            "vcpus": 1,
            "memory_mib": 512,
            "username": "maria",
            "password": "correct horse battery",
        },
        expect=202,
    )
    assert stack.wait_for_job(answer["job"]["id"])["status"] == "succeeded"


def test_a_second_start_on_the_same_data_is_refused_with_a_sentence(stack: Stack):
    second = Stack(stack.data, free_port(), "--no-hypervisor")
    second.output = stack.data.parent / "second.log"
    with pytest.raises(AssertionError, match="already"):
        second.start(seconds=60)


def test_a_port_in_use_is_named(stack: Stack, tmp_path: Path):
    second = Stack(tmp_path / "data", stack.port, "--no-hypervisor")
    with pytest.raises(AssertionError, match=f"Port {stack.port}"):
        second.start(seconds=60)


def test_a_killed_worker_is_started_again(stack: Stack):
    before = stack.pids()["worker"]
    stack.kill("worker")
    end = time.monotonic() + 30
    while stack.pids().get("worker") in (before, None):
        assert time.monotonic() < end
        time.sleep(0.2)


def test_ctrl_c_leaves_no_process_and_no_socket_and_the_next_start_keeps_all(stack: Stack):
    password, hosts = stack.password, stack.api.get("hypervisors/")["results"]
    stack.stop()
    assert processes_of(stack) == ""
    assert sockets_of(stack) == []
    stack.start(seconds=60)
    assert json.loads((stack.data / "admin.json").read_text())["password"] == password
    assert {host["id"] for host in stack.api.get("hypervisors/")["results"]} == {
        host["id"] for host in hosts
    }
    assert [vm["name"] for vm in stack.api.get("vms/")["results"]] == ["first"]


def test_after_kill_9_the_next_start_repairs_even_when_it_comes_at_once(stack: Stack):
    assert stack.process is not None
    os.kill(stack.process.pid, signal.SIGKILL)
    stack.process.wait()
    stack.start(seconds=120)
    assert [vm["name"] for vm in stack.api.get("vms/")["results"]] == ["first"]
    assert all(host["online"] for host in stack.api.get("hypervisors/")["results"])


def test_after_kill_9_nothing_stays(stack: Stack):
    assert stack.process is not None
    os.kill(stack.process.pid, signal.SIGKILL)
    stack.process.wait()
    end = time.monotonic() + 30
    while processes_of(stack):
        assert time.monotonic() < end, processes_of(stack)
        time.sleep(0.2)
    stack.start(seconds=120)


def test_the_portal_may_move_to_another_port_and_its_hosts_follow(stack: Stack):
    stack.stop()
    stack.move(free_port())
    stack.start(seconds=60)
    assert all(host["online"] for host in stack.api.get("hypervisors/")["results"])


def test_a_fresh_start_knows_nothing_of_before(stack: Stack):
    password = stack.password
    stack.stop()
    fresh = Stack(stack.data, stack.port, "--no-hypervisor", "--fresh")
    fresh.start(seconds=120)
    assert fresh.password != password
    assert fresh.api.get("vms/")["results"] == []
    assert fresh.api.get("hypervisors/")["results"] == []
    fresh.stop()
