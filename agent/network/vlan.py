"""VLANs of the host's bridges: a bridge of their own for the guests on each.

The link of the VLAN lies on the host's bridge, so it works with whatever the bridge's uplink is:
a card, a bond, a VXLAN. The kernel takes the tag off and puts it on.
"""

import contextlib
import errno
from pathlib import Path
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from agent.network import nft
from agent.network.errors import NetworkError
from agent.network.names import vlan_bridge, vlan_link, vlan_table
from agent.network.nat import check_bridge
from agent.network.operations import CheckBridge, MakeVlan, RemoveVlan

# The host's bridge hands each tagged frame to all its ports: the uplink's, and those of guests.
# Guests that are on it without a tag must neither hear the VLAN nor speak on it.
_RULES = """
    chain from_guests {{
        type filter hook prerouting priority filter; policy accept;
        meta ibrname "{bridge}" iifname "bt*" vlan id {vlan} drop
    }}
    chain to_guests {{
        type filter hook postrouting priority filter; policy accept;
        meta obrname "{bridge}" oifname "bt*" vlan id {vlan} drop
    }}
"""


def make_vlan(operation: MakeVlan) -> None:
    """Idempotent: repairs what is missing. Raises NetworkError: `bridge_missing`, `bridge_down`,
    `vlan_in_use`, `vlan_unsupported`."""
    bridge, vlan = operation.bridge, operation.vlan
    check_bridge(CheckBridge(name=bridge))
    own, link = vlan_bridge(bridge, vlan), vlan_link(bridge, vlan)
    with IPRoute() as host:
        parent = host.link_lookup(ifname=bridge)[0]
        # A VLAN can have no larger frames than what it is on, whatever was asked for before.
        mtu = min(operation.mtu, host.get_links(parent)[0].get("mtu"))
        if not host.link_lookup(ifname=link):
            _add_link(host, link, parent, operation)
        if not host.link_lookup(ifname=own):
            host.link("add", ifname=own, kind="bridge", br_stp_state=0, br_forward_delay=0)
        for name in (own, link):
            # Of the guests alone: the host has no address on this VLAN.
            _disable_ipv6(name)
        own_index, index = host.link_lookup(ifname=own)[0], host.link_lookup(ifname=link)[0]
        _bring_up(host, index, bridge, mtu=mtu, master=own_index)
        host.link(
            "set",
            index=own_index,
            mtu=mtu,
            ifalias=f"VLAN {vlan} of {bridge}",
            state="up",
        )
        _let_through(host, parent, vlan)
    nft.replace_table("bridge", vlan_table(bridge, vlan), _RULES.format(bridge=bridge, vlan=vlan))


def remove_vlan(operation: RemoveVlan) -> None:
    """Idempotent."""
    bridge, vlan = operation.bridge, operation.vlan
    with IPRoute() as host:
        for name in (vlan_link(bridge, vlan), vlan_bridge(bridge, vlan)):
            for index in host.link_lookup(ifname=name):
                host.link("del", index=index)
    nft.delete_table("bridge", vlan_table(bridge, vlan))


def _add_link(host: Any, name: str, parent: int, operation: MakeVlan) -> None:
    try:
        host.link("add", ifname=name, kind="vlan", link=parent, vlan_id=operation.vlan)
    except NetlinkError as error:
        if error.code == errno.EEXIST:
            raise NetworkError(
                "vlan_in_use",
                f"The host has a link for VLAN {operation.vlan} of {operation.bridge} already, "
                "which Basalt did not make. Remove it, or put a bridge on it and name that one.",
            ) from error
        if error.code == errno.EOPNOTSUPP:
            raise NetworkError(
                "vlan_unsupported",
                "The host's kernel has no VLANs (802.1Q): load the module 8021q, or run Debian's "
                "own kernel.",
            ) from error
        raise


def _bring_up(host: Any, index: int, bridge: str, **settings: int) -> None:
    try:
        host.link("set", index=index, state="up", **settings)
    except NetlinkError as error:
        if error.code == errno.ENETDOWN:
            raise NetworkError(
                "bridge_down",
                f"The host's bridge {bridge} is down, and so is every VLAN on it. Bring it up on "
                f"the host: ip link set {bridge} up.",
            ) from error
        raise


def _let_through(host: Any, index: int, vlan: int) -> None:
    """A bridge that filters VLANs has to let this one up to its own link. Its uplink is left to
    the one who set the filter up."""
    link = host.get_links(index)[0]
    if link.get_nested("linkinfo", "data", "br_vlan_filtering"):
        host.vlan_filter("add", index=index, af_spec=_own_vlan(vlan))


def _own_vlan(vlan: int) -> dict[str, Any]:
    on_the_bridge_itself = 2  # BRIDGE_FLAGS_SELF of linux/if_bridge.h
    return {
        "attrs": [
            ["IFLA_BRIDGE_FLAGS", on_the_bridge_itself],
            ["IFLA_BRIDGE_VLAN_INFO", {"flags": 0, "vid": vlan}],
        ]
    }


def _disable_ipv6(link: str) -> None:
    with contextlib.suppress(FileNotFoundError):  # a kernel without IPv6
        Path(f"/proc/sys/net/ipv6/conf/{link}/disable_ipv6").write_text("1")
