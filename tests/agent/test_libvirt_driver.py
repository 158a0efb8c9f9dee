"""The libvirt driver against libvirt itself: its built-in test driver, and real QEMU."""

import asyncio
import os
import struct
import subprocess
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from agent.drivers.base import DiskDefinition, GuestDefinition, NicDefinition
from agent.drivers.libvirt import LibvirtDriver
from agent.drivers.libvirt.domain_xml import HostKind, domain_xml, owner
from agent.errors import JobFailedError
from agent.pictures import MOST_HEIGHT, MOST_WIDTH, thumbnail
from tests.agent.specs import new_id

HOST = new_id()


def guest(**changes) -> GuestDefinition:
    fields = {
        "vm_id": new_id(),
        "hypervisor_id": HOST,
        "name": "web-1",
        "vcpus": 1,
        "memory_mib": 64,
        "firmware": "bios",
        "nvram": "/nowhere/nvram.fd",
        "disks": [],
        "nics": [],
    }
    return GuestDefinition(**{**fields, **changes})


def parsed(xml: str) -> ET.Element:
    return ET.fromstring(xml)  # noqa: S314 - our own


class Running:
    """A started driver, with the changes it told of."""

    def __init__(self, uri: str, hypervisor_id: str = HOST) -> None:
        self.driver = LibvirtDriver(uri, hypervisor_id=hypervisor_id)
        self.changes: list[str] = []
        self.connections = 0
        self.connected = asyncio.Event()

    async def __aenter__(self) -> "Running":
        async def on_connected() -> None:
            self.connections += 1
            self.connected.set()

        await self.driver.start(
            on_change=self.changes.append, on_connected=on_connected, on_lost=lambda: None
        )
        await asyncio.wait_for(self.connected.wait(), 10)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.driver.stop()

    async def told_of(self, vm_id: str) -> None:
        for _ in range(100):
            if vm_id in self.changes:
                return
            await asyncio.sleep(0.02)
        raise AssertionError("no change was told")


@pytest.fixture
async def testing() -> AsyncIterator[Running]:
    async with Running("test:///default") as running:
        yield running


async def test_a_guest_is_defined_started_stopped_and_forgotten(testing):
    driver, wanted = testing.driver, guest()
    await driver.define(wanted)
    assert (await driver.guest(wanted.vm_id)).power == "off"
    await driver.start_paused(wanted.vm_id)
    await driver.resume(wanted.vm_id)
    state = await driver.guest(wanted.vm_id)
    assert (state.power, state.vcpus, state.memory_mib) == ("running", 1, 64)
    await testing.told_of(wanted.vm_id)
    await driver.ask_shutdown(wanted.vm_id)
    assert await driver.wait_off(wanted.vm_id, timeout_s=5)
    await driver.undefine(wanted.vm_id)
    assert await driver.guest(wanted.vm_id) is None


async def test_what_is_done_twice_is_no_error(testing):
    driver, wanted = testing.driver, guest()
    await driver.define(wanted)
    await driver.define(wanted)
    await driver.force_off(wanted.vm_id)
    await driver.undefine(wanted.vm_id)
    await driver.undefine(wanted.vm_id)
    await driver.force_off(wanted.vm_id)


async def test_guests_of_others_are_counted_and_not_touched(testing):
    driver = testing.driver
    # The test driver comes with one running domain, which nobody asked us to make.
    foreign = await driver.foreign_count()
    assert foreign == 1
    wanted = guest(hypervisor_id=new_id())
    await driver.define(wanted)
    assert wanted.vm_id not in await driver.guests()
    with pytest.raises(JobFailedError) as caught:
        await driver.force_off(wanted.vm_id)
    assert "not Basalt's" in caught.value.message


async def test_memory_of_all_running_guests_counts(testing):
    driver, wanted = testing.driver, guest(memory_mib=128)
    before = await driver.committed_memory_mib(without="")
    await driver.define(wanted)
    await driver.start_paused(wanted.vm_id)
    assert await driver.committed_memory_mib(without="") == before + 128
    assert await driver.committed_memory_mib(without=wanted.vm_id) == before


async def test_libvirt_that_is_down_is_named_with_what_to_do(tmp_path):
    driver = LibvirtDriver(
        f"qemu+unix:///system?socket={tmp_path / 'nobody-here'}", hypervisor_id=HOST
    )

    async def never() -> None:
        raise AssertionError("connected to nothing")

    await driver.start(on_change=lambda _: None, on_connected=never, on_lost=lambda: None)
    try:
        with pytest.raises(JobFailedError) as caught:
            await driver.guests()
        assert caught.value.code == "libvirt_down"
        assert "systemctl start libvirtd" in caught.value.message
        assert caught.value.message in (await driver.facts()).problems
    finally:
        await driver.stop()


