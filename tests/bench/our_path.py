"""The same boot through Basalt: API, job, agent, libvirt, metadata service."""

import os
import re
import select
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Any

import psutil

from tests.bench.floor import CUSTOMER_DATA, Wish
from tests.bench.marks import MARKS, Boot, Moments, moments
from tests.bench.portal import Portal, PortalError


class Console:
    """A domain's serial console, read line by line from the moment the domain exists."""

    def __init__(self, vm_id: str, *, began: float) -> None:
        self._vm_id = vm_id
        self._began = began
        self._stopped = threading.Event()
        self._finished = threading.Event()
        self.lines: list[tuple[float, str]] = []
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def wait_until_finished(self, *, seconds: float) -> None:
        """Raises PortalError with the console's end."""
        if not self._finished.wait(seconds):
            last = "\n".join(line for _, line in self.lines[-25:])
            message = f"cloud-init did not finish in {seconds:.0f} s. The console's end:\n{last}"
            raise PortalError(message)

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join(5)

    def _read(self) -> None:
        while not self._stopped.is_set():
            if terminal := _terminal_of(self._vm_id):
                self._read_from(terminal)
            time.sleep(0.1)

    def _read_from(self, terminal: str) -> None:
        try:
            handle = os.open(terminal, os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK)
        except OSError:
            return
        tail = ""
        try:
            while not self._stopped.is_set():
                ready, _, _ = select.select([handle], [], [], 0.5)
                if not ready:
                    continue
                chunk = os.read(handle, 65536)
                if not chunk:
                    return
                moment = time.monotonic() - self._began
                *whole, tail = (tail + chunk.decode(errors="replace")).split("\n")
                self.lines += [(moment, line.rstrip("\r")) for line in whole]
                if any(MARKS["finished"].search(line) for line in whole):
                    self._finished.set()
        except OSError:
            return
        finally:
            os.close(handle)


@contextmanager
def boot_on_our_path(
    portal: Portal, wish: Wish, *, image_id: str, seconds: float
) -> Iterator[Boot]:
    """One first boot, its moments in seconds since the request was sent; the VM lives inside.

    Moments of the portal come from its own rows, placed by the wall clock that it shares with
    this process; those of the guest are read live from its console.
    """
    [host, *_] = [one for one in portal.listed("hypervisors/") if one["online"]]
    began, wall = time.monotonic(), time.time()
    answer = portal.call(
        "POST",
        "vms/",
        {
            "name": wish.hostname,
            "hypervisor": host["id"],
            "image": image_id,
            "vcpus": wish.vcpus,
            "memory_mib": wish.memory_mib,
            "disks": [{"size_gib": wish.disk_gib}],
            "username": "bench",
            "password": wish.password,
            "ssh_keys": [wish.ssh_key],
            "user_data": CUSTOMER_DATA,
        },
    )
    answered = time.monotonic() - began
    vm_id, job_id = answer["vm"]["id"], answer["job"]["id"]
    console = Console(vm_id, began=began)
    try:
        console.wait_until_finished(seconds=seconds)
        cpu_seconds = _cpu_seconds(vm_id)
        portal.wait_for(f"vms/{vm_id}/", lambda vm: vm["cloud_init"] == "done", seconds=30)
        job = portal.call("GET", f"jobs/{job_id}/")
        marks = {"answered": answered, **_moments_of(job, wall), **moments(console.lines)}
        yield Boot(marks, cpu_seconds)
    finally:
        console.stop()
        _delete(portal, vm_id)


def _moments_of(job: dict[str, Any], wall: float) -> Moments:
    """What the job's row and its events say, in the order of time."""
    if job["status"] != "succeeded":
        raise PortalError(f"The job ended {job['status']}: {job['error']}")
    found = {
        "sent": job["sent_at"],
        "accepted": job["accepted_at"],
        **{_step(event["message"]): event["at"] for event in reversed(job["events"])},
        "job-finished": job["finished_at"],
    }
    seconds = {
        name: datetime.fromisoformat(at).timestamp() - wall for name, at in found.items() if at
    }
    return dict(sorted(seconds.items(), key=lambda item: item[1]))


def _step(message: str) -> str:
    words = re.sub(r"[^a-z ]", "", message.lower()).split()
    return "step-" + "-".join(words or ["unnamed"])


def _terminal_of(vm_id: str) -> str | None:
    done = subprocess.run(
        ["virsh", "-c", "qemu:///system", "ttyconsole", vm_id],
        check=False,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip() or None if done.returncode == 0 else None


def _cpu_seconds(vm_id: str) -> float:
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if vm_id in " ".join(process.cmdline()) and "qemu" in process.name():
                times = process.cpu_times()
                return float(times.user + times.system)
    raise PortalError(f"No QEMU process runs the VM {vm_id}.")


def _delete(portal: Portal, vm_id: str) -> None:
    job = portal.call("DELETE", f"vms/{vm_id}/")
    ended = portal.wait_for(
        f"jobs/{job['id']}/",
        lambda one: one["status"] in {"succeeded", "failed", "expired", "cancelled", "lost"},
        seconds=120,
    )
    if ended["status"] != "succeeded":
        raise PortalError(f"The bench's VM {vm_id} could not be deleted: {ended['error']}")
