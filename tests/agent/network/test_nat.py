"""NAT networks, on a host of its own: a namespace with an uplink into another one."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from agent.network import nat
from agent.network.errors import NetworkError
from agent.network.names import managed_bridge
from agent.network.namespaces import inside
from agent.network.operations import CheckBridge, MakeNat, RemoveNat
from tests.agent.network.namespaces import Machine
from tests.agent.network.plumbing import new_id

pytestmark = pytest.mark.root

OUTSIDE = "198.51.100.1"


class Host(Machine):
    """A host whose uplink leads to a machine that knows no way back to any guest."""

    def make(self, network: MakeNat) -> None:
        inside(self.name, lambda: nat.make_nat(network))

    def remove(self, network_id: str) -> None:
        inside(self.name, lambda: nat.remove_nat(RemoveNat(network_id=network_id)))

    def connect(self, other: Machine, *, here: str, address: str, there: str) -> None:
        """A link from here to `other`'s eth0, which has the address `there`."""
        peer = ("peer", "name", "eth0", "netns", other.name)
        self.run("ip", "link", "add", here, "type", "veth", *peer)
        self.run("ip", "link", "set", here, "up")
        if address:
            self.run("ip", "addr", "add", address, "dev", here)
        other.run("ip", "link", "set", "eth0", "up")
        other.run("ip", "addr", "add", there, "dev", "eth0")

    def guest(self, other: Machine, bridge: str, address: str, gateway: str) -> None:
        """Put a machine on the bridge as a guest."""
        port = f"g{bridge[2:8]}{address.rsplit('.', maxsplit=1)[-1].split('/', maxsplit=1)[0]}"
        self.connect(other, here=port, address="", there=address)
        self.run("ip", "link", "set", port, "master", bridge)
        other.run("ip", "route", "add", "default", "via", gateway)

    def rules(self) -> str:
        return self.run("nft", "list", "ruleset")


@pytest.fixture
def outside() -> Iterator[Machine]:
    with Machine() as machine:
        yield machine


@pytest.fixture
def host(outside: Machine) -> Iterator[Host]:
    with Host() as machine:
        machine.connect(outside, here="up0", address="198.51.100.2/24", there=f"{OUTSIDE}/24")
        yield machine


@pytest.fixture
def guest() -> Iterator[Machine]:
    with Machine() as machine:
        yield machine


def network(subnet: str = "10.254.20.0/24", gateway: str = "10.254.20.1") -> MakeNat:
    return MakeNat(network_id=new_id(), subnet=subnet, gateway=gateway, mtu=1450)


OUTSIDE6 = "2001:db8:51::1"


def dual_network() -> MakeNat:
    return MakeNat(
        network_id=new_id(),
        subnet="10.254.20.0/24",
        gateway="10.254.20.1",
        mtu=1450,
        subnet6="fd51:9:9:1::/64",
        gateway6="fd51:9:9:1::1",
    )


def connect_ipv6(host: Host, outside: Machine) -> None:
    """An uplink of both families; outside knows no way back to any guest."""
    host.run("ip", "addr", "add", "2001:db8:51::2/64", "dev", "up0", "nodad")
    outside.run("ip", "addr", "add", f"{OUTSIDE6}/64", "dev", "eth0", "nodad")


def join_ipv6(guest: Machine, gateway: str) -> None:
    guest.run("ip", "addr", "add", "fd51:9:9:1::5/64", "dev", "eth0", "nodad")
    guest.run("ip", "-6", "route", "add", "default", "via", gateway)


def joined(host: Host, guest: Machine, one: MakeNat) -> None:
    host.guest(guest, managed_bridge(one.network_id), "10.254.20.5/24", one.gateway)


def test_a_guest_reaches_the_world_and_the_host_reaches_the_guest(host, guest):
    one = network()
    host.make(one)
    joined(host, guest, one)
    assert guest.reaches(OUTSIDE)
    assert guest.reaches("10.254.20.1")
    assert host.reaches("10.254.20.5")


def test_making_it_again_changes_nothing(host):
    one = network()
    host.make(one)
    before = (host.rules(), host.run("ip", "-4", "-oneline", "addr"))
    host.make(one)
    assert (host.rules(), host.run("ip", "-4", "-oneline", "addr")) == before


