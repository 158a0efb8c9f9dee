"""Renaming and removing hosts, their signed requests, and the installer."""

import base64
import hashlib
import json
import subprocess
import time

import pytest
from django.test import RequestFactory

from agent.protocol import generate_sign_key, request_statement, sign
from hypervisors.models import Hypervisor
from hypervisors.services.hypervisors import (
    HostHasVmsError,
    hypervisor_remove,
    hypervisor_rename,
)
from hypervisors.services.signatures import RequestRefusedError, request_verify
from tenants.actor import SYSTEM
from tenants.errors import InvalidInputError, NameTakenError
from tests.factories import HypervisorFactory, JobFactory, NetworkFactory, VirtualMachineFactory

PATH = "/agent/v1/images/0b6a3f0e-9d0b-4b51-8c1a-1f6f4c0f1a11/"


def test_a_host_gets_another_name(db):
    host = HypervisorFactory(name="old")
    assert hypervisor_rename(actor=SYSTEM, hypervisor=host, name=" new-1 ").name == "new-1"
    assert Hypervisor.objects.get().name == "new-1"


def test_a_name_of_another_host_of_the_customer_is_taken(db):
    host = HypervisorFactory(name="one")
    HypervisorFactory(name="two", site=host.site)
    with pytest.raises(NameTakenError):
        hypervisor_rename(actor=SYSTEM, hypervisor=host, name="TWO")


@pytest.mark.parametrize("name", ["", "a b", "a/b", "-a", "a-", "x" * 64, "ü"])
def test_a_name_that_does_not_fit_an_address_is_refused(db, name):
    host = HypervisorFactory(name="old")
    with pytest.raises(InvalidInputError):
        hypervisor_rename(actor=SYSTEM, hypervisor=host, name=name)


def test_a_host_with_vms_stays(db):
    vm = VirtualMachineFactory()
    with pytest.raises(HostHasVmsError):
        hypervisor_remove(actor=SYSTEM, hypervisor=vm.hypervisor)
    assert Hypervisor.objects.exists()


def test_a_host_goes_with_its_networks_and_jobs(db):
    host = HypervisorFactory()
    NetworkFactory(hypervisor=host)
    JobFactory(hypervisor=host)
    hypervisor_remove(actor=SYSTEM, hypervisor=host)
    assert not Hypervisor.objects.exists()


# ------------------------------------------------------------------ signed requests


def signed(host, *, private=None, at=None, method="GET", path=PATH):
    timestamp = int(time.time()) if at is None else at
    statement = request_statement(
        method=method, path=path, hypervisor_id=str(host.pk), timestamp=timestamp
    )
    signature = base64.b64encode(sign(private or host.sign_private, statement)).decode()
    return f"Basalt {host.pk}:{timestamp}:{signature}"


def verify(header, *, path=PATH, method="get"):
    request = getattr(RequestFactory(), method)(path, headers={"Authorization": header})
    return request_verify(request)


def test_a_signed_request_names_its_host(db):
    host = HypervisorFactory()
    assert verify(signed(host)) == host


def test_a_signature_is_worth_nothing_for_another_path_method_key_or_time(db):
    host = HypervisorFactory()
    header = signed(host)
    attempts = [
        lambda: verify(header, path="/agent/v1/images/other/"),
        lambda: verify(header, method="post"),
        lambda: verify(signed(host, private=generate_sign_key()[0])),
        lambda: verify(signed(HypervisorFactory(), private=host.sign_private)),
        lambda: verify(signed(host, at=int(time.time()) - 400)),
        lambda: verify(signed(host, at=int(time.time()) + 400)),
    ]
    for attempt in attempts:
        with pytest.raises(RequestRefusedError):
            attempt()


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Basalt",
        "Basalt ::",
        "Basalt x:1:AAAA",
        "Bearer x",
        "Basalt " + "x" * 5000,
        "Basalt 0b6a3f0e-9d0b-4b51-8c1a-1f6f4c0f1a11:\u0661:AAAA",
        "Basalt 0b6a3f0e-9d0b-4b51-8c1a-1f6f4c0f1a11:1e9:AAAA",
    ],
)
def test_a_header_that_is_not_right_is_refused(db, header):
    with pytest.raises(RequestRefusedError):
        verify(header)


# ------------------------------------------------------------------ the installer


@pytest.fixture
def agent_folder(settings, tmp_path):
    settings.DATA_DIR = tmp_path
    folder = tmp_path / "agent"
    folder.mkdir()
    return folder


def test_the_installer_names_the_portal_and_the_bundle_it_fetches(client, agent_folder, settings):
    settings.BASALT_ORIGIN = "https://portal.example"
    content = b"not really a tarball"
    sha256 = hashlib.sha256(content).hexdigest()
    (agent_folder / f"basalt-agent-{sha256}.tar.gz").write_bytes(content)
    (agent_folder / "latest.json").write_text(json.dumps({"sha256": sha256, "file": "x"}))
    (agent_folder / "install.sh.in").write_text("portal=@ORIGIN@ sha256=@SHA256@\n")
    answer = client.get("/install")
    assert answer.content.decode() == f"portal=https://portal.example sha256={sha256}\n"
    bundle = client.get(f"/agent/v1/bundle/{sha256}.tar.gz")
    assert b"".join(bundle.streaming_content) == content


def test_without_a_bundle_the_installer_says_so_and_fails(client, agent_folder):
    script = client.get("/install").content.decode()
    done = subprocess.run(["sh"], input=script, text=True, capture_output=True, check=False)
    assert done.returncode == 1
    assert "no agent to install yet" in done.stderr


@pytest.mark.parametrize("name", ["0" * 64, "../latest", "latest.json", "..%2f..%2fsecret_key"])
def test_only_bundles_are_served(client, agent_folder, name):
    (agent_folder / "latest.json").write_text("{}")
    assert client.get(f"/agent/v1/bundle/{name}.tar.gz").status_code == 404
