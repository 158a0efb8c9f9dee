"""`script/bench first-vm`: from a request to a configured guest, and what it costs."""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.bench.costs import clicks_to_a_vm, idle_cost, the_one
from tests.bench.figures import Figure, at_most, emit, median, plain, say
from tests.bench.floor import Wish, boot_on_the_floor
from tests.bench.marks import Boot, medians, spans
from tests.bench.our_path import boot_on_our_path
from tests.bench.portal import ROOT, Portal, PortalError, portal_of_its_own

NAME = "first-vm"
AIM_ABOVE_FLOOR_S = 3.0
AIM_WARM_S = 15.0
AIM_CLICKS = 3
AIM_AGENT_MIB = 60.0
AIM_AGENT_CPU_PERCENT = 0.5
AIM_TEST_MINUTES = 15.0

BOOT_SECONDS = 400.0
# After `finished`, systemd still ends its start and apt's timers settle.
SETTLE_SECONDS = 30.0
IMAGE = "debian-12"


def run(arguments: list[str]) -> int:
    """The figures, one line each. Returns 0 when every aim was met, else 1."""
    options = _options(arguments)
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory(prefix="basalt-bench-") as folder:
        key = _ssh_key(Path(folder))
        if options.only == "floor":
            image = _image(ROOT / "var/images")
            floor = [_floor(image, key, number) for number in range(options.rounds)]
            figures += _floor_figures(floor)
        else:
            with portal_of_its_own(keep=options.keep) as portal:
                figures += _with_a_portal(portal, key, options)
    figures += _test_minutes()
    return 0 if all(figure.ok for figure in figures) else 1


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="script/bench first-vm", description=__doc__)
    parser.add_argument("--rounds", type=int, default=2, help="boots on each side (default 2)")
    parser.add_argument("--idle-seconds", type=float, default=60.0)
    parser.add_argument("--only", choices=["all", "floor"], default="all")
    parser.add_argument("--keep", action="store_true", help="keep the data folder")
    return parser.parse_args(arguments)


def _with_a_portal(portal: Portal, key: str, options: argparse.Namespace) -> list[Figure]:
    say("script/up in a fresh folder")
    portal.start(seconds=1800)
    figures = [emit(plain(NAME, "up-cold", portal.ready_after / 60, "min"))]
    # The very file that the portal gives to its host.
    image = _image(portal.data / "images")
    image_id = _image_id(portal)
    ours: list[Boot] = []
    floor: list[Boot] = []
    idle: list[Figure] = []
    for number in range(options.rounds):
        floor.append(_floor(image, key, number))
        say(f"round {number + 1}: through the API")
        wish = Wish(image, f"bench-{number}", key, "correct horse 42")
        with boot_on_our_path(portal, wish, image_id=image_id, seconds=BOOT_SECONDS) as boot:
            ours.append(_told(boot))
            if number == 0:
                idle = _idle_figures(portal, options.idle_seconds)
    figures += _boot_figures(ours, floor)
    figures += idle
    say("clicks in the browser")
    clicks, seconds = clicks_to_a_vm(portal)
    figures.append(emit(at_most(NAME, "clicks-to-a-vm", clicks, "clicks", aim=AIM_CLICKS)))
    figures.append(emit(plain(NAME, "seconds-to-a-vm-request", seconds, "s")))
    _delete_all(portal)
    say("script/up once more")
    portal.stop()
    portal.start(seconds=300)
    figures.append(emit(at_most(NAME, "up-warm", portal.ready_after, "s", aim=AIM_WARM_S)))
    return figures


def _floor(image: Path, key: str, number: int) -> Boot:
    say(f"round {number + 1}: the floor, bare QEMU")
    wish = Wish(image, f"floor-{number}", key, "correct horse 42")
    return _told(boot_on_the_floor(wish, seconds=BOOT_SECONDS))


def _told(boot: Boot) -> Boot:
    marks = ", ".join(f"{name} {moment:.1f}" for name, moment in boot.moments.items())
    say(f"  {marks}; processor {boot.cpu_seconds:.1f}")
    return boot