def test_making_it_again_repairs_what_somebody_took_away(host, guest):
    one = network()
    host.make(one)
    joined(host, guest, one)
    bridge = managed_bridge(one.network_id)
    host.run("nft", "flush", "ruleset")
    host.run("ip", "addr", "flush", "dev", bridge)
    host.run("ip", "addr", "add", "10.99.0.1/24", "dev", bridge)
    host.run("ip", "link", "set", bridge, "down")
    host.run("sysctl", "-qw", "net.ipv4.ip_forward=0")
    host.make(one)
    assert guest.reaches(OUTSIDE)
    assert "10.99.0.1" not in host.run("ip", "addr")


def test_the_bridge_keeps_its_mac_when_guests_come(host, guest):
    one = network()
    host.make(one)
    bridge = managed_bridge(one.network_id)
    before = host.run("cat", f"/sys/class/net/{bridge}/address")
    joined(host, guest, one)
    assert host.run("cat", f"/sys/class/net/{bridge}/address") == before


@pytest.mark.parametrize("policy", ["drop", "accept"])
def test_a_firewall_that_drops_what_it_forwards_lets_guests_pass(host, guest, policy):
    # As Docker and iptables-nft have it: a chain of this name, and rules that end in drop.
    host.run("nft", "add", "table", "ip", "filter")
    chain = "{ type filter hook forward priority 0; policy " + policy + "; }"
    host.run("nft", "add", "chain", "ip", "filter", "FORWARD", chain)
    host.run("nft", "add", "rule", "ip", "filter", "FORWARD", "counter", "drop")
    before = host.rules()
    one = network()
    host.make(one)
    joined(host, guest, one)
    assert guest.reaches(OUTSIDE)
    host.make(one)
    assert host.rules().count(f'comment "{managed_bridge(one.network_id)}"') == 2
    host.remove(one.network_id)
    packets = "packets "
    assert [line for line in host.rules().splitlines() if packets not in line] == [
        line for line in before.splitlines() if packets not in line
    ]


def test_networks_of_one_host_are_apart_and_closed_to_the_outside(host, outside, guest):
    one, other = network(), network("10.254.21.0/24", "10.254.21.1")
    host.make(one)
    host.make(other)
    joined(host, guest, one)
    with Machine() as neighbour:
        host.guest(neighbour, managed_bridge(other.network_id), "10.254.21.5/24", other.gateway)
        assert neighbour.reaches(OUTSIDE)
        assert not neighbour.reaches("10.254.20.5")
    outside.run("ip", "route", "add", "10.254.20.0/24", "via", "198.51.100.2")
    assert not outside.reaches("10.254.20.5")


def test_guests_of_one_network_reach_each_other(host, guest):
    one = network()
    host.make(one)
    joined(host, guest, one)
    with Machine() as neighbour:
        host.guest(neighbour, managed_bridge(one.network_id), "10.254.20.6/24", one.gateway)
        assert neighbour.reaches("10.254.20.5")


def test_removing_it_leaves_nothing_and_may_be_repeated(host):
    one = network()
    links = host.run("ip", "-brief", "link")
    host.make(one)
    host.remove(one.network_id)
    host.remove(one.network_id)
    assert host.rules() == ""
    assert host.run("ip", "-brief", "link") == links


@pytest.mark.parametrize("subnet", ["198.51.100.0/24", "198.51.100.128/25", "198.51.0.0/16"])
def test_a_subnet_that_the_host_has_a_route_to_is_refused(host, subnet):
    gateway = {"198.51.100.128/25": "198.51.100.129"}.get(subnet, "198.51.100.9")
    with pytest.raises(NetworkError, match="up0") as refused:
        host.make(network(subnet, gateway))
    assert refused.value.code == "subnet_in_use"
    assert host.rules() == ""
    assert "bn" not in host.run("ip", "-brief", "link")


def test_a_bridge_that_is_not_there_is_named_with_those_that_are(host):
    host.run("ip", "link", "add", "br-lan", "type", "bridge")
    inside(host.name, lambda: nat.check_bridge(CheckBridge(name="br-lan")))
    with pytest.raises(NetworkError, match=r"'br-wan'.*br-lan") as refused:
        inside(host.name, lambda: nat.check_bridge(CheckBridge(name="br-wan")))
    assert refused.value.code == "bridge_missing"


