"""script/test's plugin: no test is left out unseen, and everything is counted."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent

TESTS = """
import pytest

def test_good():
    pass

@pytest.mark.skip(reason="no root here")
def test_left_out():
    pass

@pytest.mark.xfail(strict=True)
def test_known_to_fail():
    assert False
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "test_some.py").write_text(TESTS)
    (tmp_path / "test_module.py").write_text(
        "import pytest\npytest.skip('no libvirt', allow_module_level=True)\n"
    )
    return tmp_path


def run(folder: Path, *arguments: str, **env: str) -> "subprocess.CompletedProcess[str]":
    kept = {key: value for key, value in os.environ.items() if not key.startswith("BASALT_")}
    return subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-p", "tests.closing"),
            *("--continue-on-collection-errors", *arguments, str(folder)),
        ],
        check=False,
        capture_output=True,
        text=True,
        cwd=folder,
        env={**kept, "PYTHONPATH": str(ROOT), "BASALT_TEST_COUNTS": f"{folder}/counts", **env},
    )


def counts(folder: Path) -> dict[str, int]:
    return json.loads((folder / "counts").read_text())["counts"]


@pytest.mark.parametrize("workers", [[], ["-n", "2"]], ids=["alone", "workers"])
def test_where_all_is_required_a_skipped_test_and_a_skipped_file_fail(
    folder: Path, workers: list[str]
):
    done = run(folder, *workers, BASALT_REQUIRE_ALL="1")
    assert done.returncode != 0
    assert "no root here" in done.stdout
    assert "no libvirt" in done.stdout
    assert counts(folder) == {
        "passed": 1,
        "failed": 0,
        "error": 2,
        "skipped": 0,
        "xfailed": 1,
        "xpassed": 0,
    }


def test_elsewhere_a_skip_is_a_skip(folder: Path):
    done = run(folder)
    assert done.returncode == 0
    assert counts(folder) == {
        "passed": 1,
        "failed": 0,
        "error": 0,
        "skipped": 2,
        "xfailed": 1,
        "xpassed": 0,
    }
