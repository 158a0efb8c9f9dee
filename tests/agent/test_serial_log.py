"""What a guest's serial line says, written down for as long as its first boot lasts."""

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from agent.disks import LocalDisks
from agent.drivers.base import GuestDefinition
from agent.drivers.libvirt.domain_xml import QEMU_NAMESPACE, HostKind, domain_xml
from agent.guests import system_uuid
from agent.images.cache import ImageCache
from agent.protocol import GuestSpec
from tests.agent.specs import new_id
from tests.agent.test_first_boot import record_of


@pytest.fixture
def disks(tmp_path):
    return LocalDisks(tmp_path, images=ImageCache(tmp_path / "images", None), reachable=tmp_path)


@pytest.fixture
def log(tmp_path) -> Path:
    path = tmp_path / "disks" / "vm" / "serial.log"
    path.parent.mkdir(parents=True)
    return path


def test_it_is_read_on_from_where_it_was_left(disks, log):
    assert disks.serial_log("vm") == str(log)
    assert disks.read_serial("vm", 0) == (b"", 0)
    log.write_bytes(b"one\n")
    assert disks.read_serial("vm", 0) == (b"one\n", 4)
    log.write_bytes(b"one\ntwo\n")
    assert disks.read_serial("vm", 4) == (b"two\n", 8)
    assert disks.read_serial("vm", 8) == (b"", 8)


def test_one_that_was_begun_anew_is_read_from_its_start(disks, log):
    log.write_bytes(b"new\n")
    assert disks.read_serial("vm", 5000) == (b"new\n", 4)


def test_of_a_guest_that_prints_without_end_only_the_end_is_read(disks, log):
    log.write_bytes(b"x" * 3 * 1024 * 1024)
    data, offset = disks.read_serial("vm", 0)
    assert (len(data), offset) == (256 * 1024, 2 * 1024 * 1024 + 256 * 1024)


def test_it_goes_with_its_older_parts(disks, log):
    log.write_bytes(b"x")
    log.with_name("serial.log.0").write_bytes(b"x")
    disks.remove_serial("vm")
    assert list(log.parent.iterdir()) == []
    disks.remove_serial("vm")


def definition(**more) -> GuestDefinition:
    return GuestDefinition(
        vm_id=new_id(),
        hypervisor_id=new_id(),
        name="web-1",
        vcpus=1,
        memory_mib=256,
        firmware="bios",
        nvram="",
        disks=[],
        nics=[],
        **more,
    )


def made(guest: GuestDefinition) -> ET.Element:
    return ET.fromstring(domain_xml(guest, HostKind(domain_type="qemu")))  # noqa: S314 - our own


def test_libvirt_is_asked_to_write_it_down_only_where_it_is_wanted():
    wanted = made(definition(serial_log="/x"))
    assert wanted.find("devices/serial/log").attrib == {"file": "/x", "append": "off"}
    silent = made(definition())
    assert silent.find("devices/serial/log") is None


def test_another_instance_has_another_uuid_in_its_firmware():
    instance = new_id()
    domain = made(definition(system_uuid=instance))
    said = [arg.get("value") for arg in domain.iter(f"{{{QEMU_NAMESPACE}}}arg")]
    assert said == ["-smbios", f"type=1,uuid={instance}"]


def test_the_first_instance_is_the_vm_itself():
    record = record_of()
    own = GuestSpec(instance_id=record.vm_id, hostname="web-1", username="admin")
    assert system_uuid(record_of(vm_id=record.vm_id, guest=own)) is None
    other = GuestSpec(instance_id=new_id(), hostname="web-1", username="admin")
    assert system_uuid(record_of(guest=other)) == other.instance_id
