"""The whole agent as its own process, on real libvirt, QEMU, namespaces and nftables."""

import asyncio
import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import msgspec
import pytest

from agent.protocol import (
    CreateVm,
    DeleteVm,
    DiskSpec,
    ImageSource,
    JobAccepted,
    JobProgress,
    NetworkSpec,
    NicSpec,
    OpenStream,
    ResizeVm,
    Snapshot,
    StartVm,
    StopVm,
    VmChanged,
)
from tests.agent.fake_portal import FakePortal, fake_portal
from tests.agent.specs import create_vm, nat_nic, new_id

pytestmark = [pytest.mark.libvirt, pytest.mark.root]

ROOT = Path(__file__).parents[2]
MIB = 2**20


@pytest.fixture
def data() -> Iterator[Path]:
    """An agent's folder that QEMU's own user can reach, unlike pytest's own."""
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="basalt-test-") as name:
        Path(name).chmod(0o711)
        yield Path(name)


@pytest.fixture
async def portal() -> AsyncIterator[FakePortal]:
    async with fake_portal() as running:
        yield running


def agent(*arguments: str, **options) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-m", "agent", *arguments], cwd=ROOT, **options)


@contextlib.asynccontextmanager
async def running(portal: FakePortal, data: Path, *options: str):
    """A running agent, stopped in order at the end."""
    enrolled = await asyncio.to_thread(
        lambda: agent("enrol", "--portal", portal.url, "--token", "bj_good", "--data", data).wait()
    )
    assert enrolled == 0
    portal.received.clear()
    process = agent("run", "--data", str(data), *options)
    try:
        await portal.connected()
        yield process
    finally:
        process.terminate()
        await asyncio.to_thread(process.wait, 60)


def vm_on(portal: FakePortal, folder: Path, **changes) -> CreateVm:
    """A VM whose image has no system: the firmware says so and waits."""
    path = folder / "image.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(path), "16M"], check=True)
    content = path.read_bytes()
    image = ImageSource(
        version_id=new_id(),
        sha256=hashlib.sha256(content).hexdigest(),
        format="qcow2",
        size=len(content),
    )
    portal.images[image.version_id] = path
    disks = [
        DiskSpec(disk_id=new_id(), size=32 * MIB, boot=True),
        DiskSpec(disk_id=new_id(), size=16 * MIB),
    ]
    return create_vm(image=image, disks=disks, memory_mib=64, **changes)


def lines(*command: str) -> list[str]:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()


def traces(vm: CreateVm, data: Path) -> list[str]:
    """What is on this host of the VM, its NICs and its networks."""
    ids = [vm.vm_id]
    ids += [nic.nic_id.replace("-", "")[:12] for nic in vm.nics]
    ids += [nic.network.network_id.replace("-", "")[:12] for nic in vm.nics]
    seen = lines("virsh", "-q", "list", "--all", "--uuid")
    seen += lines("ip", "netns") + lines("ip", "-brief", "link") + lines("nft", "list", "tables")
    seen += [str(path) for path in data.rglob("*")]
    return [line for line in seen for one in ids if one in line]


