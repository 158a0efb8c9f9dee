"""The domain XML of a guest. Built as a tree, so that every string is escaped.

Reference: https://libvirt.org/formatdomain.html, libvirt 9.0 (Debian 12).
"""

import xml.etree.ElementTree as ET
from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from agent.drivers.base import GuestDefinition

NAMESPACE = "https://basalt.dev/ns/vm/1"
QEMU_NAMESPACE = "http://libvirt.org/schemas/domain/qemu/1.0"
OVMF_CODE = "/usr/share/OVMF/OVMF_CODE_4M.fd"
OVMF_VARS = "/usr/share/OVMF/OVMF_VARS_4M.fd"
OPENSTACK = "OpenStack Compute"
NOCLOUD = "ds=nocloud;dsmode=net;s=http://169.254.169.254/nocloud/"
AGENT_CHANNEL = "org.qemu.guest_agent.0"

ET.register_namespace("basalt", NAMESPACE)
ET.register_namespace("qemu", QEMU_NAMESPACE)


@dataclass(frozen=True, kw_only=True)
class HostKind:
    """What the host can do for guests."""

    domain_type: Literal["kvm", "qemu", "test"]
    machine: str = "q35"


def domain_name(vm_id: str) -> str:
    """libvirt's name of the domain: stable, whatever people call the guest."""
    return f"basalt-{vm_id[:8]}"


def ec2_uuid(vm_id: str) -> str:
    """The system uuid of a guest that looks for EC2 metadata."""
    return f"ec2{str(UUID(vm_id))[3:]}"


def domain_xml(guest: GuestDefinition, host: HostKind) -> str:
    """The whole definition of one guest."""
    domain = ET.Element("domain", type=host.domain_type)
    _text(domain, "name", domain_name(guest.vm_id))
    _text(domain, "uuid", guest.vm_id)
    _text(domain, "title", _printable(guest.name))
    metadata = ET.SubElement(domain, "metadata")
    ET.SubElement(metadata, f"{{{NAMESPACE}}}vm", hypervisor=guest.hypervisor_id)
    ET.SubElement(domain, "memory", unit="MiB").text = str(guest.memory_mib)
    ET.SubElement(domain, "currentMemory", unit="MiB").text = str(guest.memory_mib)
    ET.SubElement(domain, "vcpu", placement="static").text = str(guest.vcpus)
    _boot(domain, guest, host)
    if host.domain_type != "test":
        _identity(domain, guest)
    features = ET.SubElement(domain, "features")
    for name in ("acpi", "apic"):
        ET.SubElement(features, name)
    _processor(domain, host)
    _clock(domain)
    for event, action in (
        ("on_poweroff", "destroy"),
        ("on_reboot", "restart"),
        ("on_crash", "destroy"),
    ):
        _text(domain, event, action)
    _devices(domain, guest, host)
    return ET.tostring(domain, encoding="unicode")


def owner(xml: str) -> str | None:
    """The hypervisor_id that a domain's XML carries, or None for somebody else's domain."""
    element = ET.fromstring(xml).find(f"metadata/{{{NAMESPACE}}}vm")  # noqa: S314 - libvirt's
    return element.get("hypervisor") if element is not None else None


def serial_pty(xml: str) -> str | None:
    """The host's terminal that a running domain's serial line is on."""
    source = ET.fromstring(xml).find("devices/serial[@type='pty']/source")  # noqa: S314
    return source.get("path") if source is not None else None


def guest_agent_answers(xml: str) -> bool:
    """Whether the guest has opened its guest agent's channel."""
    path = f"devices/channel/target[@name='{AGENT_CHANNEL}']"
    target = ET.fromstring(xml).find(path)  # noqa: S314
    return target is not None and target.get("state") == "connected"


def _boot(domain: ET.Element, guest: GuestDefinition, host: HostKind) -> None:
    system = ET.SubElement(domain, "os")
    kind = ET.SubElement(system, "type", arch="x86_64")
    kind.text = "hvm"
    if host.domain_type == "test":
        return
    kind.set("machine", host.machine)
    if guest.firmware == "uefi":
        ET.SubElement(system, "loader", readonly="yes", type="pflash").text = OVMF_CODE
        ET.SubElement(system, "nvram", template=OVMF_VARS).text = guest.nvram
    ET.SubElement(system, "smbios", mode="sysinfo")


