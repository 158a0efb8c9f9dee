"""The bench reads a console as a person would, and counts time honestly."""

import json

import pytest

from tests.bench.figures import at_most, emit, plain
from tests.bench.marks import medians, moments, spans

CONSOLE = [
    (4.0, "[    0.000000] Linux version 6.1.0-56-cloud-amd64 (debian-kernel@lists.debian.org)"),
    (9.0, "[    5.1] systemd[1]: systemd 252.39-1 running in system mode (+PAM +AUDIT)"),
    (30.0, "[ 26.2] cloud-init[315]: Cloud-init v. 22.4.2 running 'init-local' at Mon, 23 Nov"),
    (40.0, "[ 36.7] cloud-init[346]: Cloud-init v. 22.4.2 running 'init' at Mon, 23 Nov 2026"),
    (41.0, "login: [ 36.9] cloud-init[346]: Cloud-init v. 22.4.2 running 'init' at once more"),
    (65.0, "Cloud-init v. 25.1.4 finished at Mon, 23 Nov 2026. Datasource DataSourceNoCloud"),
]


def test_each_mark_is_taken_where_it_is_first_seen():
    assert moments(CONSOLE) == {
        "kernel": 4.0,
        "systemd": 9.0,
        "cloud-init-local": 30.0,
        "cloud-init-network": 40.0,
        "finished": 65.0,
    }


def test_spans_add_up_to_the_last_moment():
    parts = spans(moments(CONSOLE))
    assert parts["cloud-init-local"] == 21.0
    assert sum(parts.values()) == 65.0


def test_a_line_that_came_late_in_a_burst_takes_no_negative_time():
    assert spans({"a": 5.0, "b": 4.0, "c": 7.0}) == {"a": 5.0, "b": 0.0, "c": 2.0}


def test_medians_take_only_what_every_round_has():
    assert medians([{"a": 1.0, "b": 9.0}, {"a": 3.0}]) == {"a": 2.0}


@pytest.mark.parametrize(("value", "ok"), [(2.9, True), (3.0, True), (3.1, False)])
def test_an_aim_that_is_missed_is_not_ok(value, ok, capsys):
    emit(at_most("first-vm", "above-floor", value, "s", aim=3.0))
    assert json.loads(capsys.readouterr().out)["ok"] is ok


def test_a_figure_is_one_line_with_all_its_fields(capsys):
    emit(plain("first-vm", "request-to-finished", 65.43211, "s", peer=62.0))
    assert capsys.readouterr().out == (
        '{"bench": "first-vm", "name": "request-to-finished", "value": 65.432, "unit": "s", '
        '"aim": null, "ok": true, "peer": 62.0}\n'
    )
