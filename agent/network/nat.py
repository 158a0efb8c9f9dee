"""NAT networks that the agent makes: a bridge, its address, and the way out."""

import ipaddress
from pathlib import Path
from typing import Any

from pyroute2 import IPRoute

from agent.network import nft
from agent.network.errors import NetworkError
from agent.network.names import managed_bridge, network_table
from agent.network.operations import CheckBridge, MakeNat, RemoveNat

_FORWARD = Path("/proc/sys/net/ipv4/ip_forward")
_MAIN_TABLE = 254

_RULES = """
    chain postrouting {{
        type nat hook postrouting priority srcnat; policy accept;
        oifname "{bridge}" accept
        ip saddr {subnet} ip daddr != {{ {subnet}, 224.0.0.0/4 }} masquerade
    }}
    chain forward {{
        type filter hook forward priority filter - 10; policy accept;
        iifname "{bridge}" accept
        oifname "{bridge}" ct state established,related accept
        # Nobody comes in from outside, nor from another network: this one is behind NAT.
        oifname "{bridge}" drop
    }}
"""


def check_bridge(operation: CheckBridge) -> None:
    """Raises NetworkError `bridge_missing`."""
    with IPRoute() as host:
        bridges = sorted(_bridges(host))
    if operation.name not in bridges:
        own = [name for name in bridges if not name.startswith("bn")]
        there = f"It has: {', '.join(own)}." if own else "It has none."
        raise NetworkError(
            "bridge_missing",
            f"The host has no bridge {operation.name!r}. {there} Make the bridge on the host, "
            "or put the VM on another network.",
        )


def make_nat(operation: MakeNat) -> None:
    """Idempotent: repairs what is missing. Raises NetworkError."""
    bridge = managed_bridge(operation.network_id)
    try:
        subnet = ipaddress.IPv4Network(operation.subnet)
        gateway = ipaddress.IPv4Address(operation.gateway)
    except ValueError as error:
        raise NetworkError(
            "internal", f"The network's addresses cannot be read: {error}."
        ) from None
    if gateway not in subnet:
        raise NetworkError("internal", f"The gateway {gateway} is not in the network {subnet}.")
    with IPRoute() as host:
        _check_free(host, subnet, bridge)
        _make_bridge(host, operation.network_id, gateway, subnet, operation.mtu)
    nft.replace_table(
        "inet",
        network_table(operation.network_id),
        _RULES.format(subnet=subnet, bridge=bridge),
    )
    _pass_foreign_firewall(bridge)
    if _FORWARD.read_text().strip() != "1":
        _FORWARD.write_text("1")


def remove_nat(operation: RemoveNat) -> None:
    """Idempotent. Forwarding stays on: somebody else may count on it by now."""
    bridge = managed_bridge(operation.network_id)
    _unpass_foreign_firewall(bridge)
    nft.delete_table("inet", network_table(operation.network_id))
    with IPRoute() as host:
        for index in host.link_lookup(ifname=bridge):
            host.link("del", index=index)


def _bridges(host: Any) -> list[str]:
    return [link.get("ifname") for link in host.get_links(kind="bridge")]


def _check_free(host: Any, subnet: ipaddress.IPv4Network, bridge: str) -> None:
    own = set(host.link_lookup(ifname=bridge))
    for route in host.get_routes(family=2, table=_MAIN_TABLE):
        length, destination, index = (
            route["dst_len"],
            route.get("dst"),
            route.get("oif"),
        )
        if not length or destination is None or index in own:
            continue
        taken = ipaddress.IPv4Network(f"{destination}/{length}")
        if taken.overlaps(subnet):
            links = host.get_links(index) if index else []
            where = f" on {links[0].get('ifname')}" if links else ""
            raise NetworkError(
                "subnet_in_use",
                f"The network {subnet} overlaps with {taken}{where}, to which the host has a "
                "route already. Give this network another subnet.",
            )


def _make_bridge(
    host: Any,
    network_id: str,
    gateway: ipaddress.IPv4Address,
    subnet: ipaddress.IPv4Network,
    mtu: int,
) -> None:
    name = managed_bridge(network_id)
    if not host.link_lookup(ifname=name):
        host.link("add", ifname=name, kind="bridge", br_stp_state=0, br_forward_delay=0)
    index = host.link_lookup(ifname=name)[0]
    # A fixed MAC: a bridge without one takes that of a guest, and changes with its guests.
    digits = network_id.replace("-", "")[:10]
    mac = ":".join(["02", *(digits[at : at + 2] for at in range(0, 10, 2))])
    host.link("set", index=index, address=mac, mtu=mtu, state="up")
    wanted = (str(gateway), subnet.prefixlen)
    for address in host.get_addr(index=index, family=2):
        if (address.get("local"), address["prefixlen"]) != wanted:
            host.addr(
                "del",
                index=index,
                address=address.get("local"),
                prefixlen=address["prefixlen"],
            )
    host.addr("replace", index=index, address=wanted[0], prefixlen=wanted[1])


# ---------------------------------------------------- a firewall that drops what it forwards

# An accepting chain does not overrule another chain's drop. Docker and iptables drop in this
# chain, so the guests' pass has to stand in it: in words that iptables can read too, or its
# own commands would fail from then on. What may come in was settled by our chain before.
_FOREIGN = ("ip", "filter", "FORWARD")


def _pass_foreign_firewall(bridge: str) -> None:
    listed = nft.chain(*_FOREIGN)
    if listed is None:
        return
    policy = next((item["chain"].get("policy") for item in listed if "chain" in item), None)
    jumps = any("rule" in item for item in listed)
    if (policy != "drop" and not jumps) or _pass_handles(listed, bridge):
        return
    chain = " ".join(_FOREIGN)
    nft.apply(
        f'insert rule {chain} oifname "{bridge}" accept comment "{bridge}"\n'
        f'insert rule {chain} iifname "{bridge}" accept comment "{bridge}"\n'
    )


def _unpass_foreign_firewall(bridge: str) -> None:
    listed = nft.chain(*_FOREIGN)
    handles = _pass_handles(listed, bridge) if listed else []
    if handles:
        chain = " ".join(_FOREIGN)
        nft.apply("".join(f"delete rule {chain} handle {handle}\n" for handle in handles))


def _pass_handles(listed: list[dict[str, Any]], bridge: str) -> list[int]:
    rules = (item["rule"] for item in listed if "rule" in item)
    return [int(rule["handle"]) for rule in rules if rule.get("comment") == bridge]
