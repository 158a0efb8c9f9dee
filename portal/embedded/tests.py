"""What `script/test` does once the packages are there."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

from portal.embedded.leftovers import end_leftovers, leftovers, mark
from portal.embedded.services import Libvirt, Postgres, Redis

ROOT = Path(__file__).resolve().parent.parent.parent
AGENT_PYTHON = ROOT / ".venv-agent" / "bin" / "python"
AGENT_TESTS = ["tests/agent", "tests/metadata", "tests/build"]
WHOLE_TESTS = ["tests/operations", "tests/e2e"]
_NOTHING_COLLECTED = 5


class _Run:
    """Steps one after the other; what fails is remembered, and the rest still runs."""

    def __init__(self, env: dict[str, str], counts: Path) -> None:
        self.env = {**env, "BASALT_TEST_COUNTS": str(counts)}
        self.counts = counts
        self.failed: list[str] = []
        self.seconds: dict[str, float] = {}

    def step(self, name: str, command: Sequence[str], *, env: dict[str, str] | None = None) -> int:
        """Returns the exit status."""
        print(f"\n== {name}", flush=True)
        begun = time.monotonic()
        status = subprocess.run(
            list(command), check=False, cwd=ROOT, env={**self.env, **(env or {})}
        ).returncode
        self.seconds[name] = round(time.monotonic() - begun, 1)
        return status

    def check(self, name: str, command: Sequence[str]) -> None:
        if self.step(name, command) != 0:
            self.failed.append(name)

    def pytest(
        self,
        name: str,
        arguments: Sequence[str],
        *,
        python: Path = Path(sys.executable),
        env: dict[str, str] | None = None,
        may_be_empty: bool = False,
    ) -> None:
        plugin = ["-p", "tests.closing", "--continue-on-collection-errors"]
        command = [str(python), "-m", "pytest", *plugin, *arguments]
        before = len(self.failures())
        status = self.step(name, command, env=env)
        if status == _NOTHING_COLLECTED and may_be_empty:
            return
        # A failing test is told by its own name; anything else that ended pytest by this one.
        if status != 0 and len(self.failures()) == before:
            self.failed.append(name)

    def totals(self) -> Counter[str]:
        total: Counter[str] = Counter()
        for line in self._lines():
            total.update(line["counts"])
        return total

    def failures(self) -> list[str]:
        return [test for line in self._lines() for test in line["failed"]]

    def _lines(self) -> list[dict[str, dict[str, int] | list[str]]]:
        if not self.counts.exists():
            return []
        return [json.loads(line) for line in self.counts.read_text().splitlines()]


def run_tests(arguments: Sequence[str], *, setup_seconds: int, everything: bool) -> int:
    """Returns an exit status. With `arguments` and not `everything`, only pytest on what they
    name."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _stop)
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="basalt-test-") as folder:
        data = Path(folder)
        data.chmod(0o755)
        mark(data)
        postgres, redis = Postgres(data, durable=False), Redis(data, durable=False)
        libvirt = Libvirt(data)
        run = _Run(_environment(postgres, redis, data), data / "counts")
        try:
            postgres.start()
            redis.start()
            if os.geteuid() == 0:
                libvirt.start()
            if arguments and not everything:
                run.pytest("pytest", arguments)
            else:
                _everything(run, arguments)
        finally:
            redis.stop()
            postgres.stop()
            libvirt.stop()
        if left := leftovers(data):
            print("\nThe tests left processes behind:", *(one.command for one in left), sep="\n  ")
            run.failed.append("nothing left behind")
            end_leftovers(data, also_metadata=True)
        run.seconds["setup"] = setup_seconds
        return _close(
            run, time.monotonic() - begun + setup_seconds, gates=everything or not arguments
        )


def _stop(number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)


def _environment(postgres: Postgres, redis: Redis, data: Path) -> dict[str, str]:
    return {
        **os.environ,
        "DATABASE_URL": postgres.url,
        "REDIS_URL": redis.url,
        "BASALT_DATA_DIR": str(data / "portal"),
        "DJANGO_SETTINGS_MODULE": "portal.settings",
        "BASALT_IMAGE_CACHE": os.environ.get("BASALT_IMAGE_CACHE", str(ROOT / "var" / "images")),
    }


def _everything(run: _Run, arguments: Sequence[str]) -> None:
    python = [sys.executable, "-m"]
    manage = [sys.executable, "manage.py"]
    run.check("ruff check", [*python, "ruff", "check", "."])
    run.check("ruff format", [*python, "ruff", "format", "--check", "."])
    run.check("types", [*python, "mypy", "."])
    run.check("layers", [str(Path(sys.executable).with_name("lint-imports"))])
    run.check("migrations", [*manage, "makemigrations", "--check", "--dry-run"])
    run.check("django checks", [*manage, "check", "--fail-level", "WARNING"])
    run.check(
        "API schema", [*manage, "spectacular", "--validate", "--fail-on-warn", "--file", os.devnull]
    )
    # Hosts have no Django. Their tests run where it can't be imported.
    no_django = "import importlib.util as u, sys; sys.exit(u.find_spec('django') is not None)"
    run.check("no Django on a host", [str(AGENT_PYTHON), "-c", no_django])
    some = bool(arguments)
    run.pytest(
        "tests of the host",
        [*AGENT_TESTS, *arguments],
        python=AGENT_PYTHON,
        env={"DJANGO_SETTINGS_MODULE": ""},
        may_be_empty=some,
    )
    ignored = [f"--ignore={folder}" for folder in (*AGENT_TESTS, *WHOLE_TESTS)]
    run.pytest(
        "tests of the portal",
        ["-n", "2", "--dist", "loadgroup", *ignored, *arguments],
        may_be_empty=some,
    )
    run.pytest(
        "tests of the whole",
        ["-p", "no:randomly", *WHOLE_TESTS, *arguments],
        may_be_empty=some,
    )


def _close(run: _Run, seconds: float, *, gates: bool) -> int:
    """Write down how long it took, and end as pytest ends: with one line of counts for all."""
    totals, failures = run.totals(), run.failures()
    if gates:
        timing = {
            "steps": run.seconds,
            "total_s": round(seconds, 1),
            "counts": dict(totals),
            "failed": [*run.failed, *failures],
        }
        (ROOT / "var").mkdir(exist_ok=True)
        (ROOT / "var" / "test-timing.json").write_text(json.dumps(timing, indent=2) + "\n")
        print("\nSeconds:", ", ".join(f"{name} {took:g}" for name, took in run.seconds.items()))
    for name in run.failed:
        print(f"FAILED {name}")
    for test in failures:
        print(f"FAILED {test}")
    totals["failed"] += len(run.failed)
    words = [
        f"{totals[word]} {'errors' if word == 'error' and totals[word] > 1 else word}"
        for word in ("failed", "passed", "skipped", "xfailed", "xpassed", "error")
        if totals[word]
    ]
    clock = time.strftime("%H:%M:%S", time.gmtime(seconds))
    closing = f" {', '.join(words) or 'no tests ran'} in {seconds:.2f}s ({clock}) "
    print(f"{closing:=^80}", flush=True)
    return 1 if run.failed or failures else 0
