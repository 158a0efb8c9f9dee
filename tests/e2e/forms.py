"""What a guest is given in each case, and what is then found inside it."""

import json
import os
import re
import subprocess
import time
import uuid
from dataclasses import dataclass, field
from typing import Literal

import msgspec

from agent.protocol import CreateVm, DiskSpec, GuestSpec, NicSpec, seal
from tests.e2e.farm import Farm, Inside, Lan

Network = Literal["site", "given", "silent"]
Form = Literal["openstack", "ec2", "nocloud"]

PASSWORD = "correct horse 42"
SECRET = "only-for-the-first-boot"
SITE = "Berlin Mitte"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBasaltTestsKeyBasaltTestsKeyBasaltTests tester"
SCRIPT = (
    "#!/bin/sh\n"
    f"# {SECRET}\n"
    'echo "ran as $(id -un) at {{ site.name }}" > /var/lib/basalt-proof\n'
)
VENDOR = "#cloud-config\nruncmd:\n- [sh, -c, 'echo {{ site.name }} > /var/lib/basalt-vendor']\n"
ADDRESS, ADDRESS6 = "50", "50"


@dataclass(frozen=True)
class Case:
    """A suite of Debian, a form of the tree, and a kind of LAN."""

    suite: Literal["debian-12", "debian-13"]
    form: Form
    network: Network

    def __str__(self) -> str:
        return f"{self.suite}-{self.form}-{self.network}"


@dataclass
class Found:
    """What a guest said of itself when its first boot was over, each by its name."""

    case: Case
    lan: Lan
    seconds: float
    facts: dict[str, str] = field(default_factory=dict)

    def __getitem__(self, name: str) -> str:
        return self.facts[name]

    def json(self, name: str) -> dict:
        return json.loads(self.facts[name])


def boot(farm: Farm, case: Case, lan: Lan, *, number: int) -> Found:
    """Make a guest, wait for the end of its first boot, ask it everything, and remove it."""
    job = job_for(farm, case, lan, number=number)
    begun = time.monotonic()
    inside = farm.make(job)
    try:
        farm.wait_until_done(job.vm_id, seconds=1500)
        found = Found(case, lan, round(time.monotonic() - begun, 1))
        inside.wait(seconds=300)
        inside.run("/usr/bin/cloud-init", "status", "--wait", timeout=600)
        found.facts = look(inside)
    except BaseException:
        last_words(inside, case)
        raise
    finally:
        if not os.environ.get("BASALT_KEEP_GUESTS"):
            farm.remove(job.vm_id)
    return found


def job_for(farm: Farm, case: Case, lan: Lan, *, number: int) -> CreateVm:
    vm_id = str(uuid.uuid4())
    secrets = None
    if farm.seal_public is not None:
        plain = msgspec.msgpack.encode({"password": PASSWORD, "user_data": SCRIPT})
        secrets = seal(farm.seal_public, plain, purpose=f"vm:{vm_id}")
    given = case.network == "given"
    prefix, prefix6 = lan.router.rsplit(".", 1)[0], lan.router6.removesuffix("1")
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
                network=lan.network(),
                address=f"{prefix}.{number}/24" if given else None,
                address6=f"{prefix6}{number}/64" if given else None,
            )
        ],
        guest=GuestSpec(
            instance_id=vm_id,
            hostname=f"web-{number}",
            username="tester",
            ssh_keys=[KEY],
            sealed_secrets=secrets,
            identity=case.form,
            vendor_data=VENDOR,
            tags={"role": "web", "two words": "größe"},
            variables={"site.name": SITE},
        ),
        autostart=False,
    )


_PATHS = {
    "openstack": "openstack/latest/user_data",
    "openstack_vendor": "openstack/latest/vendor_data.json",
    "ec2": "latest/user-data",
    "nocloud": "nocloud/user-data",
    "nocloud_vendor": "nocloud/vendor-data",
    "meta": "openstack/latest/meta_data.json",
}


def look(inside: Inside) -> dict[str, str]:
    """Everything that tests ask, in the guest's own words."""
    link = inside.shell("ls /sys/class/net | grep -v lo | head -1")
    told = {
        "link": link,
        "hostname": inside.run("/bin/hostname"),
        "id": inside.run("/usr/bin/id", "tester"),
        "shadow": inside.run("/usr/bin/getent", "shadow", "tester"),
        "keys": inside.shell("cat ~tester/.ssh/authorized_keys"),
        "sudo": inside.shell("sudo -n id -un", user="tester"),
        "proof": inside.shell("cat /var/lib/basalt-proof"),
        "vendor": inside.shell("cat /var/lib/basalt-vendor"),
        "result": inside.shell("cat /run/cloud-init/result.json"),
        "status": inside.shell("cat /run/cloud-init/status.json"),
        "instance": inside.shell("cat /var/lib/cloud/data/instance-id"),
        "addresses": inside.run("/usr/sbin/ip", "-brief", "address", "show", "dev", link),
        "routes": inside.run("/usr/sbin/ip", "route"),
        "routes6": inside.run("/usr/sbin/ip", "-6", "route"),
        "mtu": inside.shell(f"cat /sys/class/net/{link}/mtu"),
        "netplan": inside.shell("cat /etc/netplan/*.yaml"),
        "dns": inside.run("/usr/bin/resolvectl", "dns", link),
        "search": inside.run("/usr/bin/resolvectl", "domain", link),
        "requests": inside.shell(
            "grep 'Read from http' /var/log/cloud-init.log | grep -vc /basalt/v1/"
        ),
        "urls": inside.shell("grep -o 'Read from http[^ ]*' /var/log/cloud-init.log"),
        "warnings": inside.shell("grep -E 'WARNING|ERROR|Traceback' /var/log/cloud-init.log"),
        "took": inside.shell("tail -1 /var/log/cloud-init-output.log"),
    }
    for family, host in (("4", "169.254.169.254"), ("6", f"[fe80::a9fe:a9fe%25{link}]")):
        for name, path in _PATHS.items():
            # An unprivileged user asks: what does the service tell anybody, afterwards?
            ask = f"curl -sS -m 10 -w '\\n%{{http_code}}' 'http://{host}/{path}' 2>&1"
            told[f"{name}{family}"] = inside.shell(ask, user="nobody")
    return told


def last_words(inside: Inside, case: Case) -> None:
    """What the guest has to say when a boot did not end well."""
    print(f"== {case}")
    for command in (
        "cat /run/cloud-init/status.json; ip address; ip route; tail -150 /var/log/cloud-init.log",
    ):
        try:
            print(inside.shell(command))
        except (subprocess.SubprocessError, AssertionError) as error:
            print(f"no answer: {error}")


def finished_after(found: Found) -> float:
    """Seconds from the guest's start to the end of cloud-init, by the guest's own clock."""
    match = re.search(r"Up ([0-9.]+) seconds", found["took"])
    return float(match[1]) if match else 0.0
