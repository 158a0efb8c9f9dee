"""Networks of hosts, and addresses that are given once."""

import ipaddress
import threading
import uuid

import pytest
from django.db import connection, transaction

from hypervisors.models import Network
from hypervisors.services.addresses import (
    AddressOutsideError,
    AddressTakenError,
    PoolEmptyError,
    address_allocate,
)
from hypervisors.services.network_checks import SubnetOverlapError
from hypervisors.services.networks import (
    NetworkInUseError,
    default_subnet,
    network_create,
    network_remove,
)
from tenants.actor import SYSTEM
from tenants.errors import InvalidInputError, NameTakenError
from tenants.models import AuditEvent
from tenants.scope import bound
from tests.factories import HypervisorFactory, NetworkFactory, VirtualMachineFactory
from vms.models import Nic


@pytest.fixture
def host(db):
    return HypervisorFactory()


def make(host, **options):
    values = {"name": "lab", "kind": "nat", "addressing": "portal", "subnet": "10.20.0.0/24"}
    return network_create(actor=SYSTEM, hypervisor=host, **(values | options))


def test_a_nat_network_gets_the_first_address_as_gateway(host):
    network = make(host)
    assert (network.subnet, network.gateway, network.bridge) == ("10.20.0.0/24", "10.20.0.1", "")
    assert AuditEvent.objects.get(action="network.create").object_id == network.id


@pytest.mark.parametrize(
    "subnet",
    [
        "",
        "x",
        "10.20.0.1/24",
        "10.0.0.0/8",
        "10.0.0.0/30",
        "8.8.8.0/24",
        "127.0.0.0/24",
        "169.254.0.0/16",
        "fd00::/64",
        "10.20.0.0/24; drop",
        "0.0.0.0/0",
        "172.32.0.0/16",
    ],
)
def test_a_nat_subnet_that_is_not_private_or_not_right_is_refused(host, subnet):
    with pytest.raises(InvalidInputError) as caught:
        make(host, subnet=subnet)
    assert caught.value.field == "subnet"
    assert not Network.objects.exists()


@pytest.mark.parametrize("gateway", ["10.20.1.1", "10.20.0.0", "10.20.0.255", "x", "::1"])
def test_a_gateway_outside_the_subnet_is_refused(host, gateway):
    with pytest.raises(InvalidInputError) as caught:
        make(host, gateway=gateway)
    assert caught.value.field == "gateway"


@pytest.mark.parametrize("subnet", ["10.20.0.0/24", "10.20.0.128/25", "10.20.0.0/16"])
def test_two_networks_of_one_host_do_not_overlap(host, subnet):
    make(host)
    with pytest.raises(SubnetOverlapError, match="lab"):
        make(host, name="second", subnet=subnet)


def test_networks_of_two_hosts_may_be_the_same(host):
    make(host)
    make(HypervisorFactory())


def test_a_nat_network_does_not_take_the_subnet_of_a_bridge_of_the_host(db):
    facts = {"bridges": [{"name": "br0", "addresses": ["10.20.0.5/24", "fe80::1/64"]}]}
    with pytest.raises(SubnetOverlapError, match="br0"):
        make(HypervisorFactory(facts=facts))


def test_the_bridge_that_the_agent_made_for_a_network_is_no_obstacle_to_making_it_again(db):
    facts = {"bridges": [{"name": "bn0123456789ab", "addresses": ["10.20.0.1/24"]}]}
    make(HypervisorFactory(facts=facts))


def test_a_name_is_used_once_per_host_whatever_its_case(host):
    make(host)
    with pytest.raises(NameTakenError):
        make(host, name="LAB", subnet="10.21.0.0/24")


@pytest.mark.parametrize("name", ["", " ", "-x", "a/b", "x" * 64, "<b>"])
def test_a_name_that_pages_cannot_show_is_refused(host, name):
    with pytest.raises(InvalidInputError):
        make(host, name=name)


def test_a_bridge_must_be_there_and_the_sentence_names_those_that_are(host):
    with pytest.raises(InvalidInputError, match="br0"):
        make(host, kind="bridge", addressing="site", bridge="br9", subnet="")
    network = make(host, kind="bridge", addressing="site", bridge="br0", subnet="")
    assert (network.bridge, network.subnet) == ("br0", "")


