"""What `script/test` does once the packages are there."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn, TextIO

from portal.embedded.leftovers import end_leftovers, leftovers, mark
from portal.embedded.services import Libvirt, Postgres, Redis

ROOT = Path(__file__).resolve().parent.parent.parent
AGENT_PYTHON = ROOT / ".venv-agent" / "bin" / "python"
AGENT_TESTS = ["tests/agent", "tests/metadata"]
IMAGE_TESTS = "tests/build"
OPERATIONS_TESTS = "tests/operations"
WHOLE_TESTS = "tests/e2e"
_NOTHING_COLLECTED = 5


class _Run:
    """Steps, of which what fails is remembered, and the rest still runs.

    Steps in a thread of their own write to a file, which is shown when they are done.
    """

    def __init__(self, env: dict[str, str], folder: Path) -> None:
        self.env = env
        self.folder = folder
        self.failed: list[str] = []
        """Checks that failed."""
        self.failures: list[str] = []
        """Tests that failed."""
        self.totals: Counter[str] = Counter()
        self.seconds: dict[str, float] = {}
        self._running: list[subprocess.Popen[bytes]] = []

    def step(
        self,
        name: str,
        command: Sequence[str],
        *,
        env: dict[str, str] | None = None,
        output: TextIO | None = None,
    ) -> int:
        """Returns the exit status."""
        print(f"\n== {name}", flush=True, file=output)
        begun = time.monotonic()
        process = subprocess.Popen(
            list(command),
            cwd=ROOT,
            env={**self.env, **(env or {})},
            stdout=output,
            stderr=subprocess.STDOUT if output else None,
        )
        self._running.append(process)
        status = process.wait()
        self._running.remove(process)
        self.seconds[name] = round(time.monotonic() - begun, 1)
        return status

    def stop(self) -> None:
        """End what still runs: somebody wants no answer any more."""
        for process in list(self._running):
            process.terminate()

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
        output: TextIO | None = None,
    ) -> None:
        counts = self.folder / f"{name.replace('/', ' ')}.counts"
        plugin = [
            *("-p", "tests.closing", "--continue-on-collection-errors"),
            *("--durations", "10", "--durations-min", "5"),
        ]
        status = self.step(
            name,
            [str(python), "-m", "pytest", *plugin, *arguments],
            env={
                "BASALT_TEST_COUNTS": str(counts),
                "DJANGO_SETTINGS_MODULE": "tests.settings",
                **(env or {}),
            },
            output=output,
        )
        failures: list[str] = []
        if counts.exists():
            counted = json.loads(counts.read_text())
            self.totals.update(counted["counts"])
            failures = counted["failed"]
        self.failures += failures
        # A failing test is told by its own name; anything else that ended pytest by this one.
        if not (status == 0 or failures or (status == _NOTHING_COLLECTED and may_be_empty)):
            self.failed.append(name)


def run_tests(arguments: Sequence[str], *, setup_seconds: int, everything: bool) -> int:
    """Returns an exit status. With `arguments` and not `everything`, only pytest on what they
    name. With `everything`, guests of each kind are booted and not a part of them."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _stop)
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="basalt-test-") as folder:
        data = Path(folder)
        data.chmod(0o755)
        mark(data)
        postgres, redis = Postgres(data, durable=False), Redis(data, durable=False)
        libvirt = Libvirt(data)
        env = _environment(postgres, redis, data)
        if everything:
            env.setdefault("BASALT_GUESTS", "all")
        run = _Run(env, data)
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
            run.stop()
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
        "BASALT_OWNER_DATABASE_URL": postgres.owner_url,
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
    # Emulated guests keep one processor busy, and the other tests the other. What restarts
    # libvirtd has ended before the whole begins.
    with _beside(run, "tests of the host", AGENT_TESTS, arguments):
        _test_portal(run, arguments)
    with _beside(run, "tests of the images", [IMAGE_TESTS], arguments):
        run.pytest(
            "tests of the whole",
            ["-p", "no:randomly", WHOLE_TESTS, *arguments],
            may_be_empty=bool(arguments),
        )


def _test_portal(run: _Run, arguments: Sequence[str]) -> None:
    ignored = [
        f"--ignore={folder}"
        for folder in (*AGENT_TESTS, IMAGE_TESTS, OPERATIONS_TESTS, WHOLE_TESTS)
    ]
    run.pytest(
        "tests of the portal",
        ["-n", "2", "--dist", "loadgroup", *ignored, *arguments],
        may_be_empty=bool(arguments),
    )
    run.pytest(
        "tests of script/up",
        ["-p", "no:randomly", OPERATIONS_TESTS, *arguments],
        may_be_empty=bool(arguments),
    )


@contextmanager
def _beside(
    run: _Run, name: str, folders: Sequence[str], arguments: Sequence[str]
) -> Iterator[None]:
    """These tests, without Django, while the block runs; what they say comes after it."""
    with (run.folder / f"{name}.output").open("w+") as output, ThreadPoolExecutor(1) as pool:
        ended = pool.submit(
            run.pytest,
            name,
            [*folders, *arguments],
            python=AGENT_PYTHON,
            env={"DJANGO_SETTINGS_MODULE": ""},
            may_be_empty=bool(arguments),
            output=output,
        )
        try:
            yield
            ended.result()
        except BaseException:
            run.stop()
            raise
        output.seek(0)
        shutil.copyfileobj(output, sys.stdout)


def _close(run: _Run, seconds: float, *, gates: bool) -> int:
    """Write down how long it took, and end as pytest ends: with one line of counts for all."""
    totals, failures = run.totals, run.failures
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
