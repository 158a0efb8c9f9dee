"""When a NIC's DHCP speaks: at once for its own address, late and never twice for a site's."""

from metadata.dhcp import Kind
from metadata.responder import PATIENCE_S, Responder
from tests.metadata.documents import document
from tests.metadata.packets import client_packet, options_of, your_address

SITE = document(lease=None, last_resort=True)
GIVEN = document()
DISCOVER = client_packet(Kind.DISCOVER)
LATE = PATIENCE_S + 0.5


def _taken(server: str) -> bytes:
    return client_packet(Kind.REQUEST, requested="169.254.10.1", server=server)


def test_a_given_address_is_offered_at_once():
    reply = Responder().hear(DISCOVER, GIVEN, now=100.0)
    assert your_address(reply.packet) == "10.1.2.3"


def test_another_mac_behind_the_guest_gets_nothing():
    stranger = client_packet(Kind.DISCOVER, mac=bytes.fromhex("525400000099"))
    assert Responder().hear(stranger, GIVEN, now=100.0) is None


def test_the_site_is_given_time_to_answer():
    responder = Responder()
    assert responder.hear(DISCOVER, SITE, now=100.0) is None
    assert responder.hear(DISCOVER, SITE, now=100.0 + PATIENCE_S / 2) is None


def test_where_the_site_is_silent_a_short_lease_without_router_is_lent():
    responder = Responder()
    responder.hear(DISCOVER, SITE, now=100.0)
    offer = responder.hear(DISCOVER, SITE, now=100.0 + LATE)
    assert your_address(offer.packet) == "169.254.10.1"
    options = options_of(offer.packet)
    assert 3 not in options
    assert int.from_bytes(options[51], "big") == 120
    taken = responder.hear(_taken("169.254.169.254"), SITE, now=101.0 + LATE)
    assert options_of(taken.packet)[53] == bytes([Kind.ACK])


def test_a_site_that_answers_keeps_its_guest():
    responder = Responder()
    responder.hear(DISCOVER, SITE, now=100.0)
    assert responder.hear(_taken("192.168.1.1"), SITE, now=101.0) is None
    # Long after, at the next boot, the site gets its time again.
    assert responder.hear(DISCOVER, SITE, now=101.0 + LATE) is None


def test_a_renewal_of_the_lent_lease_is_not_answered_so_that_the_site_is_asked_again():
    responder = Responder()
    renewal = client_packet(Kind.REQUEST, client="169.254.10.1")
    assert responder.hear(renewal, SITE, now=100.0) is None


def test_nothing_is_lent_where_it_is_not_wanted():
    responder = Responder()
    never = document(lease=None, last_resort=False)
    responder.hear(DISCOVER, never, now=100.0)
    assert responder.hear(DISCOVER, never, now=100.0 + LATE) is None


def test_a_flood_is_answered_in_part():
    responder = Responder()
    answered = [responder.hear(DISCOVER, GIVEN, now=100.0) for _ in range(1000)]
    assert sum(reply is not None for reply in answered) == 40


def test_noise_is_ignored():
    assert Responder().hear(b"noise", GIVEN, now=1.0) is None


# ------------------------------------------------------------------ what it learns of the LAN


def test_a_lan_whose_dhcp_says_nothing_is_silent_once_the_guest_has_taken_ours():
    responder = Responder()
    assert responder.lan_dhcp == "unknown"
    responder.hear(DISCOVER, SITE, now=100.0)
    responder.hear(DISCOVER, SITE, now=100.0 + LATE)
    assert responder.lan_dhcp == "unknown"
    responder.hear(_taken("169.254.169.254"), SITE, now=101.0 + LATE)
    assert responder.lan_dhcp == "silent"


def test_dhcp_that_comes_to_life_later_is_seen_when_the_guest_takes_it():
    responder = Responder()
    responder.hear(DISCOVER, SITE, now=100.0)
    responder.hear(DISCOVER, SITE, now=100.0 + LATE)
    responder.hear(_taken("169.254.169.254"), SITE, now=101.0 + LATE)
    # Its lease runs out, it asks anew, and somebody else is faster.
    assert responder.hear(DISCOVER, SITE, now=230.0) is None
    responder.hear(_taken("192.168.1.1"), SITE, now=230.1)
    assert responder.lan_dhcp == "site"


def test_a_guest_that_renews_the_sites_lease_has_found_the_site():
    responder = Responder()
    responder.hear(client_packet(Kind.REQUEST, client="192.168.1.7"), SITE, now=100.0)
    assert responder.lan_dhcp == "site"


def test_what_proves_nothing_changes_nothing():
    responder = Responder()
    lent = client_packet(Kind.REQUEST, client="169.254.10.1")
    remembered = client_packet(Kind.REQUEST, requested="192.168.1.7")
    for packet in (DISCOVER, lent, remembered, client_packet(Kind.RELEASE, client="192.168.1.7")):
        responder.hear(packet, SITE, now=100.0)
    responder.hear(_taken("192.168.1.1"), GIVEN, now=100.0)
    assert responder.lan_dhcp == "unknown"
