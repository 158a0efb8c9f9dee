"""NAT networks that the agent makes: a bridge, its address, and the way out."""

import ipaddress
from pathlib import Path
from typing import Any

from pyroute2 import IPRoute

from agent.network import nft
from agent.network.errors import NetworkError
from agent.network.names import managed_bridge, network_table
from agent.network.operations import CheckBridge, MakeNat, RemoveNat

_SYSCTL = Path("/proc/sys/net")
_MAIN_TABLE = 254
_AF_INET, _AF_INET6 = 2, 10
_NODAD = 0x02  # IFA_F_NODAD of linux/if_addr.h

Subnet = ipaddress.IPv4Network | ipaddress.IPv6Network
Interface = ipaddress.IPv4Interface | ipaddress.IPv6Interface

_RULES = """
    chain postrouting {{
        type nat hook postrouting priority srcnat; policy accept;
        oifname "{bridge}" accept
        ip saddr {subnet} ip daddr != {{ {subnet}, 224.0.0.0/4 }} masquerade
        {masquerade6}
    }}
    chain forward {{
        type filter hook forward priority filter - 10; policy accept;
        iifname "{bridge}" accept
        oifname "{bridge}" ct state established,related accept
        # Nobody comes in from outside, nor from another network: this one is behind NAT.
        oifname "{bridge}" drop
    }}
"""

# Sites rarely have IPv6 to route to guests: they go out behind the host's own address, as with
# IPv4. Their ULA makes clients prefer IPv4 to the outside (RFC 6724).
_MASQUERADE6 = "ip6 saddr {subnet} ip6 daddr != {{ {subnet}, fe80::/10, ff00::/8 }} masquerade"


def check_bridge(operation: CheckBridge) -> None:
    """Raises NetworkError `bridge_missing`."""
    with IPRoute() as host:
        bridges = sorted(link.get("ifname") for link in host.get_links(kind="bridge"))
    if operation.name not in bridges:
        own = [name for name in bridges if not name.startswith(("bn", "bw"))]
        there = f"It has: {', '.join(own)}." if own else "It has none."
        raise NetworkError(
            "bridge_missing",
            f"The host has no bridge {operation.name!r}. {there} Make the bridge on the host, "
            "or put the VM on another network.",
        )


def make_nat(operation: MakeNat) -> None:
    """Idempotent: repairs what is missing. Raises NetworkError."""
    bridge = managed_bridge(operation.network_id)
    own = [_interface(operation.subnet, operation.gateway)]
    if operation.subnet6 is not None and operation.gateway6 is not None:
        own.append(_interface(operation.subnet6, operation.gateway6))
    with IPRoute() as host:
        for interface in own:
            _check_free(host, interface.network, bridge)
        _make_bridge(host, operation.network_id, own, operation.mtu)
    subnet6 = [one.network for one in own if one.version == 6]
    nft.replace_table(
        "inet",
        network_table(operation.network_id),
        _RULES.format(
            subnet=own[0].network,
            bridge=bridge,
            masquerade6=_MASQUERADE6.format(subnet=subnet6[0]) if subnet6 else "",
        ),
    )
    _pass_foreign_firewalls(bridge)
    _switch_on(_SYSCTL / "ipv4/ip_forward")
    if subnet6:
        _forward_ipv6()


def _interface(subnet: str, gateway: str) -> Interface:
    """The gateway with the length of its subnet. Raises NetworkError."""
    try:
        network = ipaddress.ip_network(subnet)
        interface = ipaddress.ip_interface(f"{ipaddress.ip_address(gateway)}/{network.prefixlen}")
    except ValueError as error:
        raise NetworkError(
            "internal", f"The network's addresses cannot be read: {error}."
        ) from None
    if interface.network != network:
        raise NetworkError("internal", f"The gateway {gateway} is not in the network {subnet}.")
    return interface


def _switch_on(setting: Path) -> None:
    if setting.read_text().strip() != "1":
        setting.write_text("1")


def _forward_ipv6() -> None:
    """A host that forwards takes no router's word any more, unless told to: one with an address
    of its site's by IPv6 must not lose it to its first guest's network."""
    everywhere = _SYSCTL / "ipv6/conf/all/forwarding"
    if everywhere.read_text().strip() == "1":
        return
    for setting in (_SYSCTL / "ipv6/conf").glob("*/accept_ra"):
        if setting.read_text().strip() == "1":
            setting.write_text("2")
    everywhere.write_text("1")


