"""Guessing, by an attacker; and what the attacker can't do to the owner."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.core.cache import cache
from django.test import Client

from tenants.services import sign_in_limits
from tenants.services.sign_in_limits import (
    FREE_FOR_ADDRESS,
    FREE_FOR_PAIR,
    CodeLimit,
    PasswordLimit,
    TooManyTriesError,
)
from tests.factories import UserFactory

pytestmark = pytest.mark.django_db

PASSWORD = "a long enough password"
ATTACKER = "198.51.100.7"
OFFICE = "203.0.113.5"


@pytest.fixture
def owner():
    return UserFactory(email="maria@example.com", password=PASSWORD)


def attempt(client, password, *, address, email="maria@example.com"):
    return client.post(
        "/account/login/", {"login": email, "password": password}, REMOTE_ADDR=address
    )


def said(answer):
    return " ".join(answer.context["form"].non_field_errors())


def test_after_a_few_tries_even_the_right_password_waits(owner):
    guesser = Client()
    for number in range(FREE_FOR_PAIR):
        assert "Too many" not in said(attempt(guesser, f"guess {number}", address=ATTACKER))
    # One more is let through and starts the wait; from then on nothing is even tried.
    attempt(guesser, "one more", address=ATTACKER)
    assert "Too many tries from here" in said(attempt(guesser, PASSWORD, address=ATTACKER))
    assert "_auth_user_id" not in guesser.session


def test_the_owner_is_not_locked_out_by_it(owner):
    guesser = Client()
    for number in range(FREE_FOR_PAIR + 5):
        attempt(guesser, f"guess {number}", address=ATTACKER)
    assert attempt(Client(), PASSWORD, address=OFFICE).status_code == 302


def test_nor_by_guesses_from_everywhere(owner):
    for number in range(sign_in_limits.SIEGE + 10):
        attempt(Client(), "guess", address=f"198.51.100.{number}")
    assert attempt(Client(), PASSWORD, address=OFFICE).status_code == 302


def test_under_siege_a_stranger_has_fewer_tries(owner):
    for number in range(sign_in_limits.SIEGE):
        attempt(Client(), "guess", address=f"198.51.100.{number}")
    fresh = "192.0.2.200"
    tries = [said(attempt(Client(), "guess", address=fresh)) for _ in range(3)]
    assert "Too many" in tries[-1]


def test_a_known_browser_gets_in_from_the_attackers_own_address(owner):
    """A colleague at the next desk guesses; the owner's browser has a count of its own."""
    browser = Client()
    attempt(browser, PASSWORD, address=OFFICE)
    browser.post("/account/logout/")
    guesser = Client()
    for number in range(FREE_FOR_ADDRESS + 10):
        attempt(guesser, f"guess {number}", address=OFFICE)
    assert "Too many" in said(attempt(guesser, PASSWORD, address=OFFICE))
    assert attempt(browser, PASSWORD, address=OFFICE).status_code == 302


def test_a_known_browser_is_limited_too(owner):
    browser = Client()
    attempt(browser, PASSWORD, address=OFFICE)
    browser.post("/account/logout/")
    tries = [said(attempt(browser, f"guess {n}", address=OFFICE)) for n in range(FREE_FOR_PAIR + 2)]
    assert "Too many" in tries[-1]


def test_a_known_browser_is_known_for_its_own_account_alone(owner):
    UserFactory(email="mallory@example.com", password=PASSWORD)
    browser = Client()
    attempt(browser, PASSWORD, address=ATTACKER, email="mallory@example.com")
    browser.post("/account/logout/")
    tries = [
        said(attempt(browser, f"guess {n}", address=ATTACKER)) for n in range(FREE_FOR_PAIR + 2)
    ]
    assert "Too many" in tries[-1]


def test_a_made_up_cookie_is_no_known_browser(owner, settings):
    browser = Client()
    browser.cookies[settings.BASALT_DEVICE_COOKIE_NAME] = "made-up"
    tries = [
        said(attempt(browser, f"guess {n}", address=ATTACKER)) for n in range(FREE_FOR_PAIR + 2)
    ]
    assert "Too many" in tries[-1]


def test_one_password_at_many_accounts_is_slowed_by_the_address(owner):
    texts = [
        said(attempt(Client(), "Summer 2026!", address=ATTACKER, email=f"p{n}@example.com"))
        for n in range(FREE_FOR_ADDRESS + 2)
    ]
    assert "Too many" not in texts[0]
    assert "Too many" in texts[-1]


def test_an_account_of_ones_own_does_not_clear_the_count(owner):
    UserFactory(email="mallory@example.com", password=PASSWORD)

    def guesses(first, count):
        return [
            said(attempt(Client(), "guess", address=ATTACKER, email=f"p{n}@example.com"))
            for n in range(first, first + count)
        ]

    guesses(0, FREE_FOR_ADDRESS - 5)
    for _ in range(5):
        attempt(Client(), PASSWORD, address=ATTACKER, email="mallory@example.com")
    assert "Too many" in guesses(FREE_FOR_ADDRESS, 8)[-1]


def test_many_addresses_of_one_ipv6_network_are_one(owner):
    tries = [
        said(attempt(Client(), "guess", address=f"2001:db8:0:1::{n:x}"))
        for n in range(1, FREE_FOR_PAIR + 3)
    ]
    assert "Too many" in tries[-1]


