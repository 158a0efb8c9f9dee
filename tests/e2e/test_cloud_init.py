"""Each form on each kind of LAN, with the cloud-init of Debian's guest images, without booting
them: in seconds what a boot shows in minutes. `test_forms.py` boots some for real.

BASALT_GUESTS=all (`script/test --all`) takes every combination; without it a part stands for all.
"""

import json
import os
import re
import shutil
import socket
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.protocol import ImageSource
from tests.e2e.farm import Lan, guest_image, lan
from tests.e2e.forms import KEY, SECRET, SITE, Case, job_for
from tests.e2e.rootfs import configure, raw_image

pytestmark = [pytest.mark.guest, pytest.mark.root, pytest.mark.timeout(1500)]

NETWORKS = ("site", "given", "silent")
ALL = [
    Case(suite, form, network)
    for form in ("openstack", "ec2", "nocloud")
    for network in NETWORKS
    for suite in ("debian-12", "debian-13")
]
FEW = [
    Case("debian-12", "openstack", "given"),
    Case("debian-13", "openstack", "site"),
    Case("debian-12", "ec2", "given"),
    Case("debian-13", "ec2", "silent"),
    Case("debian-12", "nocloud", "silent"),
    Case("debian-13", "nocloud", "given"),
]
CASES = ALL if os.environ.get("BASALT_GUESTS") == "all" else FEW
SOURCES = {
    "openstack": "DataSourceOpenStackLocal",
    "ec2": "DataSourceEc2Local",
    "nocloud": "DataSourceNoCloudNet",
}
FETCHED = {"openstack": 16, "ec2": 50, "nocloud": 6}
"""Requests of a first boot: each one more is paid by every guest."""


class Told:
    """What `job_for` needs of a host."""

    seal_public = None

    def image(self, _name: str) -> ImageSource:
        return ImageSource(version_id=str(uuid.uuid4()), sha256="0" * 64, format="qcow2", size=1)


@pytest.fixture(scope="module")
def lans() -> Iterator[dict[str, Lan]]:
    if os.geteuid() != 0 or not shutil.which("busybox"):
        pytest.skip("namespaces need root, and busybox")
    with (
        lan(81, dhcp=True) as site,
        lan(82, dhcp=False) as given,
        lan(83, dhcp=False) as silent,
    ):
        yield {"site": site, "given": given, "silent": silent}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, int]]:
    folder = tmp_path_factory.mktemp("images")
    return {suite: raw_image(guest_image(suite), folder) for suite in {c.suite for c in CASES}}


@pytest.mark.parametrize("case", CASES, ids=str)
async def test_cloud_init_takes_everything(case, lans, images):
    on = lans[case.network]
    job = job_for(Told(), case, on, number=50)
    image, offset = images[case.suite]
    found = await configure(job, image=image, offset=offset, bridge=on.bridge)
    status = json.loads(found["status.json"])["v1"]
    assert status["datasource"].startswith(SOURCES[case.form]), found["ds-identify"]
    assert found["instance"] == job.vm_id
    assert found["hostname"] == "web-50"
    assert socket.gethostname() != "web-50"
    assert found["keys"].splitlines()[-1] == KEY
    assert found["shadow"].startswith("tester:$6$")
    assert found["proof"] == f"ran as root at {SITE}"
    assert found["vendor"] == SITE
    assert found["heard"] == "sealed"
    assert len(_fetched(found["log"])) <= FETCHED[case.form]
    assert SECRET not in found["log"]
    _network_is_written(case, found["netplan"], on)


def _fetched(log: str) -> list[str]:
    """What it asked for, but for what it told of its own stages."""
    asked = [line for line in log.splitlines() if "Read from http" in line]
    return [line for line in asked if "/basalt/v1/" not in line]


def _network_is_written(case: Case, netplan: str, on: Lan) -> None:
    # cloud-init writes it with or without quotes.
    written = re.sub(r"[\"' ]", "", netplan)
    prefix, prefix6 = on.router.rsplit(".", 1)[0], on.router6.removesuffix("1")
    form, suite, network = case.form, case.suite, case.network
    if network != "given" or (form, suite) == ("nocloud", "debian-12"):
        # The last one takes no network over HTTP.
        assert "dhcp4:true" in written
        return
    assert f"-{prefix6}50/64\n" in written
    if form == "ec2":
        # Its form has no words for more: the rest comes by the lease.
        assert "dhcp4:true" in written
        return
    for line in (
        f"-{prefix}.50/24",
        f"-{on.router}",
        f"-{on.router6}",
        "-corp.example",
        "mtu:1400",
    ):
        assert f"{line}\n" in f"{written}\n"
    for to, via in (("0.0.0.0/0", on.router), ("10.99.0.0/16", on.router), ("::/0", on.router6)):
        assert f"-to:{to}\nvia:{via}\n" in f"{written}\n"
