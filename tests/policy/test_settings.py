"""Tests share nothing with a running portal, nor one worker's cache with another's."""

import os

from django.conf import settings
from redis import Redis


def test_settings_folder_and_cache_belong_to_this_process_alone():
    assert settings.SETTINGS_MODULE == "tests.settings"
    assert settings.DATA_DIR.name.startswith("basalt-tests-")


def test_each_worker_has_a_redis_database_of_its_own():
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    with Redis.from_url(settings.CACHES["default"]["LOCATION"]) as redis:
        database = redis.connection_pool.connection_kwargs.get("db") or 0
    assert database == (int(worker.removeprefix("gw")) + 1 if worker else 0)