def test_an_unknown_account_is_answered_in_the_same_words(owner):
    def all_of(email):
        cache.clear()
        return [
            said(attempt(Client(), "guess", address=ATTACKER, email=email))
            for _ in range(FREE_FOR_PAIR + 2)
        ]

    assert all_of("nobody@example.com") == all_of("maria@example.com")


def test_an_unknown_account_costs_as_many_hashes(owner, settings, monkeypatch):
    from django.contrib.auth.hashers import MD5PasswordHasher

    hashed = []
    encode = MD5PasswordHasher.encode
    monkeypatch.setattr(
        MD5PasswordHasher, "encode", lambda *given: (hashed.append(1), encode(*given))[1]
    )
    no_password = UserFactory(email="sso@example.com")
    no_password.set_unusable_password()
    no_password.save()
    counts = {}
    for email in ("maria@example.com", "nobody@example.com", "sso@example.com"):
        hashed.clear()
        attempt(Client(), "guess", address=ATTACKER, email=email)
        counts[email] = len(hashed)
    assert set(counts.values()) == {1}


def test_tries_at_the_same_moment_all_count():
    limit = PasswordLimit(login="maria@example.com", address=ATTACKER, device=None)

    def one(_number):
        try:
            limit.attempt()
        except TooManyTriesError:
            return 0
        return 1

    with ThreadPoolExecutor(max_workers=8) as threads:
        passed = sum(threads.map(one, range(60)))
    assert passed == FREE_FOR_PAIR + 1


def test_waits_grow_and_have_an_end():
    limit = CodeLimit(user=UserFactory(), device=None)
    for _ in range(sign_in_limits.FREE_FOR_CODES):
        limit.attempt()
    waits = []
    for _ in range(14):
        limit.attempt()
        with pytest.raises(TooManyTriesError) as refused:
            limit.attempt()
        waits.append(refused.value.wait_s)
        # Time passes.
        cache.delete(f"{limit._count._key}:until")
    assert waits[0] == 2
    assert waits == sorted(waits)
    assert waits[-1] == sign_in_limits.LONGEST_S


def test_codes_are_counted_for_the_account_from_all_strange_browsers(owner):
    """Whoever is asked for a code knew the password: other addresses give no new tries."""
    for _ in range(sign_in_limits.FREE_FOR_CODES + 1):
        CodeLimit(user=owner, device=None).attempt()
    with pytest.raises(TooManyTriesError):
        CodeLimit(user=owner, device=None).attempt()
    CodeLimit(user=owner, device="the owner's").attempt()


# ------------------------------------------------------------------ a new device


def test_a_strange_browser_is_told_of_by_mail_and_the_first_is_not(
    owner, mailoutbox, django_capture_on_commit_callbacks
):
    with django_capture_on_commit_callbacks(execute=True):
        attempt(Client(), PASSWORD, address=OFFICE)
    assert mailoutbox == []
    firefox = Client(headers={"user-agent": "Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0"})
    with django_capture_on_commit_callbacks(execute=True):
        attempt(firefox, PASSWORD, address=ATTACKER)
    [mail] = mailoutbox
    assert mail.to == ["maria@example.com"]
    for word in ("Firefox on Linux", ATTACKER, "/me/security/", "change\nyour password"):
        assert word in mail.body
    # And then it is known.
    firefox.post("/account/logout/")
    with django_capture_on_commit_callbacks(execute=True):
        attempt(firefox, PASSWORD, address=ATTACKER)
    assert len(mailoutbox) == 1


def test_a_cookie_that_was_carried_to_another_kind_of_browser_is_strange(
    owner, mailoutbox, django_capture_on_commit_callbacks
):
    browser = Client(headers={"user-agent": "Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0"})
    attempt(browser, PASSWORD, address=OFFICE)
    thief = Client(headers={"user-agent": "curl/8.5"})
    thief.cookies = browser.cookies
    thief.cookies.pop("sessionid")
    with django_capture_on_commit_callbacks(execute=True):
        attempt(thief, PASSWORD, address=ATTACKER)
    assert "curl" in mailoutbox[0].body


def test_a_name_with_html_stays_text(owner, mailoutbox, django_capture_on_commit_callbacks):
    attempt(Client(), PASSWORD, address=OFFICE)
    owner.name = "Mária <b> & co"
    owner.save()
    with django_capture_on_commit_callbacks(execute=True):
        attempt(Client(headers={"user-agent": "x"}), PASSWORD, address=ATTACKER)
    assert "Mária <b> & co" in mailoutbox[0].body
    assert mailoutbox[0].alternatives == []


def test_a_mail_server_that_is_down_keeps_nobody_out(
    owner, monkeypatch, django_capture_on_commit_callbacks
):
    from portal import sign_in_events

    def down(*_arguments):
        raise ConnectionRefusedError("no mail to-day")

    attempt(Client(), PASSWORD, address=OFFICE)
    monkeypatch.setattr(sign_in_events, "send_mail", down)
    with django_capture_on_commit_callbacks(execute=True):
        answer = attempt(Client(headers={"user-agent": "x"}), PASSWORD, address=ATTACKER)
    assert answer.status_code == 302
