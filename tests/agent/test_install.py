"""What a host installs: the same bytes each time, whole, and nothing of the portal."""

import asyncio
import hashlib
import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from agent.install.bundle import ROOT, build_bundle, write_bundle
from tests.agent.fake_portal import fake_portal

HAS_DEBIAN_PYTHON = (
    subprocess.run(
        ["/usr/bin/python3", "-c", "import libvirt, venv, ensurepip"],
        check=False, capture_output=True,
    ).returncode
    == 0
)  # fmt: skip
INSTALLER = ROOT / "agent/install/install.sh.in"


def names(data: bytes) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return tar.getnames()


def test_the_same_sources_make_the_same_bundle(tmp_path):
    data, sha256 = build_bundle()
    assert build_bundle() == (data, sha256)
    assert hashlib.sha256(data).hexdigest() == sha256
    for name in names(data):
        copy = tmp_path / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes((ROOT / name).read_bytes())
    assert build_bundle(tmp_path)[1] == sha256


def test_a_bundle_holds_the_agent_and_nothing_of_the_portal():
    found = names(build_bundle()[0])
    assert {"agent/__main__.py", "metadata/__main__.py", "requirements/agent.txt"} <= set(found)
    assert "agent/install/basalt-agent.service" in found
    assert {name.split("/")[0] for name in found} <= {
        "agent", "metadata", "requirements", "LICENSE",
    }  # fmt: skip
    assert not [name for name in found if "__pycache__" in name]


def test_an_unpacked_bundle_runs(tmp_path):
    with tarfile.open(fileobj=io.BytesIO(build_bundle()[0])) as tar:
        tar.extractall(tmp_path, filter="data")
    answer = subprocess.run(
        [sys.executable, "-m", "agent", "run", "--data", str(tmp_path / "data")],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert answer.returncode == 1
    assert "This host is not enrolled" in answer.stderr


def test_the_portal_finds_what_it_serves(tmp_path):
    sha256 = write_bundle(tmp_path)
    latest = json.loads((tmp_path / "latest.json").read_text())
    assert latest == {"sha256": sha256, "file": f"basalt-agent-{sha256}.tar.gz"}
    assert hashlib.sha256((tmp_path / latest["file"]).read_bytes()).hexdigest() == sha256
    assert (tmp_path / "install.sh.in").read_bytes() == INSTALLER.read_bytes()


@pytest.fixture
def programs(tmp_path) -> Path:
    """A PATH whose apt-get and systemctl do nothing: the rest is the machine's own."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("apt-get", "systemctl"):
        (folder / name).write_text(f'#!/bin/sh\necho {name} "$@" >> {tmp_path}/called\n')
        (folder / name).chmod(0o755)
    return folder


def run_installer(
    programs: Path, *arguments: str, origin: str = "http://127.0.0.1:1", sha256: str = "0" * 64
) -> subprocess.CompletedProcess[str]:
    text = INSTALLER.read_text().replace("@ORIGIN@", origin).replace("@SHA256@", sha256)
    text = text.replace("/opt/basalt-agent", str(programs.parent / "opt"))
    text = text.replace("/var/lib/basalt-agent", str(programs.parent / "data"))
    text = text.replace("/etc/systemd/system", str(programs.parent))
    return subprocess.run(
        ["sh", "-s", "--", *arguments],
        input=text,
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": f"{programs}:/usr/sbin:/usr/bin:/sbin:/bin"},
    )


@pytest.mark.root
def test_an_install_without_a_token_says_where_to_get_one(programs):
    answer = run_installer(programs)
    assert answer.returncode == 1
    assert "there is no join token" in answer.stderr


@pytest.mark.root
def test_an_install_from_a_portal_that_is_away_is_a_sentence(programs):
    answer = run_installer(programs, "bj_good")
    assert answer.returncode == 1
    assert "the portal does not give the agent's files" in answer.stderr


@pytest.mark.root
def test_a_bundle_that_was_changed_on_its_way_is_not_installed(programs, tmp_path):
    served = tmp_path / "agent/v1/bundle"
    served.mkdir(parents=True)
    (served / f"{'0' * 64}.tar.gz").write_bytes(b"something else")
    answer = run_installer(programs, "bj_good", origin=f"file://{tmp_path}")
    assert answer.returncode == 1
    assert "their SHA-256 is wrong" in answer.stderr
    assert not (programs.parent / "opt").exists()


@pytest.mark.root
@pytest.mark.skipif(not HAS_DEBIAN_PYTHON, reason="needs Debian's python3-libvirt and venv")
async def test_an_install_enrols_the_host_and_starts_the_service(programs, tmp_path):
    data, sha256 = build_bundle()
    async with fake_portal() as portal:
        portal.bundles[f"{sha256}.tar.gz"] = data

        async def install(*arguments: str) -> subprocess.CompletedProcess[str]:
            return await asyncio.to_thread(
                run_installer, programs, *arguments, origin=portal.url, sha256=sha256
            )

        first = await install("bj_good")
        assert first.returncode == 0, first.stderr
        assert "Enrolled as" in first.stdout
        assert len(portal.hosts) == 1
        assert (tmp_path / "data/agent.json").stat().st_mode & 0o777 == 0o600
        assert (tmp_path / "basalt-agent.service").exists()
        assert "systemctl restart basalt-agent" in (tmp_path / "called").read_text()

        again = await install()
        assert again.returncode == 0, again.stderr
        assert len(portal.hosts) == 1

        portal.token = "bj_other"
        refused = await install("bj_good")
        assert refused.returncode == 1
        assert "This join token is not known" in refused.stderr


def test_half_an_installer_does_nothing(programs):
    text = INSTALLER.read_text()
    half = text[: text.index("main() {") + 200]
    answer = subprocess.run(
        ["sh"], input=half, capture_output=True, text=True, check=False, env={"PATH": "/nowhere"},
        executable="/bin/sh",
    )  # fmt: skip
    assert answer.stdout == ""


def test_no_command_of_the_installer_is_a_bashism():
    subprocess.run(["dash", "-n", str(INSTALLER)], check=True)
