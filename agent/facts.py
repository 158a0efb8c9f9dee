"""What the host is and how busy it is, from /proc, /sys and psutil."""

import grp
import os
import platform
import shutil
import socket
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import psutil

from agent.drivers.base import DriverFacts
from agent.protocol import Bridge, HostFacts, Usage

_MIB = 1024 * 1024
_MOST_RATE = 10**12
_LOW_DISK_SHARE = 0.05
_LOW_DISK_BYTES = 5 * 1024**3
_MANAGED_BRIDGES = ("bn", "bw")
"""Of a NAT network, of a VLAN: agent/network/names.py."""


def kvm_works() -> bool:
    """Whether guests may use KVM: the processor must say so, and /dev/kvm must open.

    /dev/kvm alone is a trap: on hosts whose processor lists neither vmx nor svm it can
    open, QEMU believes it, and stock kernels hang.
    """
    try:
        flags = _cpuinfo("flags").split()
    except OSError:
        return False
    if "vmx" not in flags and "svm" not in flags:
        return False
    try:
        with Path("/dev/kvm").open("r+b", buffering=0):
            return True
    except OSError:
        return False


def repair_kvm_device() -> None:
    """Give /dev/kvm to the group kvm, as udev does on every Debian with the package.

    Where no udev ran (a container, a minimal system) libvirt's QEMU finds KVM when probed
    as root and misses it as its own user, so libvirt probes QEMU anew at each call: defining
    one guest then takes minutes instead of milliseconds.
    """
    device = Path("/dev/kvm")
    try:
        group = grp.getgrnam("kvm").gr_gid
        now = device.stat()
        if os.geteuid() == 0 and (now.st_gid != group or now.st_mode & 0o060 != 0o060):
            os.chown(device, -1, group)
            device.chmod(0o660)
    except (KeyError, OSError):
        return  # no such group or no such device: nothing to repair


def host_dns() -> list[str]:
    """The name servers of this host that a guest can reach: no loopback addresses."""
    # systemd-resolved puts its stub into /etc/resolv.conf and the real ones here.
    for path in (Path("/run/systemd/resolve/resolv.conf"), Path("/etc/resolv.conf")):
        try:
            lines = path.read_text().splitlines()
        except OSError:
            continue
        words = [line.split() for line in lines]
        servers = [word[1] for word in words if len(word) > 1 and word[0] == "nameserver"]
        usable = [server for server in servers if not server.startswith(("127.", "::1", "fe80"))]
        if usable:
            return usable[:3]
    return []


