"""DHCP by RFC 2131, against clients that keep to it and against ones that don't."""

import contextlib
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metadata.dhcp import BROADCAST_MAC, Kind, MalformedError, Reply, answer, parse
from metadata.documents import Lease
from tests.metadata.packets import (
    MAC,
    NOBODY,
    checksum,
    client_packet,
    destination,
    ip_packet,
    options_of,
    your_address,
)

LEASE = Lease(
    address="10.1.2.3",
    prefix=24,
    gateway="10.1.2.1",
    dns=["10.1.2.1", "9.9.9.9"],
    mtu=1400,
    domain="example.org",
)
SERVER = "169.254.169.254"


def _answer(packet: bytes) -> Reply | None:
    return answer(parse(packet), LEASE, hostname="web-1.example.org")


def _reply(packet: bytes) -> Reply:
    reply = _answer(packet)
    assert reply is not None
    return reply


def test_a_discover_is_offered_the_nics_address_with_all_that_belongs_to_it():
    reply = _reply(client_packet(Kind.DISCOVER))
    options = options_of(reply.packet)
    assert your_address(reply.packet) == "10.1.2.3"
    assert options[53] == bytes([Kind.OFFER])
    assert options[54] == bytes([169, 254, 169, 254])
    assert options[1] == bytes([255, 255, 255, 0])
    assert options[3] == bytes([10, 1, 2, 1])
    assert options[6] == bytes([10, 1, 2, 1, 9, 9, 9, 9])
    assert options[12] == b"web-1"
    assert options[15] == b"example.org"
    assert options[26] == (1400).to_bytes(2, "big")
    assert options[28] == bytes([10, 1, 2, 255])
    assert options[51] == (3600).to_bytes(4, "big")
    # The service on the wire itself, then the way out.
    assert options[121] == bytes([32, 169, 254, 169, 254, 0, 0, 0, 0, 0, 10, 1, 2, 1])


def test_a_client_without_an_address_is_answered_at_its_mac():
    reply = _reply(client_packet(Kind.DISCOVER))
    assert reply.mac == MAC
    assert destination(reply.packet) == "10.1.2.3"


def test_a_client_that_asks_for_broadcast_gets_it():
    reply = _reply(client_packet(Kind.DISCOVER, broadcast=True))
    assert reply.mac == BROADCAST_MAC
    assert destination(reply.packet) == "255.255.255.255"


def test_the_chosen_offer_is_acknowledged():
    reply = _reply(client_packet(Kind.REQUEST, requested="10.1.2.3", server=SERVER))
    assert options_of(reply.packet)[53] == bytes([Kind.ACK])
    assert your_address(reply.packet) == "10.1.2.3"


def test_a_renewal_is_acknowledged_at_the_clients_address():
    reply = _reply(client_packet(Kind.REQUEST, client="10.1.2.3"))
    assert options_of(reply.packet)[53] == bytes([Kind.ACK])
    assert destination(reply.packet) == "10.1.2.3"


def test_another_address_is_refused_by_broadcast():
    reply = _reply(client_packet(Kind.REQUEST, requested="10.9.9.9", client="10.9.9.9"))
    assert options_of(reply.packet) == {53: bytes([Kind.NAK]), 54: bytes([169, 254, 169, 254])}
    assert reply.mac == BROADCAST_MAC
    assert destination(reply.packet) == "255.255.255.255"


def test_another_servers_offer_is_none_of_our_business():
    assert _answer(client_packet(Kind.REQUEST, requested="10.1.2.3", server="10.1.2.1")) is None


def test_inform_is_answered_without_address_and_time():
    reply = _reply(client_packet(Kind.INFORM, client="10.1.2.3"))
    options = options_of(reply.packet)
    assert your_address(reply.packet) == NOBODY
    assert options[6] == bytes([10, 1, 2, 1, 9, 9, 9, 9])
    assert 51 not in options


@pytest.mark.parametrize("kind", [Kind.RELEASE, Kind.DECLINE, Kind.OFFER, Kind.ACK])
def test_what_needs_no_answer_gets_none(kind):
    assert _answer(client_packet(kind, client="10.1.2.3")) is None


def test_checksums_are_right_and_the_message_is_long_enough_for_old_clients():
    packet = _reply(client_packet(Kind.DISCOVER)).packet
    assert checksum(packet[:20]) == 0xFFFF
    udp = packet[20:]
    pseudo = packet[12:20] + struct.pack("!BBH", 0, 17, len(udp))
    assert checksum(pseudo + udp) == 0xFFFF
    assert len(udp) - 8 >= 300


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        b"\x45" * 19,
        client_packet(Kind.DISCOVER, relay="10.0.0.1"),
        client_packet(Kind.DISCOVER, source_port=67),
        client_packet(99),
        client_packet(Kind.DISCOVER)[:-200],
        ip_packet(bytes(235)),
        ip_packet(bytes(300)),
        b"\x46" + client_packet(Kind.DISCOVER)[1:],
        b"\x4f" + client_packet(Kind.DISCOVER)[1:40],
        client_packet(Kind.DISCOVER)[:6] + b"\x20\x00" + client_packet(Kind.DISCOVER)[8:],
    ],
)
def test_what_no_client_sends_is_refused(packet):
    with pytest.raises(MalformedError):
        parse(packet)


def test_options_that_are_cut_off_end_the_list():
    whole = client_packet(Kind.DISCOVER)
    payload = whole[28:-1] + bytes([50, 200, 1])
    assert parse(ip_packet(payload)).requested is None


@settings(deadline=None)
@given(st.binary(max_size=700))
def test_no_bytes_bring_the_parser_down(data):
    with contextlib.suppress(MalformedError):
        parse(data)


@settings(deadline=None)
@given(st.binary(max_size=400))
def test_no_options_bring_the_parser_down(options):
    payload = client_packet(Kind.DISCOVER)[28:-1] + options
    with contextlib.suppress(MalformedError):
        answer(parse(ip_packet(payload)), LEASE, hostname="web")


@settings(deadline=None)
@given(
    at=st.integers(min_value=0, max_value=280),
    value=st.integers(min_value=0, max_value=255),
    cut=st.integers(min_value=0, max_value=300),
)
def test_no_damage_on_the_way_brings_the_parser_down(at, value, cut):
    packet = bytearray(client_packet(Kind.REQUEST, requested="10.1.2.3", server=SERVER))
    packet[at % len(packet)] = value
    with contextlib.suppress(MalformedError):
        answer(parse(bytes(packet[: max(1, len(packet) - cut)])), LEASE, hostname="web")


@settings(deadline=None)
@given(
    kind=st.sampled_from([Kind.DISCOVER, Kind.REQUEST, Kind.INFORM]),
    transaction=st.integers(min_value=0, max_value=2**32 - 1),
    requested=st.ip_addresses(v=4).map(str),
    client=st.ip_addresses(v=4).map(str),
    broadcast=st.booleans(),
    mac=st.binary(min_size=6, max_size=6),
)
def test_what_a_client_says_is_read_as_it_was_said(
    kind, transaction, requested, client, broadcast, mac
):
    request = parse(
        client_packet(
            kind,
            transaction=transaction,
            requested=requested,
            client=client,
            broadcast=broadcast,
            mac=mac,
        )
    )
    assert (request.kind, request.transaction, request.mac) == (kind, transaction, mac)
    assert (str(request.requested), str(request.client)) == (requested, client)
    assert request.broadcast is broadcast
