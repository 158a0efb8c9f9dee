"""NICs that come and go while a guest runs: real QEMU, and the jobs' way through their steps."""

import subprocess
import tempfile
import uuid
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.drivers.base import NicDefinition
from agent.drivers.libvirt import plugging
from agent.errors import JobFailedError
from tests.agent.network.namespaces import run
from tests.agent.specs import new_id
from tests.agent.test_libvirt_driver import Running, guest, tiny_disk

pytestmark = [pytest.mark.libvirt, pytest.mark.root]


@pytest.fixture
def open_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="basalt-test-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        yield folder


@pytest.fixture
def bridge() -> Iterator[str]:
    name = f"tb{uuid.uuid4().hex[:10]}"
    run("ip", "link", "add", name, "type", "bridge")
    run("ip", "link", "set", name, "up")
    yield name
    run("ip", "link", "delete", name)


def nic_on(bridge: str) -> NicDefinition:
    digits = uuid.uuid4().hex
    mac = f"52:54:00:{digits[0:2]}:{digits[2:4]}:{digits[4:6]}"
    return NicDefinition(mac=mac, tap=f"bt{digits[:12]}", bridge=bridge, mtu=1500)


def interfaces(vm_id: str) -> dict[str, str]:
    """Of the running domain: MAC and the state of the cable."""
    command = ["virsh", "-q", "-c", "qemu:///system", "dumpxml", vm_id]
    xml = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found = {}
    for element in ET.fromstring(xml).iterfind("devices/interface"):  # noqa: S314 - libvirt's
        link = element.find("link")
        found[element.find("mac").get("address")] = "up" if link is None else link.get("state")
    return found


async def test_a_running_guest_gets_nics_with_their_cables_out_until_they_are_wired(
    open_folder, bridge
):
    async with Running("qemu:///system") as running:
        driver, first = running.driver, nic_on(bridge)
        wanted = guest(disks=[tiny_disk(open_folder)], nics=[first])
        await driver.define(wanted)
        try:
            await driver.start_paused(wanted.vm_id)
            await driver.resume(wanted.vm_id)
            added = [nic_on(bridge) for _ in range(4)]
            for nic in added:
                await driver.attach_nic(wanted.vm_id, nic)
                await driver.attach_nic(wanted.vm_id, nic)
                assert interfaces(wanted.vm_id)[nic.mac] == "down"
                assert f"master {bridge}" in run("ip", "link", "show", nic.tap)
                await driver.set_cable(wanted.vm_id, nic.mac, plugged=True)
            cables = interfaces(wanted.vm_id)
            assert cables == dict.fromkeys([first.mac, *(nic.mac for nic in added)], "up")
            with pytest.raises(JobFailedError) as caught:
                await driver.attach_nic(wanted.vm_id, nic_on(bridge))
            assert caught.value.code == "no_free_slot"
            assert "Shut it down" in caught.value.message
            await driver.set_cable(wanted.vm_id, "52:54:00:00:00:00", plugged=True)
        finally:
            await driver.force_off(wanted.vm_id)
            await driver.undefine(wanted.vm_id)


async def test_a_guest_that_does_not_let_go_keeps_its_nic(open_folder, bridge, monkeypatch):
    monkeypatch.setattr(plugging, "_LET_GO_S", 1.0)
    async with Running("qemu:///system") as running:
        driver, nic = running.driver, nic_on(bridge)
        wanted = guest(disks=[tiny_disk(open_folder)], nics=[nic])
        await driver.define(wanted)
        try:
            await driver.start_paused(wanted.vm_id)
            # It has not run one instruction, so nobody in it lets go of anything.
            with pytest.raises(JobFailedError) as caught:
                await driver.detach_nic(wanted.vm_id, nic.mac)
            assert caught.value.code == "guest_kept_nic"
            assert nic.mac in interfaces(wanted.vm_id)
            await driver.detach_nic(wanted.vm_id, f"52:54:00:{new_id()[:2]}:99:99")
        finally:
            await driver.force_off(wanted.vm_id)
            await driver.undefine(wanted.vm_id)
