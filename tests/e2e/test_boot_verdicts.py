"""Debian's own cloud-init, unmodified: how the host judges boots that go well and that don't.

BASALT_GUESTS=all (`script/test --all`) boots every case on both suites, and
BASALT_GUESTS=again,debian-12-package those; without it a part stands for the whole.
"""

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import msgspec
import pytest

from tests.e2e.farm import farm
from tests.e2e.verdicts import (
    EXPECTED,
    KEPT_SECRET,
    OTHER_PASSWORD,
    PASSWORD,
    Case,
    Told,
    boot,
    network,
)

pytestmark = [pytest.mark.guest, pytest.mark.libvirt, pytest.mark.root, pytest.mark.timeout(3600)]

ALL = [Case(suite, kind) for kind in EXPECTED for suite in ("debian-12", "debian-13")]
FEW = [Case("debian-12", "yaml"), Case("debian-13", "script"), Case("debian-12", "again")]
WANTED = os.environ.get("BASALT_GUESTS", "").split(",")
CASES = [case for case in ALL if {"all", case.kind, str(case)} & set(WANTED)] or FEW
AGAIN = [case for case in CASES if case.kind == "again"]
AT_ONCE = 2


@pytest.fixture(scope="module")
def boots() -> Iterator[Callable[[Case], Told]]:
    missing = [name for name in ("virsh", "qemu-system-x86_64", "nft") if not shutil.which(name)]
    if missing or os.geteuid() != 0:
        pytest.skip(f"guests need root and these programs: {missing or 'root'}")
    with contextlib.ExitStack() as stack:
        one = stack.enter_context(farm())
        for suite in {case.suite for case in CASES}:
            one.image(suite)
        on = network()
        pool = stack.enter_context(ThreadPoolExecutor(AT_ONCE))
        told: dict[Case, Future[Told]] = {
            case: pool.submit(boot, one, case, on, 20 + number) for number, case in enumerate(CASES)
        }
        yield lambda case: told[case].result()


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_verdict_is_right_and_says_why(boots, case):
    told = boots(case)
    assert (told.boot.verdict, told.boot.reason) == EXPECTED[case.kind]
    assert "DataSourceOpenStack" in told.boot.datasource
    assert told.report.vm.cloud_init == {"done": "done", "failed": "failed"}[told.boot.verdict]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_each_stage_has_its_time(boots, case):
    stages = boots(case).boot.stages
    assert [stage.name for stage in stages] == ["local", "network", "config", "final"]
    assert all(stage.seconds is not None for stage in stages)
    assert all(stage.status in ("ok", "warnings", "failed") for stage in stages)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_nic_was_asked_served_and_sealed_in_this_order(boots, case):
    nic = boots(case).report.vm.nics[0]
    assert nic.metadata == "sealed"
    assert nic.asked_at <= nic.served_at < nic.sealed_at


@pytest.mark.parametrize("case", CASES, ids=str)
def test_nobody_in_the_guest_reads_secrets_any_more_by_either_family(boots, case):
    outside = boots(case).outside
    _holds_no_secret(outside["4"])
    _holds_no_secret(outside["6"])
    assert outside["shadow"].startswith("tester:$6$")


def _holds_no_secret(served):
    # What is not secret is still told.
    assert "tester" in served
    for secret in (KEPT_SECRET, PASSWORD, OTHER_PASSWORD, "$6$"):
        assert secret not in served


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_lines_of_the_log_help_and_show_no_secret(boots, case):
    told = boots(case)
    assert OTHER_PASSWORD not in str(told.news)
    said = b"".join(msgspec.json.encode(one) for one in told.news).decode()
    assert KEPT_SECRET not in said
    assert PASSWORD not in said
    assert "$6$" not in said
    assert (
        case.kind in ("good", "again") or told.boot.log or any(s.errors for s in told.boot.stages)
    )


if AGAIN:

    @pytest.mark.parametrize("case", AGAIN, ids=str)
    def test_a_first_boot_again_gives_another_password_to_another_instance(boots, case):
        found = boots(case).outside
        # Until it was off, the guest was the one it had been, and was told nothing new.
        _holds_no_secret(found["4 before"])
        _holds_no_secret(found["6 before"])
        assert found["instance"] != found["instance before"] == found["uuid before"]
        assert found["uuid"] == found["instance"]
        assert found["shadow"].split(":")[1] != found["shadow before"].split(":")[1]
        assert found["host key"] != found["host key before"]
