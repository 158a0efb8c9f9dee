"""A sample of the matrix, another one each day: with both walls, and with the first one gone.
The whole is `script/bench walls`."""

import datetime
import os

import pytest
from django.db import connection

from tenants.walls import OPEN
from tests.policy.matrix import calls, no_first_wall, run, templates
from tests.policy.test_walls import walls
from tests.policy.worlds import Scene, scene_make, word

PART = float(os.environ.get("BASALT_MATRIX_PART", "0.002"))
SEED = int(os.environ.get("BASALT_MATRIX_SEED", datetime.date.today().toordinal()))  # noqa: DTZ011


@pytest.fixture
def scene(db: None) -> Scene:
    return scene_make()


def test_the_walk_finds_every_part_of_the_portal():
    found = {template for template, _ in templates()}
    assert {"vms/", "search/", "api/v1/vms/", "agent/v1/enrol/"} <= found
    assert len(found) > 50
    assert len(calls()) > 1500


def test_the_worlds_have_a_row_in_every_walled_table(scene):
    """Else a leak of that kind of row could not show: add one in tests/policy/worlds.py."""
    without_words = {
        # Follow their person or their parent, whose rows are looked at.
        "account_emailaddress", "account_emailconfirmation", "tenants_user_groups",
        "tenants_user_user_permissions", "socialaccount_socialtoken",
        # Stays empty.
        "socialaccount_socialapp",
    }  # fmt: skip
    mark = word(scene.worlds["sibling"].digits)
    for table in set(walls()) - set(OPEN) - without_words:
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT 1 FROM {table} r WHERE r::text ~ %s", [mark])  # noqa: S608
            assert cursor.fetchone(), table


def test_nobody_is_told_of_another_tenants_things(scene):
    tally = run(scene, sample=PART, seed=SEED)
    assert tally.calls > 100
    assert tally.leaks == [], f"seed {SEED}"
    assert tally.errors == [], f"seed {SEED}"


def test_nor_with_the_first_wall_gone(scene):
    with no_first_wall():
        tally = run(scene, sample=PART, seed=SEED, coarse=True)
    assert tally.calls > 100
    assert tally.leaks == [], f"seed {SEED}"


def test_the_matrix_sees_a_leak_when_both_walls_are_gone(scene, monkeypatch):
    from tenants.scope import system_scope

    everything = system_scope("to see that leaks are seen")
    monkeypatch.setattr("tenants.api.base.scope_of", lambda *_: everything)
    monkeypatch.setattr("tenants.middleware.scope_of", lambda *_: everything)
    with no_first_wall():
        tally = run(scene, sample=PART, seed=SEED)
    assert tally.leaks
