"""What guests say about their first boot: taken apart, bounded, and never believed further."""

import json

import aiohttp
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metadata.boot_reports import (
    MOST_EVENTS,
    MOST_LINES,
    BootEvent,
    BootFinal,
    BootReports,
    BootWord,
    read_report,
)
from tests.metadata.documents import document
from tests.metadata.test_server import Guest

NOW = 1_800_000_000.0


def read(content) -> BootWord | None:
    return read_report(json.dumps(content).encode(), now=NOW)


def event(name: str, kind: str = "finish", **more) -> dict:
    """As cloud-init's webhook posts it."""
    return {
        "name": name,
        "event_type": kind,
        "description": "…",
        "origin": "cloudinit",
        "timestamp": 1.5,
        **more,
    }


@pytest.mark.parametrize(
    ("name", "stage"),
    [
        ("init-local", "local"),
        ("init-network", "network"),
        ("modules-config", "config"),
        ("modules-final", "final"),
    ],
)
def test_a_stage_that_begins_is_news(name, stage):
    assert read(event(name, "start")) == BootEvent(stage=stage, kind="start", at=NOW)


@pytest.mark.parametrize("module", ["config-scripts-user", "config-scripts_user"])
def test_a_module_that_fails_is_news_and_names_its_stage(module):
    told = read(event(f"modules-final/{module}", result="FAIL"))
    assert (told.stage, told.result) == ("final", "FAIL")
    assert told.module == module.removeprefix("config-")


def test_a_module_that_went_well_is_no_news():
    assert read(event("modules-final/config-final-message", result="SUCCESS")) is None
    assert read(event("modules-final/config-final-message", "start")) is None


@pytest.mark.parametrize(
    "content",
    [
        {},
        event("init-imaginary"),
        event(""),
        event("modules-final", "explode"),
        event("modules-final", result="PERHAPS"),
        {**event("modules-final"), "name": 7},
        {**event("modules-final"), "name": None},
        {**event("modules-final"), "event_type": ["start"]},
        {"surprise": [1, 2, 3]},
    ],
)
def test_what_is_no_stage_of_a_boot_is_no_news(content):
    assert read(content) is None


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"7", b"null", b"{", b"\xff\xfe", b'{"name": "\xff"}', b"[" * 5000]
)
def test_what_is_no_object_is_refused(body):
    with pytest.raises(ValueError, match="JSON"):
        read_report(body, now=NOW)


STATUS = {
    "v1": {
        "datasource": "DataSourceOpenStackLocal [net,ver=2]",
        "stage": None,
        "init-local": {"start": 10.0, "finished": 14.5, "errors": []},
        "init": {"start": 20.0, "finished": 22.25, "errors": []},
        "modules-config": {"start": 23.0, "finished": 24.0, "errors": []},
        "modules-final": {
            "start": 25.0,
            "finished": 31.0,
            "errors": ["('scripts_user', RuntimeError('Runparts: 1 failures'))"],
        },
    }
}


def test_the_last_word_tells_the_times_the_errors_and_the_lines_that_matter():
    told = read({"status": STATUS, "result": {"v1": {}}, "log": ["one", "two\u001b[31m"]})
    assert told == BootFinal(
        datasource="DataSourceOpenStackLocal [net,ver=2]",
        seconds={"local": 4.5, "network": 2.25, "config": 1.0, "final": 6.0},
        errors={"final": ["('scripts_user', RuntimeError('Runparts: 1 failures'))"]},
        lines=["one", "two [31m"],
        at=NOW,
    )


def test_a_result_without_a_status_is_enough():
    told = read({"result": {"v1": {"datasource": "DataSourceNone", "errors": ["it broke"]}}})
    assert (told.datasource, told.errors) == ("DataSourceNone", {"final": ["it broke"]})


@pytest.mark.parametrize(
    ("start", "finished"),
    [(None, 4), (5, None), ("a", "b"), (5, 4), (True, False), (1, 1e300), (-1e308, 1e308)],
)
def test_times_that_make_no_sense_are_no_times(start, finished):
    stage = {"start": start, "finished": finished, "errors": []}
    assert read({"status": {"v1": {"init-local": stage}}}).seconds == {}


