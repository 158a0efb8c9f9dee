"""A real image, built and started under bare QEMU with a NoCloud seed."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.build.bare_guest import (
    CLOUD_INIT_FINISHED,
    LOGIN,
    BareGuest,
    make_overlay,
    make_seed,
)

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [
    pytest.mark.guest,
    pytest.mark.root,
    pytest.mark.timeout(900),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
]

USER_DATA = """\
#cloud-config
hostname: basalt-seeded
ssh_authorized_keys: ["{key}"]
write_files:
  - {{path: /etc/from-seed, content: applied}}
"""
QUESTIONS = """
echo "status=$(cloud-init status --wait | tail -1)"
echo "complaints=$(sudo grep -hE 'WARNING|ERROR|Traceback' /var/log/cloud-init.log | head -1)"
echo "hostname=$(hostname)"
echo "file=$(cat /etc/from-seed)"
echo "addresses=$(ip -4 -brief address show scope global | tr '\\n' ' ')"
echo "root_bytes=$(df --output=size -B1 / | tail -1)"
echo "logins=$(systemctl is-active getty@tty1 serial-getty@ttyS0 | xargs)"
echo "failed_units=$(systemctl --failed --no-legend --plain | xargs)"
echo "firmware=$(test -d /sys/firmware/efi && echo uefi || echo bios)"
sudo update-grub >/dev/null 2>&1
echo "update_grub=$(sudo grep -o vmlinuz /boot/grub/grub.cfg | head -1)"
echo "machine_id=$(cat /etc/machine-id)"
"""
# Another address than the one that QEMU's DHCP server would give.
NETWORK = """\
version: 2
ethernets:
  nic0:
    match: {name: "e*"}
    addresses: [10.0.2.77/24]
    routes: [{to: default, via: 10.0.2.2}]
    nameservers: {addresses: [10.0.2.3]}
"""


def image(name: str) -> dict[str, object]:
    """The cached image: whoever needs it first in a run builds it."""
    done = subprocess.run(
        [sys.executable, "-m", "build", "guest", name],
        check=True,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    path = Path(done.stdout.strip())
    record: dict[str, object] = json.loads(path.with_suffix(".json").read_text())
    return record


def test_a_second_call_returns_at_once_with_the_same_image() -> None:
    first = image("debian-12")
    began = time.monotonic()
    assert image("debian-12") == first
    assert time.monotonic() - began < 10


def test_the_record_tells_the_truth_about_the_file() -> None:
    record = image("debian-12")
    path = Path(str(record["path"]))
    digest = subprocess.run(["sha256sum", path], check=True, capture_output=True, text=True)
    shown = subprocess.run(
        ["qemu-img", "info", "--output=json", path], check=True, capture_output=True, text=True
    )
    assert record["sha256"] == digest.stdout.split()[0]
    assert record["size"] == path.stat().st_size
    assert record["format"] == json.loads(shown.stdout)["format"]
    assert record["virtual_size"] == json.loads(shown.stdout)["virtual-size"]
    assert str(record["version"]).startswith("12.")


@pytest.mark.parametrize(("name", "uefi"), [("debian-12", False), ("debian-13", True)])
def test_a_guest_starts_and_applies_its_seed_without_a_warning(
    name: str, uefi: bool, tmp_path: Path
) -> None:
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    seed = make_seed(
        tmp_path / "seed.iso",
        user_data=USER_DATA.format(key=key.with_suffix(".pub").read_text().strip()),
        meta_data="instance-id: test-1\n",
        network_config=NETWORK,
    )
    disk = make_overlay(tmp_path / "disk.qcow2", Path(str(image(name)["path"])), size_gib=6)
    with BareGuest(disk=disk, work=tmp_path, seed=seed, uefi=uefi, address="10.0.2.77") as guest:
        guest.wait_for(LOGIN, seconds=300)
        guest.wait_for(CLOUD_INIT_FINISHED, seconds=300)
        # One connection: each costs seconds under software emulation.
        answer = guest.ssh(QUESTIONS, key=key, user="debian")
    said = dict(line.split("=", 1) for line in answer.splitlines())
    assert said["status"] == "status: done"
    assert said["complaints"] == ""
    assert said["hostname"] == "basalt-seeded"
    assert said["file"] == "applied"
    assert "10.0.2.77/24" in said["addresses"]
    assert int(said["root_bytes"]) > 5 * 1024**3
    assert said["logins"] == "active active"
    assert said["failed_units"] == ""
    assert said["firmware"] == ("uefi" if uefi else "bios")
    # A kernel update will write GRUB's configuration anew.
    assert said["update_grub"] == "vmlinuz"
    assert len(said["machine_id"]) == 32
