"""Images and virtual machines."""

from vms.models.image import Identity, Image, ImageVersion
from vms.models.usage import VmUsage
from vms.models.vm import Disk, Nic, Power, VirtualMachine

__all__ = [
    "Disk",
    "Identity",
    "Image",
    "ImageVersion",
    "Nic",
    "Power",
    "VirtualMachine",
    "VmUsage",
]