def test_the_last_word_is_cut_to_its_bounds():
    stage = {"start": 1, "finished": 2, "errors": ["e" * 9000] * 900}
    told = read({"status": {"v1": {"init": stage}}, "log": ["x" * 9000, 5, {}] * 5000})
    assert len(told.lines) <= MOST_LINES
    assert max(map(len, told.lines)) == 500
    assert len(told.errors["network"]) == 16
    assert max(map(len, told.errors["network"])) == 2000


_leaf = (
    st.none()
    | st.booleans()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.integers()
    | st.text()
)
_json = _leaf | st.lists(_leaf, max_size=4) | st.dictionaries(st.text(max_size=8), _leaf)
_stage = st.fixed_dictionaries({}, optional={"start": _json, "finished": _json, "errors": _json})


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "name": st.sampled_from(["init-local", "modules-final/config-x", "init"]) | _json,
            "event_type": st.sampled_from(["start", "finish"]) | _json,
            "result": st.sampled_from(["FAIL", {"v1": {"errors": ["x"]}}]) | _json,
            "status": st.fixed_dictionaries({"v1": st.dictionaries(st.just("init"), _stage)}),
            "log": _json,
        },
    )
)
def test_whatever_a_guest_posts_is_within_bounds_or_nothing(content):
    told = read_report(json.dumps(content).encode(), now=NOW)
    if told is not None:
        assert msgspec.convert(msgspec.to_builtins(told), BootWord) == told


def test_the_same_word_is_kept_once_and_a_flood_comes_to_an_end():
    reports = BootReports()
    first = BootEvent(stage="final", module="a", kind="finish", result="FAIL", at=1)
    assert reports.take(first)
    assert not reports.take(msgspec.structs.replace(first, at=2.0))
    for number in range(5000):
        reports.take(msgspec.structs.replace(first, module=f"m{number}"))
    assert reports.take(BootFinal(datasource="first"))
    assert not reports.take(BootFinal(datasource="second"))
    assert len(reports.words) == MOST_EVENTS + 1
    assert reports.words[-1].datasource == "first"


@pytest.fixture
async def guest():
    one = Guest(document())
    await one.listen()
    yield one
    one.nic.close()
    one.close()


async def test_reports_are_taken_over_http_before_and_after_the_seal(guest):
    path = "/basalt/v1/report"
    assert (await guest.ask("POST", path, json=event("modules-final", "start")))[0] == 200
    await guest.ask("POST", "/basalt/v1/done")
    assert (await guest.ask("POST", path, json={"status": STATUS}))[0] == 200
    assert len(guest.nic.first_boot.reports.words) == 2


async def test_ten_megabytes_of_report_are_refused(guest):
    try:
        status, _ = await guest.ask("POST", "/basalt/v1/report", data=b"{" * 10_000_000)
    except aiohttp.ClientError:
        status = 413  # cut off while it was still sending
    assert status == 413
    assert guest.nic.first_boot.reports.words == []
    assert (await guest.ask("GET", "/openstack"))[0] == 200


async def test_what_is_no_json_is_refused(guest):
    assert (await guest.ask("POST", "/basalt/v1/report", data=b"hello"))[0] == 400


async def test_a_new_instance_reports_anew(guest):
    await guest.ask("POST", "/basalt/v1/report", json=event("modules-final", "start"))
    guest.nic.replace(document(instance_id="6e0f3d1c-0000-4000-8000-000000000002"))
    assert guest.nic.first_boot.reports.words == []
    assert guest.nic.status.asked_at is None


async def test_when_the_user_data_went_out_is_known(guest):
    await guest.ask("GET", "/openstack/latest/meta_data.json")
    asked = guest.nic.status
    assert asked.asked_at is not None
    assert asked.served_at is None
    await guest.ask("GET", "/openstack/latest/user_data")
    assert guest.nic.status.served_at >= asked.asked_at
