"""The forms of the tree say the same of a guest, whatever it is given."""

from ipaddress import IPv4Address, ip_interface, ip_network

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from metadata import ec2, nocloud, openstack
from metadata.documents import Link, NicDocument, Route
from metadata.network_data import network_data
from tests.metadata.documents import document, link

_NAMES = st.from_regex(r"\A[a-z][a-z0-9-]{0,14}(\.[a-z]{2,8})?\Z")
_KEYS = st.lists(st.from_regex(r"\Assh-ed25519 [A-Za-z0-9+/]{8,40} [a-z]{1,8}\Z"), max_size=4)


@st.composite
def links(draw: st.DrawFn) -> list[Link]:
    """NICs of a guest, each with its own MAC, and addresses of any family or of none."""
    made = []
    for number in range(1, draw(st.integers(2, 5))):
        four, six = draw(st.booleans()), draw(st.booleans())
        subnet, subnet6 = f"10.{number}.0", f"fd00:{number}:"
        routes = [Route(destination="10.99.0.0/16", gateway=f"{subnet}.1")] if four else []
        routes += [Route(destination="fd99::/48", gateway=f"{subnet6}:1")] if six else []
        made.append(
            Link(
                nic_id=f"{number}1111111-1111-4111-8111-111111111111",
                network_id=f"{number}2222222-1111-4111-8111-111111111111",
                mac=f"52:54:00:00:00:{number:02x}",
                mtu=draw(st.integers(1280, 9000)),
                address=f"{subnet}.{draw(st.integers(2, 250))}/24" if four else None,
                gateway=f"{subnet}.1" if four and draw(st.booleans()) else None,
                address6=f"{subnet6}:{draw(st.integers(2, 250)):x}/64" if six else None,
                gateway6=f"{subnet6}:1" if six and draw(st.booleans()) else None,
                routes=routes if draw(st.booleans()) else [],
                dns=["10.0.0.53", "fd00::53"] if (four or six) and draw(st.booleans()) else [],
                search=["corp.example"] if (four or six) and draw(st.booleans()) else [],
            )
        )
    return made


@st.composite
def documents(draw: st.DrawFn) -> NicDocument:
    nics = draw(links())
    return document(
        mac=nics[draw(st.integers(0, len(nics) - 1))].mac,
        hostname=draw(_NAMES),
        ssh_keys=draw(_KEYS),
        links=nics,
        tags=draw(st.dictionaries(st.from_regex(r"\A[a-z]{1,8}\Z"), st.text(max_size=20))),
        zone=draw(st.text(min_size=1, max_size=20)),
    )


def _leaf(nic: NicDocument, *path: str) -> str | None:
    answer = ec2.answer(nic, ["latest", "meta-data", *path])
    return answer.body.decode() if answer.status == 200 else None


def _by_openstack(nic: NicDocument) -> set[tuple[str, str]]:
    told = network_data(nic)
    macs = {one["id"]: one["ethernet_mac_address"] for one in told["links"]}
    return {
        (macs[one["link"]], str(_interface(one["ip_address"], one["netmask"])))
        for one in told["networks"]
        if "ip_address" in one and one["id"] != "metadata"
    }


def _interface(address: str, netmask: str):
    # Python reads no written-out mask of IPv6.
    bits = sum(int(byte).bit_count() for byte in ip_interface(netmask).packed)
    return ip_interface(f"{address}/{bits}")


def _by_nocloud(nic: NicDocument) -> set[tuple[str, str]]:
    return {
        (one["match"]["macaddress"], address)
        for one in nocloud.network_config(nic)["ethernets"].values()
        for address in one.get("addresses", [])
        if not address.startswith("169.254.")
    }


def _by_ec2(nic: NicDocument) -> set[tuple[str, str]]:
    found = set()
    for one in nic.links:
        folder = ("network", "interfaces", "macs", one.mac)
        for leaf, block in (
            ("local-ipv4s", "subnet-ipv4-cidr-block"),
            ("ipv6s", "subnet-ipv6-cidr-blocks"),
        ):
            for address in (_leaf(nic, *folder, leaf) or "").split():
                prefix = ip_network(_leaf(nic, *folder, block)).prefixlen
                found.add((one.mac, f"{address}/{prefix}"))
    return found


@settings(deadline=None)
@given(documents())
def test_the_forms_agree_on_addresses(nic):
    assert _by_openstack(nic) == _by_nocloud(nic) == _by_ec2(nic)


@settings(deadline=None)
@given(documents())
def test_the_forms_agree_on_who_the_guest_is(nic):
    open_stack, no_cloud = openstack.meta_data(nic), nocloud.meta_data(nic)
    identity = ec2.identity_document(nic)
    assert {open_stack["hostname"], no_cloud["local-hostname"], _leaf(nic, "local-hostname")} == {
        nic.hostname
    }
    assert {
        open_stack["uuid"],
        no_cloud["instance-id"],
        _leaf(nic, "instance-id"),
        identity["instanceId"],
    } == {nic.instance_id}
    assert {
        open_stack["availability_zone"],
        no_cloud["availability-zone"],
        _leaf(nic, "placement", "availability-zone"),
        identity["availabilityZone"],
    } == {nic.zone}


