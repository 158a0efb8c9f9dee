"""What the agent asks of its network worker, and what comes back.

The worker is a process of its own, started when there is something to do: the library that
speaks to the kernel costs ten megabytes, and an idle agent should not hold them.
"""

from typing import Literal

import msgspec

DhcpMode = Literal["take", "watch"]
"""take: the guest's requests never reach the LAN. watch: they reach it, and a copy comes
to the NIC's own responder."""


class MakeNat(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """Make or repair a NAT network: bridge, its address, masquerade, forwarding."""

    network_id: str
    subnet: str
    gateway: str
    mtu: int
    subnet6: str | None = None
    gateway6: str | None = None


class CheckBridge(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """Raise `bridge_missing` unless the host has this bridge."""

    name: str


class MakeVlan(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """Make or repair a bridge of its own for one VLAN of a bridge of the host."""

    bridge: str
    vlan: int
    mtu: int


class RemoveVlan(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    bridge: str
    vlan: int


class RemoveNat(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    network_id: str


class Guard(msgspec.Struct, frozen=True, kw_only=True):
    """Keep a NIC to its own. `addresses` are the given ones, `protected` those that are known to
    be somebody else's on the network; both alone, without a length."""

    addresses: list[str] = []
    protected: list[str] = []


class Wire(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """Join a NIC's tap to a namespace of its own, and hand back the listeners inside.

    Without `listeners` none are opened, unless the namespace had to be made anew.
    """

    nic_id: str
    tap: str
    mtu: int
    dhcp: DhcpMode
    listeners: bool
    mac: str = ""
    """Whose DHCP requests are taken. Empty: everybody's on this wire."""
    guard: Guard | None = None
    """Needs `mac`. None: the NIC may say what it likes, but for being the service."""


class Protect(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """Other addresses are somebody else's from now on, by the guarded NICs that have to know."""

    protected: dict[str, list[str]]


class Unwire(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    nic_id: str


Operation = MakeNat | CheckBridge | RemoveNat | MakeVlan | RemoveVlan | Wire | Protect | Unwire


class Done(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """`sockets` descriptors travel along."""

    sockets: int = 0


class Failed(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    code: str
    message: str


Outcome = Done | Failed
