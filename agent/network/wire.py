"""A virtual NIC's own wire: from its tap into a namespace where only metadata answers.

Frames are handed over by nftables at the tap's ingress, before any bridge sees them. So
nothing of it shows on the site's LAN, guests may all use the same link-local addresses, and
who asks is told by the wire alone.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from agent.network import guard
from agent.network.errors import NetworkError
from agent.network.listeners import open_listeners
from agent.network.names import namespace_name, nic_table, veth_name
from agent.network.namespaces import (
    create_namespace,
    delete_namespace,
    inside,
    namespace_exists,
    namespace_path,
)
from agent.network.netfilter import (
    Hook,
    delete_netdev_table,
    replace_elements,
    replace_netdev_table,
)
from agent.network.operations import Protect, Unwire, Wire
from metadata.documents import METADATA_EC2_IPV6, METADATA_IPV4, METADATA_IPV6

SERVICE_MAC = "02:a9:fe:a9:fe:01"
INNER_LINK = "eth0"
_MTU = 1500
_MARK = "0xa9fea9fe"
"""On frames of the service, on their way through the tap. Guests and the LAN cannot set it."""
# A neighbour solicitation's target, as nft 1.0.6 can match it.
_IPV6_TARGET = "0xfe8000000000000000000000a9fea9fe"
_EC2_IPV6_TARGET = "0xfd000ec2000000000000000000000254"

_SYSCTLS = {
    # Inherited from the host, which may forward: this namespace leads nowhere.
    "ipv4/ip_forward": "0",
    "ipv6/conf/eth0/accept_ra": "0",
    "ipv6/conf/eth0/accept_redirects": "0",
    "ipv4/conf/eth0/accept_redirects": "0",
    "ipv4/conf/eth0/send_redirects": "0",
    # The guest asks from whatever address it has so far.
    "ipv4/conf/all/rp_filter": "0",
    "ipv4/conf/eth0/rp_filter": "0",
    # Answer only for the address of the service, not for the host's or the guest's.
    "ipv4/conf/eth0/arp_ignore": "1",
    "ipv6/conf/eth0/addr_gen_mode": "1",
}

_DHCP_RULES = {
    # The site's routers hear the solicitation too: theirs is the address of IPv6.
    "take": (
        "{own}udp sport 68 udp dport 67 fwd to {veth}; icmpv6 type nd-router-solicit dup to {veth}"
    ),
    "watch": "udp sport 68 udp dport 67 dup to {veth}",
}

_RULES = """
{guard_parts}
    chain from_guest {{
        {guard_door}
        # Nobody but the service is the service.
        ip saddr {ipv4} {claim_ipv4}
        arp saddr ip {ipv4} {claim_arp}
        ip6 saddr {{ {ipv6}, {ec2_ipv6} }} {claim_ipv6}
        icmpv6 type nd-neighbor-advert @th,64,128 {target} {claim_neighbour}
        icmpv6 type nd-neighbor-advert @th,64,128 {ec2_target} {claim_neighbour}
        ip daddr {ipv4} ether daddr set {mac} fwd to {veth}
        arp daddr ip {ipv4} ether daddr set {mac} fwd to {veth}
        ip6 daddr {ipv6} ether daddr set {mac} fwd to {veth}
        icmpv6 type nd-neighbor-solicit @th,64,128 {target} fwd to {veth}
        ip6 daddr {ec2_ipv6} ether daddr set {mac} fwd to {veth}
        icmpv6 type nd-neighbor-solicit @th,64,128 {ec2_target} fwd to {veth}
        {dhcp}
        {guard_rest}
    }}
    chain from_metadata {{
        meta mark set {mark} fwd to {tap}
    }}
    chain to_guest {{
        meta mark {mark} accept
        # Nor is anybody on the LAN, whose frames no guard has seen.
        ip saddr {ipv4} drop
        arp saddr ip {ipv4} drop
        ip6 saddr {{ {ipv6}, {ec2_ipv6} }} drop
        icmpv6 type nd-neighbor-advert @th,64,128 {target} drop
        icmpv6 type nd-neighbor-advert @th,64,128 {ec2_target} drop
    }}
"""


def wire(operation: Wire) -> list[int]:
    """Make or repair the wire. Returns descriptors of fresh listeners, if there are any.

    Raises NetworkError.
    """
    name = namespace_name(operation.nic_id)
    veth = veth_name(operation.nic_id)
    with IPRoute() as host:
        if not host.link_lookup(ifname=operation.tap):
            raise NetworkError(
                "internal",
                f"The guest's network device {operation.tap} is not there: the guest stopped, "
                "or the hypervisor gave it another name.",
            )
        fresh = not (namespace_exists(name) and host.link_lookup(ifname=veth))
        if fresh:
            _remove(host, operation.nic_id)
            create_namespace(name)
            _make_veth(host, name, veth, min(_MTU, operation.mtu))
        _prepare_host_end(host, veth)
        links = {link: host.link_lookup(ifname=link)[0] for link in (operation.tap, veth)}
    inside(name, _prepare_inner_end)
    table = nic_table(operation.nic_id)
    counted = {} if fresh else guard.counters([table]).get(table, {})
    body = rules(operation, counted, tap=links[operation.tap], veth=links[veth])
    replace_netdev_table(
        table,
        body,
        {
            "from_guest": Hook("ingress", operation.tap, -300, "accept"),
            "from_metadata": Hook("ingress", veth, -300, "drop"),
            "to_guest": Hook("egress", operation.tap, 0, "accept"),
        },
    )
    if not (fresh or operation.listeners):
        return []
    return inside(name, lambda: open_listeners(INNER_LINK))


def unwire(operation: Unwire) -> None:
    """Take away all of a NIC's wire. Idempotent. Raises NetworkError."""
    with IPRoute() as host:
        _remove(host, operation.nic_id)