async def test_a_guest_is_made_seen_changed_and_removed_without_a_trace(portal, data, tmp_path):
    async with running(portal, data, "--stop-guests-on-exit"):
        host = next(iter(portal.hosts))
        snapshot = await portal.wait(Snapshot, lambda one: one.facts.libvirt != "")
        assert snapshot.facts.accelerator in ("kvm", "tcg")
        job = vm_on(portal, tmp_path)

        made = await portal.outcome(await portal.job(host, job))
        assert made.error is None
        assert made.vm.power == "running"
        assert [disk.capacity for disk in made.vm.disks] == [32 * MIB, 16 * MIB]
        tap = "bt" + job.nics[0].nic_id.replace("-", "")[:12]
        assert any(tap in line for line in traces(job, data))

        stream_id = new_id()
        await portal.send(host, OpenStream(stream_id=stream_id, vm_id=job.vm_id, kind="vnc"))
        stream = await portal.stream(stream_id)
        assert (await stream.receive(10)).data == b"RFB 003.008\n"

        portal.received.clear()
        await asyncio.to_thread(lines, "virsh", "-q", "destroy", job.vm_id)
        await portal.power(job.vm_id, "off", seconds=2)

        sizes = [DiskSpec(disk_id=job.disks[0].disk_id, size=64 * MIB)]
        resize = ResizeVm(vm_id=job.vm_id, memory_mib=128, vcpus=2, disks=sizes)
        sized = await portal.outcome(await portal.job(host, resize))
        assert (sized.error, sized.vm.disks[0].capacity) == (None, 64 * MIB)
        started = await portal.outcome(await portal.job(host, StartVm(vm_id=job.vm_id)))
        assert (started.vm.power, started.vm.vcpus) == ("running", 2)

        gone = await portal.outcome(await portal.job(host, DeleteVm(vm_id=job.vm_id)))
        assert gone.error is None
        assert traces(job, data) == []


async def test_a_guest_started_by_hand_gets_its_network(portal, data, tmp_path):
    async with running(portal, data, "--stop-guests-on-exit"):
        host = next(iter(portal.hosts))
        job = vm_on(portal, tmp_path)
        await portal.outcome(await portal.job(host, job))
        await portal.outcome(await portal.job(host, StopVm(vm_id=job.vm_id)))
        namespace = "md-" + job.nics[0].nic_id.replace("-", "")[:12]
        assert not [line for line in lines("ip", "netns") if namespace in line]
        portal.received.clear()
        await asyncio.to_thread(lines, "virsh", "-q", "start", job.vm_id)
        await portal.power(job.vm_id, "running", seconds=5)
        for _ in range(100):
            if [line for line in lines("ip", "netns") if namespace in line]:
                break
            await asyncio.sleep(0.1)
        assert [line for line in lines("ip", "netns") if namespace in line]
        await portal.outcome(await portal.job(host, DeleteVm(vm_id=job.vm_id)))
        assert traces(job, data) == []


async def test_an_agent_killed_while_it_makes_a_guest_makes_it_once(portal, data, tmp_path):
    job = vm_on(portal, tmp_path)
    async with running(portal, data) as process:
        host = next(iter(portal.hosts))
        job_id = await portal.job(host, job)
        await portal.wait(JobAccepted)
        await portal.wait(JobProgress, lambda one: one.percent >= 80)
        process.kill()
    async with running(portal, data, "--stop-guests-on-exit"):
        outcome = await portal.outcome(job_id)
        assert (outcome.error, outcome.vm.power) == (None, "running")
        await portal.outcome(await portal.job(host, DeleteVm(vm_id=job.vm_id)))
        assert traces(job, data) == []


async def test_a_guest_outlives_its_agent_and_is_found_again(portal, data, tmp_path):
    job = vm_on(portal, tmp_path)
    async with running(portal, data) as process:
        host = next(iter(portal.hosts))
        await portal.outcome(await portal.job(host, job))
        process.kill()
    assert job.vm_id in lines("virsh", "-q", "list", "--uuid")
    async with running(portal, data, "--stop-guests-on-exit"):
        snapshot = await portal.wait(
            Snapshot, lambda one: one.vms and one.vms[0].power != "unknown"
        )
        assert snapshot.vms[0].power == "running"
        await portal.outcome(await portal.job(host, DeleteVm(vm_id=job.vm_id)))


async def test_an_agent_that_stops_its_guests_starts_them_again(portal, data, tmp_path):
    job = vm_on(portal, tmp_path)
    async with running(portal, data, "--stop-guests-on-exit"):
        host = next(iter(portal.hosts))
        await portal.outcome(await portal.job(host, job))
    left = [line for line in traces(job, data) if not line.startswith("/") and line != job.vm_id]
    assert left == []
    assert job.vm_id not in lines("virsh", "-q", "list", "--uuid")
    async with running(portal, data, "--stop-guests-on-exit"):
        await portal.wait(
            VmChanged, lambda one: one.vm is not None and one.vm.power == "running", 30
        )
        await portal.outcome(await portal.job(host, DeleteVm(vm_id=job.vm_id)))
        assert traces(job, data) == []