def test_another_kind_of_link_is_no_bridge(host):
    with pytest.raises(NetworkError):
        inside(host.name, lambda: nat.check_bridge(CheckBridge(name="up0")))


@pytest.mark.parametrize(
    ("subnet", "gateway"),
    [("10.254.20.0/24", "10.254.21.1"), ("10.254.20.5/24", "10.254.20.1"), ("x", "y")],
)
def test_addresses_that_do_not_fit_are_refused(host, subnet, gateway):
    with pytest.raises(NetworkError):
        host.make(network(subnet, gateway))
    assert host.rules() == ""


def test_this_hosts_own_forwarding_is_not_touched_by_these_tests(host):
    before = Path("/proc/sys/net/ipv4/ip_forward").read_text()
    host.make(network())
    assert host.run("cat", "/proc/sys/net/ipv4/ip_forward") == "1"
    assert Path("/proc/sys/net/ipv4/ip_forward").read_text() == before


# ------------------------------------------------------------------ IPv6


def test_a_guest_reaches_the_world_by_both_families(host, outside, guest):
    one = dual_network()
    connect_ipv6(host, outside)
    host.make(one)
    joined(host, guest, one)
    join_ipv6(guest, one.gateway6)
    assert guest.reaches(OUTSIDE)
    assert guest.reaches(one.gateway6)
    assert guest.reaches(OUTSIDE6)
    assert host.reaches("fd51:9:9:1::5")
    outside.run("ip", "-6", "route", "add", "fd51:9:9:1::/64", "via", "2001:db8:51::2")
    assert not outside.reaches("fd51:9:9:1::5")


def test_a_firewall_that_drops_forwarded_ipv6_lets_guests_pass(host, outside, guest):
    host.run("nft", "add", "table", "ip6", "filter")
    chain = "{ type filter hook forward priority 0; policy drop; }"
    host.run("nft", "add", "chain", "ip6", "filter", "FORWARD", chain)
    one = dual_network()
    connect_ipv6(host, outside)
    host.make(one)
    joined(host, guest, one)
    join_ipv6(guest, one.gateway6)
    assert guest.reaches(OUTSIDE6)
    host.remove(one.network_id)
    assert managed_bridge(one.network_id) not in host.rules()


def test_a_host_that_has_its_own_ipv6_from_a_router_keeps_it(host):
    host.run("sysctl", "-qw", "net.ipv6.conf.up0.accept_ra=1")
    host.run("sysctl", "-qw", "net.ipv6.conf.lo.accept_ra=0")
    host.make(network())
    assert host.run("cat", "/proc/sys/net/ipv6/conf/all/forwarding") == "0"
    host.make(dual_network_elsewhere())
    assert host.run("cat", "/proc/sys/net/ipv6/conf/all/forwarding") == "1"
    assert host.run("cat", "/proc/sys/net/ipv6/conf/up0/accept_ra") == "2"
    assert host.run("cat", "/proc/sys/net/ipv6/conf/lo/accept_ra") == "0"


def dual_network_elsewhere() -> MakeNat:
    return msgspec.structs.replace(dual_network(), subnet="10.254.22.0/24", gateway="10.254.22.1")


def test_a_network_that_gets_another_gateway_has_no_other_left(host):
    one = dual_network()
    host.make(one)
    host.make(msgspec.structs.replace(one, gateway="10.254.20.9", gateway6="fd51:9:9:1::9"))
    addresses = host.run("ip", "-oneline", "addr", "show", managed_bridge(one.network_id))
    assert "10.254.20.9/24" in addresses
    assert "fd51:9:9:1::9/64" in addresses
    assert "10.254.20.1/" not in addresses
    assert "fd51:9:9:1::1/" not in addresses


def test_an_ipv6_subnet_that_the_host_has_a_route_to_is_refused(host):
    host.run("ip", "addr", "add", "fd51:9:9:1::77/64", "dev", "up0", "nodad")
    with pytest.raises(NetworkError, match="up0") as refused:
        host.make(dual_network())
    assert refused.value.code == "subnet_in_use"
