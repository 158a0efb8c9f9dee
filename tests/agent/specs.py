"""Jobs for tests, small and complete."""

import uuid
from typing import Any

from agent.protocol import CreateVm, DiskSpec, GuestSpec, ImageSource, NetworkSpec, NicSpec

GIB = 2**30


def new_id() -> str:
    return str(uuid.uuid4())


def nat_nic(address: str | None = "10.77.0.10/24", network_id: str | None = None) -> NicSpec:
    return NicSpec(
        nic_id=new_id(),
        mac="52:54:00:" + ":".join(uuid.uuid4().hex[i : i + 2] for i in (0, 2, 4)),
        network=NetworkSpec(
            network_id=network_id or new_id(),
            kind="nat",
            subnet="10.77.0.0/24",
            gateway="10.77.0.1",
        ),
        address=address,
    )


def create_vm(**changes: Any) -> CreateVm:
    """A small VM; keyword arguments replace its fields."""
    fields: dict[str, Any] = {
        "vm_id": new_id(),
        "name": "web-1",
        "vcpus": 1,
        "memory_mib": 256,
        "firmware": "bios",
        "image": ImageSource(version_id=new_id(), sha256="0" * 64, format="qcow2", size=GIB),
        "disks": [DiskSpec(disk_id=new_id(), size=2 * GIB, boot=True)],
        "nics": [nat_nic()],
        "guest": GuestSpec(instance_id="i-1", hostname="web-1", username="admin"),
    }
    return CreateVm(**{**fields, **changes})
