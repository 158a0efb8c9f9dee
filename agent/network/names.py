"""Names of what the agent makes in the host's network stack.

Each carries the first 12 hex digits of the id it belongs to: interface names have at most
15 characters, and a person who sees the name can find the NIC.
"""

import hashlib

from agent.protocol import NetworkSpec


def _short(identifier: str) -> str:
    digits = identifier.replace("-", "")[:12]
    if len(digits) != 12 or not set(digits) <= set("0123456789abcdef"):
        raise ValueError(f"{identifier!r} is not an id")
    return digits


def tap_name(nic_id: str) -> str:
    """The host's end of a NIC: made by the hypervisor, joined to the network's bridge."""
    return f"bt{_short(nic_id)}"


def namespace_name(nic_id: str) -> str:
    """The namespace in which the NIC's metadata listeners live."""
    return f"md-{_short(nic_id)}"


def veth_name(nic_id: str) -> str:
    """The host's end of the wire into the NIC's namespace."""
    return f"mh{_short(nic_id)}"


def nic_table(nic_id: str) -> str:
    """The nftables table (family netdev) that joins the NIC to its namespace."""
    return f"md-{_short(nic_id)}"


def managed_bridge(network_id: str) -> str:
    """The bridge of a NAT network that the agent makes."""
    return f"bn{_short(network_id)}"


def network_table(network_id: str) -> str:
    """The nftables table (family inet) of a NAT network."""
    return f"basalt-{_short(network_id)}"


def vlan_bridge(bridge: str, vlan: int) -> str:
    """The bridge that the agent makes for guests on one VLAN of a bridge of the host."""
    return f"bw{_vlan_digits(bridge, vlan)}"


def vlan_link(bridge: str, vlan: int) -> str:
    """What joins that bridge to the VLAN."""
    return f"bl{_vlan_digits(bridge, vlan)}"


def vlan_table(bridge: str, vlan: int) -> str:
    """The nftables table (family bridge) that keeps the VLAN from guests beside it."""
    return f"basalt-{_vlan_digits(bridge, vlan)}"


def _vlan_digits(bridge: str, vlan: int) -> str:
    # An interface's name has no room for another one and a number.
    return hashlib.sha256(f"{bridge}.{vlan}".encode()).hexdigest()[:12]


def bridge_name(network: NetworkSpec) -> str:
    """The bridge that NICs of `network` are joined to."""
    if network.kind == "bridge" and network.vlan is not None:
        return vlan_bridge(network.bridge or "", network.vlan)
    if network.kind == "bridge":
        return network.bridge or ""
    return managed_bridge(network.network_id)
