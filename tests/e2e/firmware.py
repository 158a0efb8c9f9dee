"""What a domain's firmware shows, as Linux shows it in /sys/class/dmi/id."""

import xml.etree.ElementTree as ET
from pathlib import Path

_FILES = {
    "manufacturer": "sys_vendor",
    "product": "product_name",
    "serial": "product_serial",
    "uuid": "product_uuid",
    "asset": "chassis_asset_tag",
}
_ARGUMENT = "{http://libvirt.org/schemas/domain/qemu/1.0}commandline/*"


def firmware_files(xml: str, folder: Path) -> None:
    """Write them into `folder`, which is made."""
    domain = ET.fromstring(xml)  # noqa: S314 - our own
    told = {one.get("name", ""): one.text or "" for one in domain.findall("sysinfo//entry")}
    for argument in domain.findall(_ARGUMENT):
        # QEMU's own word comes last and counts.
        _, found, uuid = (argument.get("value") or "").partition("uuid=")
        if found:
            told["uuid"] = uuid
    folder.mkdir()
    for name, file in _FILES.items():
        (folder / file).write_text(f"{told.get(name, '')}\n")
