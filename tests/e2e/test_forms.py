"""Debian's own cloud-init, unmodified, in each form of the tree and on each kind of LAN.

BASALT_GUESTS=all (`script/test --all`) boots every combination; without it a part stands for all.
"""

import contextlib
import email
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests.e2e.farm import farm, lan
from tests.e2e.forms import KEY, PASSWORD, SECRET, SITE, Case, Found, boot

pytestmark = [pytest.mark.guest, pytest.mark.libvirt, pytest.mark.root, pytest.mark.timeout(3600)]

SUITES = ("debian-12", "debian-13")
FORMS = ("openstack", "ec2", "nocloud")
NETWORKS = ("site", "given", "silent")
ALL = [
    Case(suite, form, network) for form in FORMS for network in NETWORKS for suite in SUITES
]  # fmt: skip
FEW = [
    Case("debian-12", "openstack", "given"),
    Case("debian-13", "openstack", "silent"),
    Case("debian-12", "ec2", "site"),
    Case("debian-13", "nocloud", "given"),
]
CASES = ALL if os.environ.get("BASALT_GUESTS") == "all" else FEW
AT_ONCE = 2

SOURCES = {
    "openstack": "DataSourceOpenStackLocal",
    "ec2": "DataSourceEc2Local",
    "nocloud": "DataSourceNoCloudNet",
}
USER_DATA = ("openstack", "ec2", "nocloud")


@pytest.fixture(scope="module")
def boots() -> Iterator[Callable[[Case], Found]]:
    missing = [
        name for name in ("virsh", "qemu-system-x86_64", "busybox") if not shutil.which(name)
    ]
    if missing or os.geteuid() != 0:
        pytest.skip(f"guests need root and these programs: {missing or 'root'}")
    with contextlib.ExitStack() as stack:
        one = stack.enter_context(farm())
        lans = {
            network: stack.enter_context(lan(71 + number, dhcp=network == "site"))
            for number, network in enumerate(NETWORKS)
        }
        for suite in {case.suite for case in CASES}:
            one.image(suite)
        pool = stack.enter_context(ThreadPoolExecutor(AT_ONCE))
        found: dict[Case, Future[Found]] = {
            case: pool.submit(boot, one, case, lans[case.network], number=40 + number)
            for number, case in enumerate(CASES)
        }
        try:
            yield lambda case: found[case].result()
        finally:
            for boot_of in found.values():
                boot_of.cancel()


@pytest.fixture(params=CASES, ids=str, scope="module")
def found(request: pytest.FixtureRequest, boots: Callable[[Case], Found]) -> Found:
    return boots(request.param)


def test_cloud_init_took_the_form_that_the_firmware_showed_and_had_no_errors(found):
    result = found.json("result")["v1"]
    assert result["datasource"].startswith(SOURCES[found.case.form])
    assert result["errors"] == []


def test_user_key_password_and_names_are_there(found):
    assert "tester" in found["id"]
    assert found["keys"].splitlines()[-1] == KEY
    assert found["sudo"] == "root"
    assert _is_hash_of(found["shadow"].split(":")[1], PASSWORD)
    assert found["hostname"].startswith("web-")


def test_the_customers_script_and_the_msps_part_ran_with_their_variables(found):
    assert found["proof"] == f"ran as root at {SITE}"
    assert found["vendor"] == SITE


def test_the_network_is_what_the_portal_or_the_site_gives(found):
    prefix = found.lan.router.rsplit(".", 1)[0]
    match found.case.network:
        case "given":
            _has_given_addresses(found, prefix)
        case "site":
            assert f" {prefix}.1" in found["addresses"]
            assert f"default via {found.lan.router} " in found["routes"]
        case "silent":
            assert "169.254.10.1/16" in found["addresses"]
            assert "default" not in found["routes"]


def _has_given_addresses(found: Found, prefix: str) -> None:
    number = found["hostname"].removeprefix("web-")
    address = f"{prefix}.{number}/24"
    address6 = f"{found.lan.router6.removesuffix('1')}{number}/64"
    assert address in found["addresses"]
    assert f"default via {found.lan.router} " in found["routes"]
    assert found.lan.router in found["dns"]
    if found.case.form == "nocloud" and found.case.suite == "debian-12":
        # Its NoCloud takes no network over HTTP: the lease carries what it can.
        assert "dhcp4: true" in found["netplan"]
        return
    # cloud-init writes it with or without quotes.
    written = re.sub(r"[\"' ]", "", found["netplan"])
    assert address6 in found["addresses"]
    assert f"-{address6}" in written
    if found.case.form == "ec2":
        # The form has no words for more: the rest comes by the lease.
        assert "dhcp4:true" in written
        return
    assert f"-{address}" in written
    assert f"default via {found.lan.router6} " in found["routes6"]
    assert f"10.99.0.0/16 via {found.lan.router} " in found["routes"]
    assert found.lan.router6 in found["dns"]
    assert "corp.example" in found["search"]
    assert found["mtu"] == "1400"


def test_the_service_answers_an_unprivileged_user_on_both_families(found):
    for family in "46":
        body, status = found[f"meta{family}"].rsplit("\n", 1)
        assert (status, f'"hostname":"{found["hostname"]}"' in body) == ("200", True)


def test_the_seal_is_closed_on_both_families(found):
    for name in USER_DATA:
        for family in "46":
            body, status = found[f"{name}{family}"].rsplit("\n", 1)
            told = _all_text(body)
            assert status == "200"
            assert "phone_home" in told
            assert SECRET not in told
            assert "hashed_passwd" not in told
    for name in ("openstack_vendor", "nocloud_vendor"):
        for family in "46":
            assert SITE not in found[f"{name}{family}"]


def _all_text(message: str) -> str:
    walked = email.message_from_string(message).walk()
    return "\n".join(
        part.get_payload(decode=True).decode() for part in walked if not part.is_multipart()
    )


def _is_hash_of(entry: str, password: str) -> bool:
    _, scheme, salt, *_ = entry.split("$")
    assert scheme == "6", entry
    made = subprocess.run(
        ["openssl", "passwd", "-6", "-salt", salt, "-stdin"],
        input=password,
        check=True,
        capture_output=True,
        text=True,
    )
    return made.stdout.strip() == entry