def _floor_figures(boots: list[Boot]) -> list[Figure]:
    floor = medians(boot.moments for boot in boots)
    return [
        emit(plain(NAME, f"floor-{name}", seconds, "s")) for name, seconds in spans(floor).items()
    ]


def _boot_figures(our_boots: list[Boot], floor_boots: list[Boot]) -> list[Figure]:
    ours = medians(boot.moments for boot in our_boots)
    floor = medians(boot.moments for boot in floor_boots)
    our_cpu = median([boot.cpu_seconds for boot in our_boots])
    floor_cpu = median([boot.cpu_seconds for boot in floor_boots])
    above = ours["finished"] - floor["finished"]
    figures = [
        emit(plain(NAME, "request-to-finished", ours["finished"], "s", peer=floor["finished"])),
        emit(at_most(NAME, "above-floor", above, "s", aim=AIM_ABOVE_FLOOR_S)),
        emit(plain(NAME, "qemu-processor-time", our_cpu, "s", peer=floor_cpu)),
    ]
    beside = spans(floor)
    # The portal's marks and the guest's run side by side: the job ends while the guest starts.
    guest = {name: moment for name, moment in ours.items() if name in floor}
    portal = {name: moment for name, moment in ours.items() if name not in floor}
    for name, moment in portal.items():
        figures.append(emit(plain(NAME, f"at-{name}", moment, "s")))
    for name, span in spans(guest).items():
        figures.append(emit(plain(NAME, f"until-{name}", span, "s", peer=beside[name])))
    return figures


def _idle_figures(portal: Portal, seconds: float) -> list[Figure]:
    say(f"the agent with one VM, idle, {seconds:.0f} s")
    time.sleep(SETTLE_SECONDS)
    agent = idle_cost(the_one(portal, "-m", "agent.daemon"), seconds=seconds)
    figures = [
        emit(at_most(NAME, "agent-memory", agent.memory_mib, "MiB", aim=AIM_AGENT_MIB)),
        emit(at_most(NAME, "agent-cpu", agent.cpu_percent, "%", aim=AIM_AGENT_CPU_PERCENT)),
    ]
    metadata = idle_cost(the_one(portal, "-m", "metadata"), seconds=1)
    figures.append(emit(plain(NAME, "metadata-server-memory", metadata.memory_mib, "MiB")))
    return figures


def _test_minutes() -> list[Figure]:
    try:
        timing: dict[str, Any] = json.loads((ROOT / "var/test-timing.json").read_text())
        minutes = float(timing["total_s"]) / 60
    except (OSError, ValueError, KeyError, TypeError):
        say("No var/test-timing.json: run script/test for the figure of its time.")
        return []
    return [emit(at_most(NAME, "test-suite", minutes, "min", aim=AIM_TEST_MINUTES))]


def _image(output: Path) -> Path:
    command = [sys.executable, "-m", "build", "guest", IMAGE]
    done = subprocess.run(
        [*command, "--output", output, "--max-age-hours", "720"],
        check=True,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    return Path(done.stdout.strip())


def _image_id(portal: Portal) -> str:
    found = [image for image in portal.listed("images/") if "debian" in image["name"].lower()]
    if not found:
        raise PortalError("script/up has added no Debian image to the portal.")
    return str(found[0]["id"])


def _delete_all(portal: Portal) -> None:
    for vm in portal.listed("vms/"):
        # Its creation may still be going on; a VM that is busy answers 409.
        portal.wait_for(
            f"jobs/?vm={vm['id']}",
            lambda page: all(job["finished_at"] for job in page["results"]),
            seconds=180,
        )
        job = portal.call("DELETE", f"vms/{vm['id']}/")
        portal.wait_for(f"jobs/{job['id']}/", lambda one: bool(one["finished_at"]), seconds=120)


def _ssh_key(folder: Path) -> str:
    key = folder / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    return key.with_suffix(".pub").read_text().strip()