async def test_a_guest_whose_qemu_dies_is_told_as_crashed(portal, data, tmp_path):
    async with running(portal, data, "--stop-guests-on-exit"):
        host = next(iter(portal.hosts))
        job = vm_on(portal, tmp_path)
        await portal.outcome(await portal.job(host, job))
        pid = lines("cat", f"/run/libvirt/qemu/basalt-{job.vm_id[:8]}.pid")[0]
        os.kill(int(pid), signal.SIGKILL)
        await portal.power(job.vm_id, "crashed", seconds=5)
        started = await portal.outcome(await portal.job(host, StartVm(vm_id=job.vm_id)))
        assert (started.error, started.vm.power) == (None, "running")
        await portal.outcome(await portal.job(host, DeleteVm(vm_id=job.vm_id)))
        assert traces(job, data) == []


async def test_a_host_without_libvirt_says_so_and_begins_nothing(portal, data, tmp_path):
    nobody = f"qemu+unix:///system?socket={tmp_path / 'nobody-here'}"
    async with running(portal, data, "--stop-guests-on-exit", "--libvirt-uri", nobody):
        host = next(iter(portal.hosts))
        snapshot = await portal.connected()
        assert any("systemctl start libvirtd" in one for one in snapshot.facts.problems)
        job = vm_on(portal, tmp_path)
        outcome = await portal.outcome(await portal.job(host, job))
        assert outcome.error.code == "libvirt_down"
        assert (outcome.vm, traces(job, data)) == (None, [])


async def test_a_folder_that_others_cannot_reach_is_lent_a_way(portal, tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    data = closed / "data"
    async with running(portal, data, "--stop-guests-on-exit"):
        host = next(iter(portal.hosts))
        job = vm_on(portal, tmp_path)
        made = await portal.outcome(await portal.job(host, job))
        assert (made.error, made.vm.power) == (None, "running")
        assert host[:8] in " ".join(lines("findmnt", "-rno", "TARGET"))
        await portal.outcome(await portal.job(host, DeleteVm(vm_id=job.vm_id)))
    assert host[:8] not in " ".join(lines("findmnt", "-rno", "TARGET"))


async def test_a_creation_that_fails_leaves_nothing(portal, data, tmp_path):
    async with running(portal, data, "--stop-guests-on-exit"):
        host = next(iter(portal.hosts))
        job = vm_on(portal, tmp_path)
        broken = create_vm(
            image=job.image, disks=job.disks, memory_mib=64,
            nics=[*job.nics, _on_bridge("no-such-bridge")],
        )  # fmt: skip
        outcome = await portal.outcome(await portal.job(host, broken))
        assert outcome.error.code == "bridge_missing"
        assert "no-such-bridge" in outcome.error.message
        assert (outcome.vm, traces(broken, data)) == (None, [])


async def test_disks_that_are_kept_are_whole(portal, data, tmp_path):
    async with running(portal, data, "--stop-guests-on-exit"):
        host = next(iter(portal.hosts))
        job = vm_on(portal, tmp_path)
        await portal.outcome(await portal.job(host, job))
        deletion = DeleteVm(vm_id=job.vm_id, keep_disks=True)
        assert (await portal.outcome(await portal.job(host, deletion))).error is None
        kept = next((data / "kept").iterdir())
        assert kept.name.startswith("web-1-20")
        assert json.loads((kept / "basalt.json").read_text())["name"] == "web-1"
        moved = kept.rename(tmp_path / "elsewhere")
        boot = moved / f"{job.disks[0].disk_id}.qcow2"
        (data / "images" / f"{job.image.version_id}.qcow2").unlink()
        assert lines("qemu-img", "info", "--backing-chain", str(boot))


def _on_bridge(bridge: str) -> NicSpec:
    network = NetworkSpec(network_id=new_id(), kind="bridge", bridge=bridge)
    return msgspec.structs.replace(nat_nic(None), network=network)