@pytest.mark.parametrize("name", ["<b>&\"'", "a\x00b\nc", "ünïcode 虚拟机", "]]>"])
def test_any_name_makes_a_well_formed_domain(name):
    root = parsed(domain_xml(guest(name=name), HostKind(domain_type="qemu")))
    assert len(root.findall("title")) == 1
    assert "\n" not in root.findtext("title")


def test_a_domain_says_whose_it_is_and_that_it_has_openstack_metadata():
    wanted = guest(firmware="uefi")
    xml = domain_xml(wanted, HostKind(domain_type="kvm"))
    root = parsed(xml)
    assert owner(xml) == HOST
    assert root.findtext("uuid") == wanted.vm_id
    assert root.findtext("sysinfo/chassis/entry[@name='asset']") == "OpenStack Compute"
    assert root.findtext("sysinfo/system/entry[@name='product']") == "OpenStack Compute"
    assert root.find("cpu").get("mode") == "host-passthrough"
    assert root.findtext("os/nvram") == wanted.nvram


def test_a_console_has_no_port_that_others_could_reach():
    root = parsed(domain_xml(guest(), HostKind(domain_type="qemu")))
    listen = [element.get("type") for element in root.findall("devices/graphics/listen")]
    assert listen == ["none"]


# ------------------------------------------------------------------ real QEMU