def boot_id() -> str:
    """New at each boot of the host's kernel."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _cpuinfo(key: str) -> str:
    with Path("/proc/cpuinfo").open() as file:
        for line in file:
            name, _, value = line.partition(":")
            if name.strip() == key:
                return value.strip()
    return ""


class HostProbe:
    """Looks at the host. Its methods block for some milliseconds."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        psutil.cpu_percent(interval=None)
        self._traffic = _traffic()
        self._traffic_at = time.monotonic()

    def boot_id(self) -> str:
        return boot_id()

    def facts(self, driver: DriverFacts, problems: list[str]) -> HostFacts:
        disk = shutil.disk_usage(self._folder)
        return HostFacts(
            hostname=socket.gethostname()[:255],
            os=_os_name()[:255],
            kernel=platform.release()[:255],
            architecture=platform.machine()[:255],
            cpu_model=(_cpuinfo("model name") or platform.machine())[:255],
            cpus=psutil.cpu_count() or 1,
            memory_mib=psutil.virtual_memory().total // _MIB,
            disk_total=disk.total,
            accelerator=driver.accelerator,
            libvirt=driver.libvirt,
            qemu=driver.qemu,
            boot_id=self.boot_id(),
            firmwares=driver.firmwares,
            bridges=bridges(),
            problems=[*driver.problems, *problems, *self._disk_problems(disk.free, disk.total)][
                :32
            ],
        )

    def usage(self) -> Usage:
        memory = psutil.virtual_memory()
        rates = self._rates()
        return Usage(
            cpu_percent=min(100, max(0, round(psutil.cpu_percent(interval=None)))),
            memory_used_mib=(memory.total - memory.available) // _MIB,
            disk_used=shutil.disk_usage(self._folder).used,
            load1=psutil.getloadavg()[0],
            disk_read=rates.get("disk_read"),
            disk_write=rates.get("disk_write"),
            net_in=rates.get("net_in"),
            net_out=rates.get("net_out"),
        )

    def _rates(self) -> dict[str, int]:
        """Bytes per second since the question before; nothing where a counter began anew."""
        now, traffic = time.monotonic(), _traffic()
        before, self._traffic = self._traffic, traffic
        seconds, self._traffic_at = now - self._traffic_at, now
        return {
            name: min(round((traffic[name] - before[name]) / seconds), _MOST_RATE)
            for name in traffic.keys() & before.keys()
            if seconds > 0 and traffic[name] >= before[name]
        }

    def memory_mib(self) -> tuple[int, int]:
        """(total, available) memory of the host."""
        memory = psutil.virtual_memory()
        return memory.total // _MIB, memory.available // _MIB

    def _disk_problems(self, free: int, total: int) -> list[str]:
        if free >= min(_LOW_DISK_BYTES, total * _LOW_DISK_SHARE):
            return []
        sentence = (
            f"The disk that holds the VMs is nearly full: {free // _MIB} MiB of {total // _MIB} "
            "MiB are free. Delete VMs that are not needed, or add disk space: VMs stop when it "
            "runs out."
        )
        return [sentence]


def _traffic() -> dict[str, int]:
    """Bytes since the host's boot, through its disks and through the NICs that lead out."""
    totals: dict[str, int] = {}
    disks = psutil.disk_io_counters()
    if disks is not None:
        totals |= {"disk_read": disks.read_bytes, "disk_write": disks.write_bytes}
    nics = psutil.net_io_counters(pernic=True)
    out = _outward(nics)
    totals["net_in"] = sum(nics[name].bytes_recv for name in out)
    totals["net_out"] = sum(nics[name].bytes_sent for name in out)
    return totals


def _outward(names: Iterable[str]) -> list[str]:
    """Of NICs, those of hardware. A bridge, its ports and a guest's tap would count the same
    bytes again. In a container none is of hardware: there it is all that is no loopback."""
    net = Path("/sys/class/net")
    hardware = [name for name in names if (net / name / "device").exists()]
    inner = ("bridge", "brport", "tun_flags")
    return hardware or [
        name
        for name in names
        if name != "lo" and not any((net / name / entry).exists() for entry in inner)
    ]


def bridges() -> list[Bridge]:
    """Bridges that guests can be attached to, without the ones the agent manages."""
    addresses = psutil.net_if_addrs()
    found = []
    for path in sorted(Path("/sys/class/net").glob("*/bridge")):
        name = path.parent.name
        if _is_managed(name) or len(name) > 15:
            continue
        found.append(
            Bridge(
                name=name,
                addresses=[
                    address.address.split("%")[0]
                    for address in addresses.get(name, [])
                    if address.family in (socket.AF_INET, socket.AF_INET6)
                ][:32],
                mtu=_mtu(path.parent),
            )
        )
    return found[:256]


def _mtu(link: Path) -> int | None:
    try:
        return int((link / "mtu").read_text())
    except (OSError, ValueError):
        return None  # it went away while we looked


def _is_managed(name: str) -> bool:
    suffix = name[2:]
    hexadecimal = len(suffix) == 12 and set(suffix) <= set("0123456789abcdef")
    return hexadecimal and name.startswith(_MANAGED_BRIDGES)


def _os_name() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", sys.platform)
    except OSError:
        return sys.platform
