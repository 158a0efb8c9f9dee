"""First boots of each kind, good and bad, and what the host says of them afterwards."""

import json
import os
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from agent.protocol import (
    Boot,
    BootReported,
    CreateVm,
    DeleteVm,
    DiskSpec,
    GuestSpec,
    NetworkSpec,
    NicSpec,
    StartVm,
    StopVm,
    TellVm,
    VmChanged,
    seal,
)
from tests.e2e.farm import Farm, Inside

PASSWORD = "correct horse 42"
OTHER_PASSWORD = "another horse 43"
KEPT_SECRET = "a-word-that-nobody-shall-see"

GOOD = f"#!/bin/sh\n# {KEPT_SECRET}\ntouch /var/lib/basalt-proof\n"
BAD_YAML = f"#cloud-config\nruncmd: [echo {KEPT_SECRET}\npackages:\n- x: [\n"
BAD_SCRIPT = f"#!/bin/sh\nset -ex\n: {KEPT_SECRET}\nno-such-program\n"
BAD_PACKAGE = "#cloud-config\npackages: [no-such-package-at-all]\n"
USER_DATA = {
    "good": GOOD,
    "again": GOOD,
    "yaml": BAD_YAML,
    "script": BAD_SCRIPT,
    "package": BAD_PACKAGE,
}
EXPECTED = {
    "good": ("done", None),
    "again": ("done", None),
    "yaml": ("failed", "bad_yaml"),
    "script": ("failed", "script_failed"),
    "package": ("failed", "package_failed"),
}


@dataclass(frozen=True)
class Case:
    suite: Literal["debian-12", "debian-13"]
    kind: Literal["good", "again", "yaml", "script", "package"]

    def __str__(self) -> str:
        return f"{self.suite}-{self.kind}"


@dataclass
class Told:
    """What the host told of one boot: all its news, and the guest's last report."""

    news: list[BootReported]
    boot: Boot
    report: VmChanged
    outside: dict[str, str]
    """Of the guest itself, asked by an unprivileged user when all was over."""


def network() -> NetworkSpec:
    """A NAT network, where nobody gives names or packages."""
    return NetworkSpec(
        network_id=str(uuid.uuid4()),
        kind="nat",
        subnet="10.86.7.0/24",
        gateway="10.86.7.1",
        dns=["10.86.7.1"],
    )


def job_for(farm: Farm, case: Case, on: NetworkSpec, number: int) -> CreateVm:
    vm_id = str(uuid.uuid4())
    secrets = msgspec.msgpack.encode({"password": PASSWORD, "user_data": USER_DATA[case.kind]})
    return CreateVm(
        vm_id=vm_id,
        name=str(case),
        vcpus=1,
        memory_mib=512,
        firmware="bios",
        image=farm.image(case.suite),
        disks=[DiskSpec(disk_id=str(uuid.uuid4()), size=3 * 2**30, boot=True)],
        nics=[
            NicSpec(
                nic_id=str(uuid.uuid4()),
                mac="52:54:00:" + ":".join(uuid.uuid4().hex[at : at + 2] for at in (0, 2, 4)),
                network=on,
                address=f"10.86.7.{number}/24",
            )
        ],
        guest=GuestSpec(
            instance_id=vm_id,
            hostname=f"boot-{number}",
            username="tester",
            sealed_secrets=seal(farm.seal_public, secrets, purpose=f"vm:{vm_id}"),
        ),
        autostart=False,
    )


def boot(farm: Farm, case: Case, on: NetworkSpec, number: int) -> Told:
    """Make a guest, wait for the last word on its first boot, and remove it."""
    job = job_for(farm, case, on, number)
    inside = farm.make(job)
    try:
        _wait_for_the_last_word(farm, job.vm_id, job.guest.instance_id)
        if case.kind == "again":
            before = _again(farm, job, inside)
            told = _told(farm, job, inside)
            told.outside |= {f"{name} before": value for name, value in before.items()}
        else:
            told = _told(farm, job, inside)
    finally:
        if os.environ.get("BASALT_KEEP_BOOTS"):
            _keep(farm, case, job)
        farm.do(DeleteVm(vm_id=job.vm_id))
    return told


def _wait_for_the_last_word(farm: Farm, vm_id: str, instance_id: str) -> None:
    farm.hear(
        BootReported,
        lambda one: (
            one.vm_id == vm_id
            and one.boot.instance_id == instance_id
            and "result" in one.boot.source
        ),
        seconds=900,
    )


def _again(farm: Farm, job: CreateVm, inside: Inside) -> dict[str, str]:
    """Another password by another first boot. What was seen before its start."""
    inside.wait(seconds=60)
    secrets = msgspec.msgpack.encode({"password": OTHER_PASSWORD})
    guest = msgspec.structs.replace(
        job.guest,
        instance_id=str(uuid.uuid4()),
        sealed_secrets=seal(farm.seal_public, secrets, purpose=f"vm:{job.vm_id}"),
    )
    assert farm.do(TellVm(vm_id=job.vm_id, guest=guest)).error is None
    before = _look(inside)
    assert farm.do(StopVm(vm_id=job.vm_id)).error is None
    assert farm.do(StartVm(vm_id=job.vm_id)).error is None
    _wait_for_the_last_word(farm, job.vm_id, guest.instance_id)
    return before


def _told(farm: Farm, job: CreateVm, inside: Inside) -> Told:
    time.sleep(1)
    news = [
        one
        for one in list(farm.portal.received)
        if isinstance(one, BootReported) and one.vm_id == job.vm_id
    ]
    reports = [
        one
        for one in list(farm.portal.received)
        if isinstance(one, VmChanged) and one.vm_id == job.vm_id and one.vm is not None
    ]
    inside.wait(seconds=60)
    return Told(news, news[-1].boot, reports[-1], _look(inside))


# All parts of a MIME message, as its reader sees them.
_PARTS = (
    "import email, sys; whole = email.message_from_binary_file(sys.stdin.buffer); "
    "print(*[(one.get_payload(decode=True) or b'').decode() for one in whole.walk()])"
)


def _look(inside: Inside) -> dict[str, str]:
    ask = f"curl -s -m 10 'http://%s/openstack/latest/user_data' | python3 -c \"{_PARTS}\""
    link = inside.shell("ls /sys/class/net | grep -v lo | head -1")
    return {
        "4": inside.shell(ask.replace("%s", "169.254.169.254"), user="nobody"),
        "6": inside.shell(ask.replace("%s", f"[fe80::a9fe:a9fe%25{link}]"), user="nobody"),
        "proof": inside.shell("ls /var/lib/basalt-proof"),
        "shadow": inside.run("/usr/bin/getent", "shadow", "tester"),
        "host key": inside.shell("cat /etc/ssh/ssh_host_ed25519_key.pub"),
        "instance": inside.shell("cat /var/lib/cloud/data/instance-id"),
        "uuid": inside.shell("cat /sys/class/dmi/id/product_uuid").lower(),
    }


def _keep(farm: Farm, case: Case, job: CreateVm) -> None:
    """For whoever wonders: all that was said, and the serial line."""
    folder = Path(os.environ["BASALT_KEEP_BOOTS"])
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{case}.json").open("w") as file:
        for one in list(farm.portal.received):
            if isinstance(one, BootReported) and one.vm_id == job.vm_id:
                file.write(json.dumps(msgspec.to_builtins(one), indent=1) + "\n")
    for path in (farm.data / "disks" / job.vm_id).glob("serial.log*"):
        (folder / f"{case}.{path.name}").write_bytes(path.read_bytes())
