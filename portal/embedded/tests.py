"""What `script/test` does once the packages are there."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from portal.embedded.services import Libvirt, Postgres, Redis

ROOT = Path(__file__).resolve().parent.parent.parent
AGENT_PYTHON = ROOT / ".venv-agent" / "bin" / "python"
AGENT_TESTS = ["tests/agent", "tests/metadata", "tests/build"]


class _Run:
    """Steps one after the other; what fails is remembered, and the rest still runs."""

    def __init__(self, env: dict[str, str]) -> None:
        self.env = env
        self.failed: list[str] = []
        self.seconds: dict[str, float] = {}

    def step(self, name: str, command: Sequence[str], *, env: dict[str, str] | None = None) -> None:
        print(f"\n== {name}", flush=True)
        begun = time.monotonic()
        status = subprocess.run(
            list(command), check=False, cwd=ROOT, env={**self.env, **(env or {})}
        ).returncode
        self.seconds[name] = round(time.monotonic() - begun, 1)
        if status != 0:
            self.failed.append(name)


def run_tests(arguments: Sequence[str], *, setup_seconds: int) -> int:
    """Returns an exit status. With `arguments`, only pytest on what they name."""
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="basalt-test-") as folder:
        data = Path(folder)
        data.chmod(0o755)
        postgres, redis = Postgres(data, durable=False), Redis(data, durable=False)
        libvirt = Libvirt(data)
        try:
            postgres.start()
            redis.start()
            if os.geteuid() == 0:
                libvirt.start()
            run = _Run(_environment(postgres, redis, data))
            if arguments:
                run.step("pytest", [sys.executable, "-m", "pytest", *arguments])
            else:
                _everything(run)
        finally:
            redis.stop()
            postgres.stop()
            libvirt.stop()
    run.seconds["setup"] = setup_seconds
    total = time.monotonic() - begun + setup_seconds
    timing = {"steps": run.seconds, "total_s": round(total, 1), "failed": run.failed}
    (ROOT / "var").mkdir(exist_ok=True)
    (ROOT / "var" / "test-timing.json").write_text(json.dumps(timing, indent=2) + "\n")
    print(f"\nThis took {total / 60:.1f} minutes: {json.dumps(run.seconds)}")
    if run.failed:
        print(f"Failed: {', '.join(run.failed)}")
        return 1
    return 0


def _environment(postgres: Postgres, redis: Redis, data: Path) -> dict[str, str]:
    return {
        **os.environ,
        "DATABASE_URL": postgres.url,
        "REDIS_URL": redis.url,
        "BASALT_DATA_DIR": str(data / "portal"),
        "DJANGO_SETTINGS_MODULE": "portal.settings",
        "BASALT_IMAGE_CACHE": os.environ.get("BASALT_IMAGE_CACHE", str(ROOT / "var" / "images")),
    }


def _everything(run: _Run) -> None:
    python = [sys.executable, "-m"]
    manage = [sys.executable, "manage.py"]
    run.step("ruff check", [*python, "ruff", "check", "."])
    run.step("ruff format", [*python, "ruff", "format", "--check", "."])
    run.step("types", [*python, "mypy", "."])
    run.step("layers", [str(Path(sys.executable).with_name("lint-imports"))])
    run.step("migrations", [*manage, "makemigrations", "--check", "--dry-run"])
    run.step("django checks", [*manage, "check", "--fail-level", "WARNING"])
    run.step(
        "API schema", [*manage, "spectacular", "--validate", "--fail-on-warn", "--file", os.devnull]
    )
    # Hosts have no Django. Their tests run where it can't be imported.
    no_django = "import importlib.util as u, sys; sys.exit(u.find_spec('django') is not None)"
    run.step("no Django on a host", [str(AGENT_PYTHON), "-c", no_django])
    agent_env = {"DJANGO_SETTINGS_MODULE": ""}
    run.step("tests of the host", [str(AGENT_PYTHON), "-m", "pytest", *AGENT_TESTS], env=agent_env)
    rest = [f"--ignore={folder}" for folder in AGENT_TESTS]
    run.step(
        "tests of the portal",
        [*python, "pytest", "-n", "2", "--dist", "loadgroup", *rest, "--ignore=tests/e2e",
         "--ignore=tests/operations"],
    )  # fmt: skip
    run.step(
        "tests of the whole",
        [*python, "pytest", "-p", "no:randomly", "tests/operations", "tests/e2e"],
    )
