"""What a lease carries beyond the address: routes, search domains, times; and what fits."""

from ipaddress import IPv4Address, IPv4Network

from hypothesis import given, settings
from hypothesis import strategies as st

from metadata.dhcp import Kind, answer, parse
from metadata.documents import Lease, LeaseRoute
from tests.metadata.packets import client_packet, ip_packet

SERVICE = (IPv4Network("169.254.169.254/32"), IPv4Address(0))


def lease(**changes) -> Lease:
    fields = {"address": "10.1.2.3", "prefix": 24, "gateway": "10.1.2.1"}
    return Lease(**fields | changes)


def asked(*, largest: int | None = None) -> bytes:
    packet = client_packet(Kind.DISCOVER)
    if largest is None:
        return packet
    return ip_packet(packet[28:-1] + bytes([57, 2]) + largest.to_bytes(2, "big") + b"\xff")


def told(one: Lease, *, largest: int | None = None) -> dict[int, bytes]:
    """Options as a client reads them: pieces of one option are put together (RFC 3396)."""
    packet = answer(parse(asked(largest=largest)), one, hostname="web").packet
    assert len(packet) <= (largest or 576)
    data, found = packet[28 + 240 :], {}
    while data and data[0] != 255:
        found[data[0]] = found.get(data[0], b"") + data[2 : 2 + data[1]]
        data = data[2 + data[1] :]
    return found


def routes_of(options: dict[int, bytes]) -> list[tuple[IPv4Network, IPv4Address]]:
    """RFC 3442, read by its own words."""
    data, found = options[121], []
    while data:
        length = data[0]
        known = (length + 7) // 8
        network = IPv4Network((data[1 : 1 + known].ljust(4, b"\0"), length))
        found.append((network, IPv4Address(data[1 + known : 5 + known])))
        data = data[5 + known :]
    return found


def domains_of(options: dict[int, bytes]) -> list[str]:
    """RFC 1035, 4.1.2, without compression."""
    data, found, labels = options.get(119, b""), [], []
    while data:
        length, data = data[0], data[1:]
        if length:
            labels.append(data[:length].decode())
            data = data[length:]
        else:
            found.append(".".join(labels))
            labels = []
    return found


def test_routes_of_the_network_come_after_the_service_and_the_gateway():
    routes = [
        LeaseRoute(destination="10.30.0.0/16", gateway="10.1.2.254"),
        LeaseRoute(destination="192.0.2.128/25", gateway="10.1.2.253"),
    ]
    assert routes_of(told(lease(routes=routes))) == [
        SERVICE,
        (IPv4Network("0.0.0.0/0"), IPv4Address("10.1.2.1")),
        (IPv4Network("10.30.0.0/16"), IPv4Address("10.1.2.254")),
        (IPv4Network("192.0.2.128/25"), IPv4Address("10.1.2.253")),
    ]


def test_search_domains_are_told_and_the_first_is_the_guests_own():
    options = told(lease(search=["corp.example.com", "example.com"]))
    assert domains_of(options) == ["corp.example.com", "example.com"]
    assert options[15] == b"corp.example.com"


def test_a_lease_is_renewed_at_half_its_time_and_anywhere_at_seven_eighths():
    options = told(lease(seconds=3600))
    assert [int.from_bytes(options[code], "big") for code in (51, 58, 59)] == [3600, 1800, 3150]


def test_what_does_not_fit_is_left_out_whole_and_the_rest_stays():
    routes = [
        LeaseRoute(destination=f"10.{number}.0.0/16", gateway="10.1.2.254")
        for number in range(40, 72)
    ]
    search = [f"{letter * 60}.example.com" for letter in "abc"]
    large = lease(routes=routes, search=search, dns=["9.9.9.9"] * 8)
    small = told(large)
    assert len(routes_of(small)) == 34
    assert 119 not in small
    assert small[3] == IPv4Address("10.1.2.1").packed
    assert domains_of(told(large, largest=1500)) == search


def test_a_client_that_says_nonsense_of_its_room_gets_the_least():
    for largest in (0, 1, 575, 576):
        packet = answer(parse(asked(largest=largest)), lease(), hostname="web").packet
        assert len(packet) <= 576


labels = st.from_regex(r"\A[a-z]([a-z0-9-]{0,20}[a-z0-9])?\Z")


@settings(deadline=None)
@given(
    networks=st.lists(
        st.tuples(st.integers(0, 2**32 - 1), st.integers(1, 32), st.ip_addresses(v=4)),
        max_size=32,
    ),
    search=st.lists(st.lists(labels, min_size=1, max_size=4).map(".".join), max_size=6),
    dns=st.lists(st.ip_addresses(v=4).map(str), max_size=8),
    largest=st.none() | st.integers(576, 1500),
)
def test_whatever_a_network_tells_a_client_reads_as_it_was_meant(networks, search, dns, largest):
    wanted = [
        (IPv4Network((address, length), strict=False), gateway)
        for address, length, gateway in networks
    ]
    routes = [
        LeaseRoute(destination=str(network), gateway=str(gateway)) for network, gateway in wanted
    ]
    options = told(lease(routes=routes, search=search, dns=dns), largest=largest)
    assert options[1] == bytes([255, 255, 255, 0])
    if 121 in options:
        assert routes_of(options)[2:] == wanted
    if 119 in options:
        assert domains_of(options) == search
