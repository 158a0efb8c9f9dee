"""What a network may be, rule by rule; each refusal names its field and what to do."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypervisors.models import Network
from hypervisors.services.addresses import (
    AddressOutsideError,
    PoolEmptyError,
    address6_allocate,
    addresses_allocate,
    hosts_address,
)
from hypervisors.services.jobs import HostTooOldError
from hypervisors.services.network_checks import SubnetOverlapError
from hypervisors.services.networks import network_change, network_create, suggested_subnet6
from tenants.actor import SYSTEM
from tenants.errors import InvalidInputError
from tests.factories import FACTS, HypervisorFactory, VirtualMachineFactory
from vms.models import Nic

NAT = {"name": "lab", "kind": "nat", "addressing": "portal", "subnet": "10.20.0.0/24"}
LAN = {
    "name": "lan",
    "kind": "bridge",
    "addressing": "portal",
    "bridge": "br0",
    "subnet": "192.0.2.0/24",
    "subnet6": "2001:db8:7::/64",
}


@pytest.fixture
def host(db):
    bridges = [{"name": "br0", "addresses": ["192.0.2.2/24"], "mtu": 1500}]
    return HypervisorFactory(facts={**FACTS, "bridges": bridges})


def make(host, template, **options):
    return network_create(actor=SYSTEM, hypervisor=host, **(template | options))


def test_a_nat_network_of_both_families_has_the_first_address_of_each_as_gateway(host):
    network = make(host, NAT, subnet6="fd12:3456:789a:1::/64")
    assert (network.gateway, network.gateway6) == ("10.20.0.1", "fd12:3456:789a:1::1")
    assert addresses_allocate(network=network) == ("10.20.0.2", "fd12:3456:789a:1::2")


def test_a_bridge_has_all_that_its_guests_are_told(host):
    network = make(
        host,
        LAN,
        gateway="192.0.2.1",
        gateway6="fe80::1",
        dns=["192.0.2.1", "2001:db8:7::1"],
        routes=[
            {"destination": "10.30.0.0/16", "gateway": "192.0.2.254"},
            {"destination": "2001:db8:30::/48", "gateway": "fe80::2"},
        ],
        search=["Example.COM.", "corp.example.com", "example.com"],
        vlan=20,
    )
    network.refresh_from_db()
    assert network.gateway6 == "fe80::1"
    assert network.search == ["example.com", "corp.example.com"]
    assert [route["gateway"] for route in network.routes] == ["192.0.2.254", "fe80::2"]
    assert network.vlan == 20


def test_a_bridge_may_give_ipv6_alone(host):
    network = make(host, LAN, subnet="")
    assert addresses_allocate(network=network) == (None, "2001:db8:7::1")


@pytest.mark.parametrize(
    ("template", "wish", "field"),
    [
        (NAT, {"subnet6": "2001:db8::/64"}, "subnet6"),
        (NAT, {"subnet6": "fd00::1/64"}, "subnet6"),
        (NAT, {"subnet6": "fd00::/8"}, "subnet6"),
        (NAT, {"subnet6": "fd00::/127"}, "subnet6"),
        (NAT, {"subnet6": "10.0.0.0/24"}, "subnet6"),
        (NAT, {"subnet6": "fd00::/64", "gateway6": "fe80::1"}, "gateway6"),
        (NAT, {"subnet6": "fd00::/64", "gateway6": "fd01::1"}, "gateway6"),
        (NAT, {"subnet6": "fd00::/64", "gateway6": "fd00::"}, "gateway6"),
        (NAT, {"subnet6": "fd00::/64", "gateway6": "10.20.0.1"}, "gateway6"),
        (NAT, {"subnet6": "fd00::/64", "mtu": 1000}, "mtu"),
        (NAT, {"gateway6": "fd00::1"}, "gateway6"),
        (NAT, {"vlan": 20}, "vlan"),
        (LAN, {"subnet6": "fe80::/64"}, "subnet6"),
        (LAN, {"subnet6": "ff02::/64"}, "subnet6"),
        (LAN, {"gateway6": "fe80::a9fe:a9fe"}, "gateway6"),
        (LAN, {"vlan": 0}, "vlan"),
        (LAN, {"vlan": 4095}, "vlan"),
        (LAN, {"mtu": 1501}, "mtu"),
        (LAN, {"gateway": "192.0.3.1"}, "gateway"),
        (LAN, {"dns": ["127.0.0.1"]}, "dns"),
        (LAN, {"dns": ["ff02::1"]}, "dns"),
        (LAN, {"search": ["-example.com"]}, "search"),
        (LAN, {"search": ["exa mple.com"]}, "search"),
        (LAN, {"search": ["exämple.com"]}, "search"),
        (LAN, {"search": ["a..b"]}, "search"),
        (LAN, {"search": [""]}, "search"),
        (LAN, {"search": [f"d{number}.example.com" for number in range(7)]}, "search"),
        (LAN, {"search": [".".join(["a" * 60] * 4), "b" * 60]}, "search"),
    ],
)
def test_what_a_network_cannot_be_is_said_at_its_field(host, template, wish, field):
    with pytest.raises(InvalidInputError) as caught:
        make(host, template, **wish)
    assert caught.value.field == field
    assert not Network.objects.exists()


@pytest.mark.parametrize(
    ("destination", "gateway", "why"),
    [
        ("0.0.0.0/0", "192.0.2.1", "gateway"),
        ("::/0", "2001:db8:7::1", "gateway"),
        ("10.30.0.1/16", "192.0.2.1", "host bits"),
        ("nowhere", "192.0.2.1", "not where a route"),
        ("10.30.0.0/16", "nobody", "not an IP address"),
        ("10.30.0.0/16", "10.30.0.1", "can't reach"),
        ("10.30.0.0/16", "192.0.2.255", "can't reach"),
        ("10.30.0.0/16", "fe80::1", "another kind"),
        ("2001:db8:30::/48", "192.0.2.1", "another kind"),
        ("2001:db8:30::/48", "fe80::a9fe:a9fe", "can't reach"),
        ("192.0.2.128/25", "192.0.2.1", "overlaps"),
        ("192.0.0.0/16", "192.0.2.1", "overlaps"),
        ("169.254.169.254/32", "192.0.2.1", "No route"),
        ("168.0.0.0/6", "192.0.2.1", "metadata"),
        ("224.0.0.0/8", "192.0.2.1", "No route"),
    ],
)
def test_a_route_that_leads_nowhere_is_refused_with_the_reason(host, destination, gateway, why):
    route = {"destination": destination, "gateway": gateway}
    with pytest.raises(InvalidInputError, match=why) as caught:
        make(host, LAN, routes=[route])
    assert caught.value.field == "routes"


def test_routes_are_few_each_once_and_only_of_the_portals(host):
    route = {"destination": "10.30.0.0/16", "gateway": "192.0.2.1"}
    with pytest.raises(InvalidInputError, match="two routes"):
        make(host, LAN, routes=[route, route])
    many = [{**route, "destination": f"10.{number}.0.0/16"} for number in range(40, 73)]
    with pytest.raises(InvalidInputError, match="at most"):
        make(host, LAN, routes=many)
    with pytest.raises(InvalidInputError, match="own DHCP"):
        make(host, LAN, addressing="site", subnet="", subnet6="", routes=[route])


def test_ipv6_subnets_of_one_host_do_not_overlap_either(host):
    make(host, NAT, subnet6="fd00:1::/64")
    with pytest.raises(SubnetOverlapError, match="lab"):
        make(host, NAT, name="second", subnet="10.21.0.0/24", subnet6="fd00:1::/64")


def test_networks_on_two_vlans_may_hold_the_same_addresses(host):
    make(host, LAN, vlan=20)
    make(host, LAN, name="lab-30", vlan=30)
    with pytest.raises(SubnetOverlapError):
        make(host, LAN, name="again", vlan=30)
    with pytest.raises(SubnetOverlapError):
        make(host, NAT, subnet="192.168.0.0/16", subnet6="fd00::/64") and make(
            host, NAT, name="nat-2", subnet="192.168.7.0/24"
        )


def test_a_host_whose_agent_would_not_understand_gets_no_such_network(host):
    host.protocol = 2
    host.save()
    for wish in ({"vlan": 20}, {"search": ["example.com"]}, {}):
        with pytest.raises(HostTooOldError):
            make(host, LAN, **wish)
    make(host, NAT)


def test_a_change_is_checked_as_a_new_network_is(host):
    network = make(host, LAN)
    for changes, field in (
        ({"mtu": 9000}, "mtu"),
        ({"gateway": "10.0.0.1"}, "gateway"),
        ({"routes": [{"destination": "10.0.0.0/8", "gateway": "10.0.0.1"}]}, "routes"),
        ({"search": ["b_d domain"]}, "search"),
        ({}, None),
    ):
        with pytest.raises(InvalidInputError) as caught:
            network_change(actor=SYSTEM, network=network, changes=changes)
        assert caught.value.field == field
    changed = network_change(actor=SYSTEM, network=network, changes={"gateway": "192.0.2.9"})
    assert changed.gateway == "192.0.2.9"
    changed = network_change(actor=SYSTEM, network=network, changes={"gateway": None})
    assert changed.gateway is None


# ------------------------------------------------------------------ addresses of IPv6


def test_ipv6_addresses_are_given_in_order_and_never_a_routers(host):
    network = make(host, LAN, subnet="", subnet6="2001:db8:7::/124", gateway6="2001:db8:7::2")
    given = []
    for _ in range(14):
        address = address6_allocate(network=network, wanted=None)
        vm = VirtualMachineFactory(hypervisor=host, network=network)
        Nic.objects.filter(vm=vm).update(address=None, address6=address)
        given.append(int(address.rsplit(":", 1)[1], 16))
    assert given == [1, *range(3, 16)]
    with pytest.raises(PoolEmptyError):
        address6_allocate(network=network, wanted=None)


@pytest.mark.parametrize(
    "wanted", ["2001:db8:7::", "2001:db8:7::ffff:ffff:ffff:ffff", "2001:db8:8::1", "fe80::1", "x"]
)
def test_an_ipv6_address_that_no_host_can_have_is_refused(host, wanted):
    with pytest.raises(AddressOutsideError):
        address6_allocate(network=make(host, LAN), wanted=wanted)


def test_an_ipv6_address_is_the_same_however_it_is_written(host):
    network = make(host, LAN)
    wanted = "2001:0DB8:0007:0000::0009"
    assert address6_allocate(network=network, wanted=wanted) == "2001:db8:7::9"


@given(st.ip_addresses(v=6, network="2001:db8:7::/64"))
def test_a_host_has_no_address_that_means_all_routers(address):
    subnet = ipaddress.IPv6Network("2001:db8:7::/64")
    number = int(address) & (2**64 - 1)
    assert hosts_address(address, subnet) == (0 < number < 2**64 - 128)


def test_the_suggested_ipv6_subnet_is_unique_local_and_stays(host):
    subnet = suggested_subnet6(host.id)
    assert subnet == suggested_subnet6(host.id)
    assert subnet.prefixlen == 64
    assert subnet.subnet_of(ipaddress.IPv6Network("fd00::/8"))
