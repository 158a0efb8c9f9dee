"""A guest under bare QEMU with a NoCloud seed: no libvirt, no agent, no portal.

The tests of built images boot with it, and the benches take it as the floor.
"""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

OVMF_CODE = Path("/usr/share/OVMF/OVMF_CODE_4M.fd")
OVMF_VARS = Path("/usr/share/OVMF/OVMF_VARS_4M.fd")
LOGIN = r"login: $"
CLOUD_INIT_FINISHED = r"Cloud-init v\. \S+ finished at"


def accelerator() -> str:
    """`kvm` only where the processor has it: /dev/kvm alone proves nothing."""
    flags = Path("/proc/cpuinfo").read_text().split()
    usable = ("vmx" in flags or "svm" in flags) and Path("/dev/kvm").exists()
    return "kvm" if usable else "tcg"


def make_seed(target: Path, *, user_data: str, meta_data: str, network_config: str = "") -> Path:
    """A NoCloud seed ISO at `target`."""
    folder = target.with_suffix(".d")
    folder.mkdir()
    (folder / "user-data").write_text(user_data)
    (folder / "meta-data").write_text(meta_data)
    if network_config:
        (folder / "network-config").write_text(network_config)
    subprocess.run(
        ["genisoimage", "-quiet", "-volid", "cidata", "-joliet", "-rock", "-o", target, folder],
        check=True,
        capture_output=True,
    )
    shutil.rmtree(folder)
    return target


def make_overlay(target: Path, base: Path, *, size_gib: int) -> Path:
    """A qcow2 at `target` that writes over `base`, grown to `size_gib`."""
    subprocess.run(
        [
            *("qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", base.resolve()),
            *(target, f"{size_gib}G"),
        ],
        check=True,
        capture_output=True,
    )
    return target


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class BareGuest:
    """One QEMU process, with its serial console read line by line as it comes."""

    disk: Path
    work: Path
    seed: Path | None = None
    uefi: bool = False
    memory_mib: int = 1024
    vcpus: int = 1
    cache: str = "unsafe"
    """QEMU's cache mode of the disk; nobody misses a disk of a test after a power cut."""
    address: str = "10.0.2.15"
    """The guest's own address in QEMU's user network, to which SSH is forwarded."""
    ssh_port: int = 0
    started: float = 0.0
    lines: list[tuple[float, str]] = field(default_factory=list)
    """(seconds since QEMU's start, text) of every line of the serial console."""

    def __post_init__(self) -> None:
        self._tail = ""
        self._news = threading.Condition()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.ssh_port = self.ssh_port or free_port()
        self.started = time.monotonic()
        self._process = subprocess.Popen(
            self._command(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        threading.Thread(target=self._read, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._process
        self._process.kill()
        self._process.wait()

    def wait_for(self, pattern: str, *, seconds: float) -> float:
        """Seconds from QEMU's start to the first sight of `pattern`.

        Raises TimeoutError with the console's last lines.
        """
        wanted = re.compile(pattern)
        deadline = time.monotonic() + seconds
        with self._news:
            while True:
                for moment, line in self.lines:
                    if wanted.search(line):
                        return moment
                if wanted.search(self._tail):
                    return time.monotonic() - self.started
                left = deadline - time.monotonic()
                ended = self._process and self._process.poll() is not None
                if left <= 0 or ended:
                    last = "\n".join(line for _, line in self.lines[-25:])
                    why = "QEMU ended" if ended else f"not seen in {seconds:.0f} s"
                    raise TimeoutError(f"{pattern!r}: {why}. The console's end:\n{last}")
                self._news.wait(min(left, 1.0))

    def type(self, text: str) -> None:
        """Type `text` and Enter on the serial console."""
        assert self._process
        assert self._process.stdin
        self._process.stdin.write(text.encode() + b"\n")
        self._process.stdin.flush()

    def monitor(self, command: str) -> None:
        """One command of QEMU's human monitor, such as `screendump /path`."""
        with socket.socket(socket.AF_UNIX) as link:
            link.connect(str(self.work / "monitor"))
            link.settimeout(10)
            link.sendall(command.encode() + b"\n")
            time.sleep(1)

    def ssh(self, command: str, *, key: Path, user: str) -> str:
        """Standard output of `command` in the guest. Raises CalledProcessError."""
        done = subprocess.run(
            [
                *("ssh", "-q", "-i", key, "-p", str(self.ssh_port)),
                *("-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"),
                *("-o", "BatchMode=yes", "-o", "ConnectTimeout=30", f"{user}@127.0.0.1", command),
            ],
            check=True,
            capture_output=True,
            text=True,
            timeout=120,
        )
        return done.stdout.strip()

    def wait_for_end(self, *, seconds: float) -> None:
        assert self._process
        self._process.wait(timeout=seconds)

    @property
    def cpu_seconds(self) -> float:
        """Processor time that QEMU has taken so far."""
        assert self._process
        times = psutil.Process(self._process.pid).cpu_times()
        return float(times.user + times.system)

    @property
    def text(self) -> str:
        return "\n".join(line for _, line in self.lines)

    def _command(self) -> list[str]:
        accel = accelerator()
        command = [
            *("qemu-system-x86_64", "-machine", f"q35,accel={accel}", "-m", str(self.memory_mib)),
            *("-smp", str(self.vcpus), "-cpu", "host" if accel == "kvm" else "max"),
            *("-nodefaults", "-display", "none", "-vga", "std", "-serial", "stdio"),
            *("-monitor", f"unix:{self.work}/monitor,server=on,wait=off"),
            *("-drive", f"file={self.disk},if=virtio,format=qcow2,cache={self.cache}"),
            *("-device", "virtio-rng-pci"),
            *("-netdev", f"user,id=net0,hostfwd=tcp:127.0.0.1:{self.ssh_port}-{self.address}:22"),
            *("-device", "virtio-net-pci,netdev=net0"),
        ]
        if self.seed:
            command += ["-drive", f"file={self.seed},if=virtio,format=raw,readonly=on"]
        if self.uefi:
            variables = self.work / "vars.fd"
            shutil.copy(OVMF_VARS, variables)
            command += [
                *("-drive", f"if=pflash,format=raw,readonly=on,file={OVMF_CODE}"),
                *("-drive", f"if=pflash,format=raw,file={variables}"),
            ]
        return command

    def _read(self) -> None:
        assert self._process
        assert self._process.stdout
        while chunk := self._process.stdout.read1(4096):  # type: ignore[union-attr]
            moment = time.monotonic() - self.started
            *whole, tail = (self._tail + chunk.decode(errors="replace")).split("\n")
            with self._news:
                self.lines += [(moment, line.rstrip("\r")) for line in whole]
                self._tail = tail
                self._news.notify_all()
        with self._news:
            self._news.notify_all()