def protect(operation: Protect) -> None:
    """Tell guards what is somebody else's. Raises NetworkError."""
    sets: dict[tuple[str, str], list[bytes]] = {}
    for nic_id, addresses in operation.protected.items():
        for name, keys in guard.protected_keys(addresses).items():
            sets[nic_table(nic_id), name] = keys
    replace_elements(sets)


def rules(operation: Wire, counted: Mapping[str, tuple[int, int]], *, tap: int, veth: int) -> str:
    """The body of the NIC's nftables table; `tap` and `veth` are the links' numbers. The guard's
    counters go on from `counted`. Only DHCP of the NIC's own MAC is taken from the LAN: what
    stands behind the guest has the site's to ask."""
    mac, guarded = operation.mac, operation.guard
    claims = ("ipv4", "arp", "ipv6", "neighbour")
    own = f"ether saddr {mac} " if mac else ""
    return _RULES.format(
        tap=tap,
        veth=veth,
        mac=SERVICE_MAC,
        mark=_MARK,
        ipv4=METADATA_IPV4,
        ipv6=METADATA_IPV6,
        target=_IPV6_TARGET,
        ec2_ipv6=METADATA_EC2_IPV6,
        ec2_target=_EC2_IPV6_TARGET,
        dhcp=_DHCP_RULES[operation.dhcp].format(veth=veth, own=own),
        guard_parts=guard.parts(guarded, mac, counted) if guarded is not None else "",
        guard_door=guard.door(mac) if guarded is not None else "",
        guard_rest=guard.REST if guarded is not None else "",
        **{f"claim_{kind}": guard.claim(kind, guarded=guarded is not None) for kind in claims},
    )


def _remove(host: Any, nic_id: str) -> None:
    delete_netdev_table(nic_table(nic_id))
    # Before the namespace: that one lives on while the metadata server holds its sockets.
    for index in host.link_lookup(ifname=veth_name(nic_id)):
        _ignore_missing(lambda index=index: host.link("del", index=index))
    delete_namespace(namespace_name(nic_id))


def _make_veth(host: Any, namespace: str, veth: str, mtu: int) -> None:
    with namespace_path(namespace).open("rb") as file:
        host.link(
            "add",
            ifname=veth,
            kind="veth",
            mtu=mtu,
            peer={
                "ifname": INNER_LINK,
                "net_ns_fd": file.fileno(),
                "address": SERVICE_MAC,
                "mtu": mtu,
            },
        )


def _prepare_host_end(host: Any, veth: str) -> None:
    # The host itself never speaks on this wire.
    _write_sysctl(f"ipv6/conf/{veth}/disable_ipv6", "1")
    index = host.link_lookup(ifname=veth)[0]
    host.link("set", index=index, state="up")


def _prepare_inner_end() -> None:
    for key, value in _SYSCTLS.items():
        _write_sysctl(key, value)
    with IPRoute() as here:
        index = here.link_lookup(ifname=INNER_LINK)[0]
        here.link("set", index=here.link_lookup(ifname="lo")[0], state="up")
        here.link("set", index=index, state="up")
        here.addr("replace", index=index, address=METADATA_IPV4, prefixlen=32)
        # nodad: the only neighbour is the guest, and it cannot claim the address.
        here.addr("replace", index=index, address=METADATA_IPV6, prefixlen=64, flags=_NODAD)
        here.addr("replace", index=index, address=METADATA_EC2_IPV6, prefixlen=128, flags=_NODAD)
        # Whatever address the guest has: it is on this wire.
        here.route("replace", dst="0.0.0.0/0", oif=index, scope=_SCOPE_LINK)
        here.route("replace", dst="::/0", oif=index, family=_AF_INET6)


_NODAD = 0x02  # IFA_F_NODAD of linux/if_addr.h
_SCOPE_LINK = 253  # RT_SCOPE_LINK of linux/rtnetlink.h
_AF_INET6 = 10


def _write_sysctl(key: str, value: str) -> None:
    path = Path("/proc/sys/net") / key
    try:
        path.write_text(value)
    except OSError as error:
        if path.exists():
            raise NetworkError("internal", f"{path} cannot be set: {error.strerror}.") from error


def _ignore_missing(work: Any) -> None:
    try:
        work()
    except NetlinkError as error:
        if error.code != 19:  # ENODEV
            raise