def _identity(domain: ET.Element, guest: GuestDefinition) -> None:
    """What the firmware says, by which cloud-init (its ds-identify and its sources) and
    cloudbase-init know which metadata to ask for.

    openstack: the product name for versions before 19.2, the chassis asset tag since.
    ec2: a system uuid that starts with "ec2", and for versions before 23.4 the same as the
    serial number. libvirt wants the system's uuid to be the domain's, which is the guest's
    id; so QEMU itself is told another one.
    nocloud: the serial number is a line of cloud-init's. Its "dsmode" makes versions before
    23.2 wait for the network as they did for "nocloud-net", which later ones warn of.
    """
    info = ET.SubElement(domain, "sysinfo", type="smbios")
    system = ET.SubElement(info, "system")
    entries = {"manufacturer": "Basalt", "product": "Basalt VM", "uuid": guest.vm_id}
    if guest.identity == "openstack":
        entries["product"] = OPENSTACK
        chassis = ET.SubElement(info, "chassis")
        ET.SubElement(chassis, "entry", name="asset").text = OPENSTACK
    elif guest.identity == "ec2":
        entries["serial"] = ec2_uuid(guest.vm_id)
        del entries["uuid"]
        commands = ET.SubElement(domain, f"{{{QEMU_NAMESPACE}}}commandline")
        for argument in ("-smbios", f"type=1,uuid={entries['serial']}"):
            ET.SubElement(commands, f"{{{QEMU_NAMESPACE}}}arg", value=argument)
    else:
        entries["serial"] = NOCLOUD
    for name, value in entries.items():
        ET.SubElement(system, "entry", name=name).text = value


def _processor(domain: ET.Element, host: HostKind) -> None:
    if host.domain_type == "kvm":
        ET.SubElement(domain, "cpu", mode="host-passthrough", check="none", migratable="on")
    elif host.domain_type == "qemu":
        ET.SubElement(domain, "cpu", mode="maximum", check="none")


def _clock(domain: ET.Element) -> None:
    clock = ET.SubElement(domain, "clock", offset="utc")
    ET.SubElement(clock, "timer", name="rtc", tickpolicy="catchup")
    ET.SubElement(clock, "timer", name="pit", tickpolicy="delay")
    ET.SubElement(clock, "timer", name="hpet", present="no")


def _devices(domain: ET.Element, guest: GuestDefinition, host: HostKind) -> None:
    devices = ET.SubElement(domain, "devices")
    for number, disk in enumerate(guest.disks):
        element = ET.SubElement(devices, "disk", type="file", device="disk")
        # With "none" the image below the overlay is read past the host's cache too, and each
        # small read of a boot loader inflates a whole compressed cluster anew: 15 s of a first
        # boot. The guest's flushes reach the disk with "writeback" just as well.
        ET.SubElement(
            element,
            "driver",
            name="qemu",
            type="qcow2",
            cache="writeback",
            io="threads",
            discard="unmap",
            detect_zeroes="unmap",
        )
        ET.SubElement(element, "source", file=disk.path)
        ET.SubElement(element, "target", dev=f"vd{_letters(number)}", bus="virtio")
        _text(element, "serial", disk.serial)
        if number == 0:
            ET.SubElement(element, "boot", order="1")
    for nic in guest.nics:
        element = ET.SubElement(devices, "interface", type="bridge")
        ET.SubElement(element, "mac", address=nic.mac)
        ET.SubElement(element, "source", bridge=nic.bridge)
        ET.SubElement(element, "target", dev=nic.tap)
        ET.SubElement(element, "model", type="virtio")
        ET.SubElement(element, "mtu", size=str(nic.mtu))
    if host.domain_type == "test":
        return
    serial = ET.SubElement(devices, "serial", type="pty")
    ET.SubElement(serial, "target", type="isa-serial", port="0")
    console = ET.SubElement(devices, "console", type="pty")
    ET.SubElement(console, "target", type="serial", port="0")
    channel = ET.SubElement(devices, "channel", type="unix")
    ET.SubElement(channel, "target", type="virtio", name=AGENT_CHANNEL)
    ET.SubElement(devices, "input", type="tablet", bus="usb")
    graphics = ET.SubElement(devices, "graphics", type="vnc")
    # No port, no socket: the agent hands QEMU a connection (virDomainOpenGraphicsFD).
    ET.SubElement(graphics, "listen", type="none")
    video = ET.SubElement(devices, "video")
    ET.SubElement(video, "model", type="vga", vram="16384", heads="1", primary="yes")
    balloon = ET.SubElement(devices, "memballoon", model="virtio", freePageReporting="on")
    # How often the guest says how much of its memory it uses, in seconds.
    ET.SubElement(balloon, "stats", period="30")
    rng = ET.SubElement(devices, "rng", model="virtio")
    ET.SubElement(rng, "backend", model="random").text = "/dev/urandom"


def _letters(number: int) -> str:
    """a, b, ... z, aa, ab, ..."""
    letters = ""
    number += 1
    while number:
        number, rest = divmod(number - 1, 26)
        letters = chr(ord("a") + rest) + letters
    return letters


def _text(parent: ET.Element, name: str, text: str) -> None:
    ET.SubElement(parent, name).text = text


def _printable(text: str) -> str:
    """XML 1.0 has no way to write control characters, and a title has one line."""
    return "".join(letter if letter.isprintable() else " " for letter in text)
