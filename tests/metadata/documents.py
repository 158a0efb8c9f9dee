"""Documents for tests, small and complete."""

import uuid
from typing import Any

from metadata.documents import Lease, NicDocument


def document(**changes: Any) -> NicDocument:
    """A NIC's document; keyword arguments replace its fields."""
    fields: dict[str, Any] = {
        "nic_id": str(uuid.uuid4()),
        "instance_id": "6e0f3d1c-0000-4000-8000-000000000001",
        "hostname": "web-1",
        "mac": "52:54:00:00:00:01",
        "ssh_keys": ["ssh-ed25519 AAAA one", "ssh-ed25519 BBBB two"],
        "network_data": {"links": [], "networks": [], "services": []},
        "user_data": b"#!/bin/sh\ntrue\n",
        "lease": Lease(address="10.1.2.3", prefix=24, gateway="10.1.2.1", dns=["10.1.2.1"]),
    }
    return NicDocument(**{**fields, **changes})