@settings(deadline=None)
@given(documents())
def test_the_forms_agree_on_keys_and_tags(nic):
    numbers = range(len(nic.ssh_keys))
    by_ec2 = [_leaf(nic, "public-keys", str(number), "openssh-key") for number in numbers]
    assert list(openstack.meta_data(nic)["public_keys"].values()) == by_ec2 == nic.ssh_keys
    assert nocloud.meta_data(nic)["public-keys"] == nic.ssh_keys
    tags = {key: _leaf(nic, "tags", "instance", key) for key in nic.tags}
    assert openstack.meta_data(nic)["meta"] == nocloud.meta_data(nic)["tags"] == tags == nic.tags


@settings(deadline=None)
@given(documents())
def test_the_forms_agree_on_routes_servers_and_domains(nic):
    told = network_data(nic)
    ethernets = nocloud.network_config(nic)["ethernets"].values()
    by_openstack = {
        (str(_interface(route["network"], route["netmask"])), route["gateway"])
        for network in told["networks"]
        for route in network.get("routes", [])
    }
    assert by_openstack == {
        (route["to"], route["via"]) for one in ethernets for route in one.get("routes", [])
    }
    servers = {server for one in ethernets for server in _servers(one, "addresses")}
    assert {service["address"] for service in told["services"]} == servers
    searched = {domain for one in ethernets for domain in _servers(one, "search")}
    assert {
        domain for network in told["networks"] for domain in network.get("dns_search", [])
    } == searched


def _servers(ethernet: dict, name: str) -> list[str]:
    return ethernet.get("nameservers", {}).get(name, [])


@settings(deadline=None)
@given(documents())
def test_each_guest_has_a_way_to_the_service_by_ipv4(nic):
    """Its own DHCP, a gateway, or an address beside the service's."""
    networks = network_data(nic)["networks"]
    any4 = str(IPv4Address(0))
    anywhere = {"network": any4, "netmask": any4}
    ways = [one for one in networks if one["type"] == "ipv4_dhcp" or one["id"] == "metadata"]
    ways += [
        one
        for one in networks
        if any(anywhere.items() <= to.items() for to in one.get("routes", []))
    ]
    assert ways


@settings(deadline=None)
@given(documents(), st.sampled_from([openstack.VERSIONS, ec2.VERSIONS]))
def test_all_that_is_listed_is_there(nic, versions):
    form = openstack if versions is openstack.VERSIONS else ec2

    def walk(parts: list[str]) -> None:
        answer = form.answer(nic, parts)
        assert answer.status == 200, parts
        if form is ec2 and (len(parts) == 1 or parts[-1] + "/" in folders):
            for name in answer.body.decode().splitlines():
                folders.add(name) if name.endswith("/") else None
                walk([*parts, name.split("=")[0].rstrip("/")])

    folders = {"meta-data/", "dynamic/"}
    for version in versions:
        walk([version])


def test_both_families_and_all_that_goes_with_them_in_openstacks_words():
    nic = document(
        links=[
            link(
                routes=[Route(destination="10.99.0.0/16", gateway="10.1.2.9")],
                dns=["10.1.2.1", "fd00::53"],
                search=["corp.example"],
                mtu=1400,
            )
        ]
    )
    told = msgspec.json.decode(openstack.answer(nic, ["latest", "network_data.json"]).body)
    assert told["links"][0]["mtu"] == 1400
    four, six = told["networks"]
    assert (four["type"], four["ip_address"], four["netmask"]) == (
        "ipv4", "10.1.2.3", "255.255.255.0",
    )  # fmt: skip
    assert four["routes"][1] == {
        "network": "10.99.0.0", "netmask": "255.255.0.0", "gateway": "10.1.2.9",
    }  # fmt: skip
    assert four["dns_search"] == ["corp.example"]
    assert four["dns_nameservers"] == ["10.1.2.1", "fd00::53"]
    assert (six["type"], six["netmask"]) == ("ipv6", "ffff:ffff:ffff:ffff::")
    assert six["routes"] == [{"network": "::", "netmask": "::", "gateway": "fd00:1::1"}]
    assert [one["address"] for one in told["services"]] == ["10.1.2.1", "fd00::53"]


def test_an_address_of_ipv6_alone_leaves_one_beside_the_service():
    nic = document(links=[link(address=None, gateway=None)])
    assert [one["ip_address"] for one in network_data(nic)["networks"]] == [
        "fd00:1::3",
        "169.254.10.1",
    ]
    assert nocloud.network_config(nic)["ethernets"]["nic0"]["addresses"] == [
        "fd00:1::3/64",
        "169.254.10.1/16",
    ]