def tiny_disk(folder: Path) -> DiskDefinition:
    """Sixteen megabytes without a system: the firmware says so and waits."""
    path = folder / "disk.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(path), "16M"], check=True)
    return DiskDefinition(path=str(path), serial="tiny")


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that QEMU's own user can reach, unlike pytest's own."""
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="basalt-test-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        yield folder


@pytest.mark.libvirt
@pytest.mark.root
@pytest.mark.parametrize("firmware", ["bios", "uefi"])
async def test_a_real_guest_lives_and_leaves_nothing(open_folder, firmware):
    async with Running("qemu:///system") as running:
        driver = running.driver
        wanted = guest(
            firmware=firmware,
            disks=[tiny_disk(open_folder)],
            nvram=str(open_folder / "nvram.fd"),
        )
        await driver.define(wanted)
        try:
            await driver.start_paused(wanted.vm_id)
            assert (await driver.guest(wanted.vm_id)).power == "paused"
            await driver.resume(wanted.vm_id)
            assert (await driver.guest(wanted.vm_id)).power == "running"
            vnc = await driver.open_console(wanted.vm_id, "vnc")
            assert await _read(vnc) == b"RFB 003.008\n"
            serial = await driver.open_console(wanted.vm_id, "serial")
            assert serial >= 0
            await driver.reset(wanted.vm_id)
        finally:
            await driver.force_off(wanted.vm_id)
            await driver.undefine(wanted.vm_id)
        assert await driver.guest(wanted.vm_id) is None
        assert not (open_folder / "nvram.fd").exists()


@pytest.mark.libvirt
@pytest.mark.root
async def test_a_real_guest_shows_its_screen_and_how_busy_it_is(open_folder):
    async with Running("qemu:///system") as running:
        driver, wanted = running.driver, guest(disks=[tiny_disk(open_folder)])
        await driver.define(wanted)
        try:
            with pytest.raises(JobFailedError) as caught:
                await driver.screenshot(wanted.vm_id)
            assert caught.value.code == "vm_must_be_on"
            await driver.start_paused(wanted.vm_id)
            await driver.resume(wanted.vm_id)
            small = thumbnail(await driver.screenshot(wanted.vm_id))
            width, height = struct.unpack_from(">II", small, 16)
            assert 160 <= width <= MOST_WIDTH
            assert 100 <= height <= MOST_HEIGHT
            measured = await driver.counters({wanted.vm_id, new_id()})
            assert set(measured) == {wanted.vm_id}
            assert measured[wanted.vm_id].cpu_s > 0
            assert 0 < measured[wanted.vm_id].memory_used_mib <= wanted.memory_mib
            assert measured[wanted.vm_id].disk_used > 0
        finally:
            await driver.force_off(wanted.vm_id)
            await driver.undefine(wanted.vm_id)
        assert await driver.counters({wanted.vm_id}) == {}


@pytest.mark.libvirt
@pytest.mark.root
async def test_a_guest_destroyed_behind_our_back_is_told_within_a_second(open_folder):
    async with Running("qemu:///system") as running:
        driver, wanted = running.driver, guest(disks=[tiny_disk(open_folder)])
        await driver.define(wanted)
        try:
            await driver.start_paused(wanted.vm_id)
            await asyncio.sleep(0.3)
            running.changes.clear()
            virsh = await asyncio.create_subprocess_exec(
                "virsh", "-q", "-c", "qemu:///system", "destroy", wanted.vm_id,
                stdout=asyncio.subprocess.DEVNULL,
            )  # fmt: skip
            await virsh.wait()
            async with asyncio.timeout(1):
                await running.told_of(wanted.vm_id)
        finally:
            await driver.force_off(wanted.vm_id)
            await driver.undefine(wanted.vm_id)


@pytest.mark.libvirt
@pytest.mark.root
async def test_a_connection_that_libvirtd_ends_is_made_again():
    async with Running("qemu:///system") as running:
        ended = asyncio.create_task(asyncio.to_thread(_disconnect_this_process))
        async with asyncio.timeout(15):
            # One that looks in the very moment is answered all the same.
            while not ended.done():
                assert await running.driver.guests() == {}
            await ended
            assert await running.driver.guests() == {}
        for _ in range(50):
            if running.connections == 2:
                break
            await asyncio.sleep(0.1)
        assert running.connections == 2
        assert await running.driver.guests() == {}


@pytest.mark.libvirt
@pytest.mark.root
async def test_a_nic_on_a_bridge_that_is_missing_is_a_sentence(open_folder):
    async with Running("qemu:///system") as running:
        nic = NicDefinition(
            mac="52:54:00:00:00:01", tap="btffffffffffff", bridge="bridge-nowhere", mtu=1500
        )
        wanted = guest(disks=[tiny_disk(open_folder)], nics=[nic])
        await running.driver.define(wanted)
        try:
            with pytest.raises(JobFailedError) as caught:
                await running.driver.start_paused(wanted.vm_id)
            assert "bridge-nowhere" in caught.value.message
        finally:
            await running.driver.undefine(wanted.vm_id)


def _disconnect_this_process() -> None:
    """As an operator would: libvirtd itself ends the connection of this process."""

    def admin(*words: str) -> str:
        command = ["virt-admin", "-c", "libvirtd:///system", *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    clients = [
        line.split()[0]
        for line in admin("srv-clients-list", "libvirtd").splitlines()
        if line.strip()[:1].isdigit()
    ]
    ours = [
        client
        for client in clients
        if str(os.getpid()) in admin("client-info", "libvirtd", client).split()
    ]
    assert ours
    for client in ours:
        admin("client-disconnect", "libvirtd", client)


async def _read(descriptor: int) -> bytes:
    try:
        return await asyncio.wait_for(asyncio.to_thread(os.read, descriptor, 12), 5)
    finally:
        os.close(descriptor)


def _firmware(identity) -> dict[str, str]:
    """What the domain's firmware says, by its name."""
    domain = parsed(domain_xml(guest(identity=identity), HostKind(domain_type="qemu")))
    assert domain.find("os/smbios").get("mode") == "sysinfo"
    entries = domain.findall("sysinfo//entry")
    return {entry.get("name"): entry.text for entry in entries}


def test_who_looks_for_openstack_is_told_by_product_and_chassis():
    told = _firmware("openstack")
    assert (told["product"], told["asset"]) == ("OpenStack Compute", "OpenStack Compute")
    assert "serial" not in told


def test_who_looks_for_nocloud_is_told_by_the_serial_number():
    told = _firmware("nocloud")
    assert told["serial"] == "ds=nocloud;dsmode=net;s=http://169.254.169.254/nocloud/"
    assert "OpenStack" not in str(told)


def test_who_looks_for_ec2_is_told_by_uuid_and_serial_number():
    xml = domain_xml(guest(identity="ec2"), HostKind(domain_type="qemu"))
    domain = parsed(xml)
    serial = domain.find("sysinfo/system/entry[@name='serial']").text
    # cloud-init before 23.4 wants them to be equal; libvirt knows the guest by its own id.
    vm_id = domain.find("uuid").text
    assert serial == f"ec2{vm_id[3:]}"
    arguments = domain.findall("{http://libvirt.org/schemas/domain/qemu/1.0}commandline/*")
    assert [one.get("value") for one in arguments] == ["-smbios", f"type=1,uuid={serial}"]
    assert "OpenStack" not in xml