def remove_nat(operation: RemoveNat) -> None:
    """Idempotent. Forwarding stays on: somebody else may count on it by now."""
    bridge = managed_bridge(operation.network_id)
    _unpass_foreign_firewalls(bridge)
    nft.delete_table("inet", network_table(operation.network_id))
    with IPRoute() as host:
        for index in host.link_lookup(ifname=bridge):
            host.link("del", index=index)


def _check_free(host: Any, subnet: Subnet, bridge: str) -> None:
    own = set(host.link_lookup(ifname=bridge))
    family = _AF_INET6 if subnet.version == 6 else _AF_INET
    for route in host.get_routes(family=family, table=_MAIN_TABLE):
        length, destination, index = (
            route["dst_len"],
            route.get("dst"),
            route.get("oif"),
        )
        if not length or destination is None or index in own:
            continue
        taken = ipaddress.ip_network(f"{destination}/{length}")
        if taken.overlaps(subnet):
            links = host.get_links(index) if index else []
            where = f" on {links[0].get('ifname')}" if links else ""
            raise NetworkError(
                "subnet_in_use",
                f"The network {subnet} overlaps with {taken}{where}, to which the host has a "
                "route already. Give this network another subnet.",
            )


def _make_bridge(host: Any, network_id: str, own: list[Interface], mtu: int) -> None:
    name = managed_bridge(network_id)
    if not host.link_lookup(ifname=name):
        host.link("add", ifname=name, kind="bridge", br_stp_state=0, br_forward_delay=0)
    index = host.link_lookup(ifname=name)[0]
    # A fixed MAC: a bridge without one takes that of a guest, and changes with its guests.
    digits = network_id.replace("-", "")[:10]
    mac = ":".join(["02", *(digits[at : at + 2] for at in range(0, 10, 2))])
    host.link("set", index=index, address=mac, mtu=mtu, state="up")
    wanted = {(str(one.ip), one.network.prefixlen) for one in own}
    for address in host.get_addr(index=index):
        text = str(address.get("local") or address.get("address"))
        there = (text, address["prefixlen"])
        if there not in wanted and not ipaddress.ip_address(text).is_link_local:
            host.addr("del", index=index, address=text, prefixlen=address["prefixlen"])
    for one in own:
        # nodad: before its first guest the bridge has nobody to ask whether the address is free.
        flags = {"flags": _NODAD} if one.version == 6 else {}
        host.addr(
            "replace", index=index, address=str(one.ip), prefixlen=one.network.prefixlen, **flags
        )


# ---------------------------------------------------- a firewall that drops what it forwards

# An accepting chain does not overrule another chain's drop. Docker and iptables drop in this
# chain, so the guests' pass has to stand in it: in words that iptables can read too, or its
# own commands would fail from then on. What may come in was settled by our chain before.
_FOREIGN = (("ip", "filter", "FORWARD"), ("ip6", "filter", "FORWARD"))


def _pass_foreign_firewalls(bridge: str) -> None:
    for foreign in _FOREIGN:
        listed = nft.chain(*foreign)
        if listed is None:
            continue
        policy = next((item["chain"].get("policy") for item in listed if "chain" in item), None)
        jumps = any("rule" in item for item in listed)
        if (policy != "drop" and not jumps) or _pass_handles(listed, bridge):
            continue
        chain = " ".join(foreign)
        nft.apply(
            f'insert rule {chain} oifname "{bridge}" accept comment "{bridge}"\n'
            f'insert rule {chain} iifname "{bridge}" accept comment "{bridge}"\n'
        )


def _unpass_foreign_firewalls(bridge: str) -> None:
    for foreign in _FOREIGN:
        listed = nft.chain(*foreign)
        handles = _pass_handles(listed, bridge) if listed else []
        if handles:
            chain = " ".join(foreign)
            nft.apply("".join(f"delete rule {chain} handle {handle}\n" for handle in handles))


def _pass_handles(listed: list[dict[str, Any]], bridge: str) -> list[int]:
    rules = (item["rule"] for item in listed if "rule" in item)
    return [int(rule["handle"]) for rule in rules if rule.get("comment") == bridge]
