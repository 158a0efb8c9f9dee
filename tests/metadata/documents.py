"""Documents for tests, small and complete."""

import uuid
from typing import Any

from metadata.documents import Lease, Link, NicDocument

MAC = "52:54:00:00:00:01"


def link(**changes: Any) -> Link:
    """A NIC with addresses of both families; keyword arguments replace its fields."""
    fields: dict[str, Any] = {
        "nic_id": "11111111-1111-4111-8111-111111111111",
        "network_id": "21111111-1111-4111-8111-111111111111",
        "mac": MAC,
        "address": "10.1.2.3/24",
        "gateway": "10.1.2.1",
        "address6": "fd00:1::3/64",
        "gateway6": "fd00:1::1",
        "dns": ["10.1.2.1"],
    }
    return Link(**{**fields, **changes})


def document(**changes: Any) -> NicDocument:
    """A NIC's document; keyword arguments replace its fields."""
    fields: dict[str, Any] = {
        "nic_id": str(uuid.uuid4()),
        "instance_id": "6e0f3d1c-0000-4000-8000-000000000001",
        "hostname": "web-1",
        "mac": MAC,
        "ssh_keys": ["ssh-ed25519 AAAA one", "ssh-ed25519 BBBB two"],
        "links": [link()],
        "user_data": b"#!/bin/sh\ntrue\n",
        "lease": Lease(address="10.1.2.3", prefix=24, gateway="10.1.2.1", dns=["10.1.2.1"]),
    }
    return NicDocument(**{**fields, **changes})
