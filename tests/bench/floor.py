"""The floor: the same disk under bare QEMU, with everything it needs beside it."""

import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.bench.marks import Boot, moments
from tests.build.bare_guest import CLOUD_INIT_FINISHED, BareGuest, make_overlay, make_seed

# What the customer's user-data is, on both sides. Finding an RSA key takes a random time of up
# to several seconds under software emulation: noise, in a comparison of a few seconds.
CUSTOMER_DATA = """\
#cloud-config
ssh_genkeytypes: [ed25519]
runcmd:
  - echo ran > /var/lib/basalt-bench
"""


@dataclass(frozen=True)
class Wish:
    """What both sides are asked for, so that both guests do the same work."""

    image: Path
    hostname: str
    ssh_key: str
    password: str
    vcpus: int = 1
    memory_mib: int = 1024
    disk_gib: int = 10


USER_DATA = """\
Content-Type: multipart/mixed; boundary="part"
MIME-Version: 1.0

--part
Content-Type: text/cloud-config

hostname: {hostname}
users:
  - name: bench
    groups: [sudo]
    sudo: "ALL=(ALL) NOPASSWD:ALL"
    shell: /bin/bash
    lock_passwd: false
    passwd: {password_hash}
    ssh_authorized_keys: ["{ssh_key}"]
--part
Content-Type: text/cloud-config
X-Merge-Type: list(append)+dict(recurse_array)+str()

{customer_data}
--part--
"""
NETWORK = """\
version: 2
ethernets:
  nic0:
    match: {name: "e*"}
    addresses: [10.0.2.15/24]
    routes: [{to: default, via: 10.0.2.2}]
    nameservers: {addresses: [10.0.2.3]}
"""


def boot_on_the_floor(wish: Wish, *, seconds: float) -> Boot:
    """One first boot, its moments in seconds since QEMU was started.

    Overlay and seed are made before the clock starts: the floor is what nobody can beat.
    Raises TimeoutError.
    """
    with tempfile.TemporaryDirectory(prefix="basalt-bench-") as folder:
        work = Path(folder)
        disk = make_overlay(work / "disk.qcow2", wish.image, size_gib=wish.disk_gib)
        seed = make_seed(
            work / "seed.iso",
            user_data=USER_DATA.format(
                hostname=wish.hostname,
                ssh_key=wish.ssh_key,
                password_hash=_hash(wish.password),
                customer_data=CUSTOMER_DATA,
            ),
            meta_data=f"instance-id: {wish.hostname}\n",
            network_config=NETWORK,
        )
        guest = BareGuest(
            disk=disk,
            work=work,
            seed=seed,
            vcpus=wish.vcpus,
            memory_mib=wish.memory_mib,
            cache="writeback",
        )
        with guest:
            # Seen before its line has come to an end, so it may be missing among the lines.
            finished = guest.wait_for(CLOUD_INIT_FINISHED, seconds=seconds)
            return Boot({**moments(guest.lines), "finished": finished}, guest.cpu_seconds)


def _hash(password: str) -> str:
    done = subprocess.run(
        ["openssl", "passwd", "-6", "-stdin"],
        input=password,
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip()
