"""A guest image's own cloud-init without the rest of a boot: no kernel, no systemd, one wire.

Its root file system is mounted in a mount namespace of its own, below an overlay in memory,
and cloud-init's stages run in it in the network namespace that stands for the guest. Nothing
is left when the process ends. Static addresses that it writes for netplan are set by `ip`,
and leases are taken by busybox, where systemd-networkd would do both.
"""

import asyncio
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from agent.drivers.base import GuestDefinition
from agent.drivers.libvirt.domain_xml import HostKind, domain_xml
from agent.network.compose import hash_password, nic_document
from agent.protocol import CreateVm
from tests.agent.network.plumbing import Plumbing
from tests.e2e.firmware import firmware_files
from tests.e2e.forms import PASSWORD, SCRIPT

_INSIDE = r"""
set -e
work=$1 image=$2 offset=$3 python=$4
mkdir -p $work/lower $work/memory $work/root $work/sysfs
mount -o loop,ro,offset=$offset $image $work/lower
mount -t tmpfs none $work/memory
mkdir $work/memory/upper $work/memory/work
layers=lowerdir=$work/lower,upperdir=$work/memory/upper,workdir=$work/memory/work
mount -t overlay none -o $layers $work/root
cd $work/root
mount -t proc none proc
mount --bind /dev dev
mount -t tmpfs none run
mount -t sysfs none $work/sysfs
mount -t tmpfs none sys
mkdir -p sys/devices sys/class/net sys/class/dmi/id run/systemd/system out
mount --bind $work/sysfs/devices sys/devices
mount --bind $work/sysfs/class/net sys/class/net
mount --bind $work/out out
cp $work/dmi/* sys/class/dmi/id/
# cloud-init reads no firmware in what it takes for a container.
echo '#!/bin/sh
case "$*" in *container*) exit 1;; esac
echo kvm' > usr/bin/systemd-detect-virt
rm -f etc/resolv.conf; : > etc/resolv.conf
export PATH=/usr/sbin:/usr/bin:/sbin:/bin

chroot . /usr/lib/cloud-init/ds-identify --force > out/ds-identify 2>&1 || true
chroot . timeout 300 cloud-init init --local > out/local 2>&1 || true
ip link set eth0 up
$python $work/network.py etc/netplan || true
chroot . timeout 300 cloud-init init > out/init 2>&1 || true
ip link set eth0 up
for module in users_groups ssh set_passwords runcmd scripts_vendor scripts_user phone_home; do
  chroot . timeout 120 cloud-init single -n $module --frequency always > out/$module 2>&1 || true
done
cat etc/netplan/*.yaml > out/netplan
cp run/cloud-init/status.json out/status.json
cp var/log/cloud-init.log out/log
cp var/lib/cloud/data/instance-id out/instance
chroot . getent shadow tester > out/shadow || true
cat home/tester/.ssh/authorized_keys > out/keys || true
cat var/lib/basalt-proof > out/proof || true
cat var/lib/basalt-vendor > out/vendor || true
cat etc/hostname > out/hostname
"""

_NETWORK = r"""
import glob, subprocess, sys, yaml

def ip(*arguments):
    subprocess.run(["ip", *arguments], check=False)

told = {}
for path in sorted(glob.glob(sys.argv[1] + "/*.yaml")):
    for nic in yaml.safe_load(open(path))["network"]["ethernets"].values():
        told = nic
if told.get("dhcp4"):
    client = ["busybox", "udhcpc", "-f", "-i", "eth0", "-n", "-q", "-t", "8", "-T", "2"]
    subprocess.run([*client, "-s", sys.argv[0].replace("network.py", "leased.sh")], check=False)
for address in told.get("addresses", []):
    ip("addr", "add", address, "dev", "eth0", *(["nodad"] if ":" in address else []))
for route in told.get("routes", []):
    ip("route", "add", route["to"], "via", route["via"], "dev", "eth0")
"""

_LEASED = """#!/bin/sh
[ "$1" = bound ] || exit 0
ip addr add "$ip/$mask" dev "$interface"
[ -n "$staticroutes" ] || { [ -z "$router" ] || staticroutes="0.0.0.0/0 $router"; }
set -- $staticroutes
while [ "$#" -ge 2 ]; do
    via="via $2"
    [ "$2" = 0.0.0.0 ] && via=
    ip route add "$1" $via dev "$interface"
    shift 2
done
"""


def raw_image(path: Path, folder: Path) -> tuple[Path, int]:
    """The image as a raw disk in `folder`, and where its root file system begins."""
    raw = folder / f"{path.stem}.raw"
    subprocess.run(["qemu-img", "convert", "-O", "raw", str(path), str(raw)], check=True)
    table = subprocess.run(
        ["sfdisk", "-J", str(raw)], check=True, capture_output=True, text=True
    ).stdout
    partitions = json.loads(table)["partitiontable"]["partitions"]
    largest = max(partitions, key=lambda one: one["size"])
    return raw, largest["start"] * 512


async def configure(job: CreateVm, *, image: Path, offset: int, bridge: str) -> dict[str, str]:
    """What cloud-init did with what it was told, by name, and whether the host heard of it."""
    [nic] = job.nics
    document = nic_document(
        guest=job.guest,
        nic=nic,
        nics=[nic],
        password_hash=hash_password(PASSWORD),
        user_data=SCRIPT,
        host_dns=["9.9.9.9"],
    )
    with tempfile.TemporaryDirectory(prefix="basalt-rootfs-") as name:
        work = Path(name)
        (work / "out").mkdir()
        (work / "network.py").write_text(_NETWORK)
        (work / "leased.sh").write_text(_LEASED)
        (work / "leased.sh").chmod(0o755)
        firmware_files(domain_xml(_definition(job), HostKind(domain_type="qemu")), work / "dmi")
        plumbing = Plumbing(work / "agent")
        await plumbing.plumber.start()
        try:
            with plumbing.guest(nic, bridge) as guest:
                await plumbing.attach(nic, document)
                # What it starts for later ends with it, and the name that it sets is not ours.
                alone = ("--pid", "--fork", "--kill-child", "--mount-proc")
                inside = ("unshare", "-m", "--uts", *alone, "bash", "-c", _INSIDE, "inside")
                process = await asyncio.create_subprocess_exec(
                    *("ip", "netns", "exec", guest.name, *inside),
                    *(str(work), str(image), str(offset), sys.executable),
                )
                assert await asyncio.wait_for(process.wait(), 1200) == 0
        finally:
            await plumbing.plumber.sweep(keep_nics=set(), keep_networks=set())
            await plumbing.plumber.stop(terminate_server=True)
        found = {path.name: path.read_text().strip() for path in (work / "out").iterdir()}
        return {**found, "heard": plumbing.heard[-1][1] if plumbing.heard else ""}


def _definition(job: CreateVm) -> GuestDefinition:
    return GuestDefinition(
        vm_id=job.vm_id,
        hypervisor_id=job.vm_id,
        name=job.name,
        vcpus=1,
        memory_mib=64,
        firmware="bios",
        nvram="",
        disks=[],
        nics=[],
        identity=job.guest.identity,
    )
