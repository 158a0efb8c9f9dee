"""A sample of the API's whole description, tried as every role and as nobody, another one each
day. The whole is `script/bench walls --only schema`."""

import datetime
import os

import pytest

from tests.policy.schema import run
from tests.policy.worlds import Scene, scene_make

PART = float(os.environ.get("BASALT_SCHEMA_PART", "0.2"))
EXAMPLES = int(os.environ.get("BASALT_SCHEMA_EXAMPLES", "2"))
SEED = int(os.environ.get("BASALT_SCHEMA_SEED", datetime.date.today().toordinal()))  # noqa: DTZ011


@pytest.fixture
def scene(db: None) -> Scene:
    return scene_make()


def test_no_request_breaks_the_api_or_tells_too_much(scene):
    found = run(scene, examples=EXAMPLES, seed=SEED, part=PART)
    assert found.requests > 100
    assert found.problems == [], f"seed {SEED}"
