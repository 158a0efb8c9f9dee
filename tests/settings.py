"""The portal's settings, with what only tests need: cheap password hashes, plain static files,
a folder and a Redis database of each test process's own.
"""

import os
import tempfile

_WORKER = os.environ.get("PYTEST_XDIST_WORKER", "")
# What a test starts inherits all of this; a worker of pytest-xdist begins anew.
if os.environ.get("BASALT_TEST_WORKER") != _WORKER:
    os.environ["BASALT_TEST_WORKER"] = _WORKER
    # Keys and uploads of the tests never land among those of a running portal. The services
    # of that portal (its PostgreSQL and Redis) are found before the folder is changed.
    _DATA = tempfile.TemporaryDirectory(prefix="basalt-tests-")
    if "DATABASE_URL" not in os.environ or "REDIS_URL" not in os.environ:
        from portal.config import PortalConfig

        _config = PortalConfig()
        os.environ.setdefault("DATABASE_URL", _config.database_conninfo())
        os.environ.setdefault("BASALT_OWNER_DATABASE_URL", _config.owner_conninfo() or "")
        os.environ.setdefault("REDIS_URL", _config.redis_address())
    os.environ["BASALT_DATA_DIR"] = _DATA.name
    # Tests that empty the cache, or fill it, do so in a Redis database of their own worker.
    if _WORKER and "?" not in os.environ["REDIS_URL"]:
        os.environ["REDIS_URL"] += f"?db={int(_WORKER.removeprefix('gw')) % 15 + 1}"

from portal.settings import *  # noqa: E402, F403

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
# Tests ask more in a minute than people do; the one about this limit sets its own.
BASALT_API_CALLS_PER_MINUTE = 0
# WhiteNoise warns about a folder that is not there.
STATIC_ROOT.mkdir(parents=True, exist_ok=True)  # noqa: F405