def test_on_a_bridge_with_the_sites_dhcp_there_is_no_subnet_to_give(host):
    with pytest.raises(InvalidInputError):
        make(host, kind="bridge", addressing="site", bridge="br0")


def test_on_a_bridge_the_portal_may_give_addresses_of_the_sites_own_subnet(host):
    network = make(host, kind="bridge", addressing="portal", bridge="br0", subnet="192.0.2.0/24")
    assert network.gateway is None
    assert address_allocate(network=network, wanted=None) == "192.0.2.1"


@pytest.mark.parametrize("dns", [["x"], ["1.1.1.1"] * 9])
def test_name_servers_are_a_few_addresses(host, dns):
    with pytest.raises(InvalidInputError):
        make(host, dns=dns)


@pytest.mark.parametrize("mtu", [0, 575, 9217])
def test_an_mtu_is_one_that_links_can_have(host, mtu):
    with pytest.raises(InvalidInputError):
        make(host, mtu=mtu)


def test_a_network_that_vms_are_on_stays(host):
    vm = VirtualMachineFactory(hypervisor=host)
    network = vm.nics.get().network
    with pytest.raises(NetworkInUseError):
        network_remove(actor=SYSTEM, network=network)
    assert Network.objects.filter(pk=network.pk).exists()
    vm.delete()
    network_remove(actor=SYSTEM, network=network)
    assert not Network.objects.filter(pk=network.pk).exists()


def test_default_subnets_are_private_and_differ_with_the_host():
    subnets = {default_subnet(uuid.UUID(int=number)) for number in range(5000)}
    assert len(subnets) == 5000
    assert all(subnet.subnet_of(ipaddress.ip_network("10.64.0.0/10")) for subnet in subnets)


# ------------------------------------------------------------------ addresses


def nic_on(network, address):
    vm = VirtualMachineFactory(hypervisor=network.hypervisor, network=network)
    Nic.objects.filter(vm=vm).update(address=address)


def test_the_next_free_address_is_given_and_the_gateway_never(host):
    network = make(host, subnet="10.20.0.0/29")
    given = []
    for _ in range(5):
        address = address_allocate(network=network, wanted=None)
        nic_on(network, address)
        given.append(address)
    assert given == [f"10.20.0.{number}" for number in range(2, 7)]
    with pytest.raises(PoolEmptyError):
        address_allocate(network=network, wanted=None)


@pytest.mark.parametrize("wanted", ["10.20.1.5", "10.20.0.0", "10.20.0.255", "x", "::1", ""])
def test_an_address_outside_is_refused(host, wanted):
    with pytest.raises(AddressOutsideError):
        address_allocate(network=make(host), wanted=wanted)


def test_an_address_in_use_is_refused(host):
    network = make(host)
    nic_on(network, "10.20.0.9")
    for wanted in ("10.20.0.9", "10.20.0.1"):
        with pytest.raises(AddressTakenError):
            address_allocate(network=network, wanted=wanted)


@pytest.mark.django_db(transaction=True)
def test_many_who_ask_at_once_get_different_addresses():
    network = NetworkFactory(subnet="10.77.0.0/24")
    vms = [VirtualMachineFactory(hypervisor=network.hypervisor, network=network) for _ in range(6)]
    Nic.objects.update(address=None)

    def take(vm):
        with transaction.atomic():
            address = address_allocate(network=network, wanted=None)
            Nic.objects.filter(vm=vm).update(address=address)
        connection.close()

    threads = [threading.Thread(target=bound(take), args=[vm]) for vm in vms]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    addresses = sorted(Nic.objects.values_list("address", flat=True))
    assert addresses == [f"10.77.0.{number}" for number in range(2, 8)]


@pytest.mark.django_db(transaction=True)
def test_two_networks_made_at_once_do_not_overlap():
    host = HypervisorFactory()
    outcomes = []

    def create(name):
        try:
            make(host, name=name)
            outcomes.append("made")
        except SubnetOverlapError:
            outcomes.append("overlap")
        connection.close()

    threads = [threading.Thread(target=bound(create), args=[f"net{number}"]) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["made", "overlap", "overlap", "overlap"]
