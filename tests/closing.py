"""A pytest plugin for script/test: counts for its closing line, and no test left out unseen.

With BASALT_REQUIRE_ALL=1 a skipped test fails, for a check that did not run proves nothing.
With BASALT_TEST_COUNTS=FILE the counts of a run, and what failed, are added to FILE as a line
of JSON. It needs nothing but pytest: it also runs where there is no Django.
"""

import json
import os
from collections.abc import Generator
from pathlib import Path
from typing import TypeVar

import pytest

Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)

OUTCOMES = ("passed", "failed", "error", "skipped", "xfailed", "xpassed")


def _required(report: Report) -> Report:
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("BASALT_REQUIRE_ALL"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"Every test must run here, and this one does not. {reason}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    return _required((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    return _required((yield))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    file = os.environ.get("BASALT_TEST_COUNTS")
    if not file or hasattr(terminalreporter.config, "workerinput"):
        return  # a worker's tests are counted by the process that started it
    stats = terminalreporter.stats
    failed = [*stats.get("failed", []), *stats.get("error", [])]
    counts = {outcome: len(stats.get(outcome, [])) for outcome in OUTCOMES}
    with Path(file).open("a") as lines:
        lines.write(json.dumps({"counts": counts, "failed": [one.nodeid for one in failed]}) + "\n")
