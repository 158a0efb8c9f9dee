"""Passwords that are taken, what follows a change, and how the portal's cookies travel."""

import hashlib
import json
import os
import re
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from django.contrib.auth.hashers import make_password
from django.core.exceptions import ValidationError
from django.test import Client

from portal.breached_passwords import BreachedPasswordValidator
from portal.settings import PASSWORD_HASHERS
from tests.factories import UserFactory

pytestmark = pytest.mark.django_db

PASSWORD = "a long enough password"
NEW = "another quite long password"


@pytest.fixture
def person():
    return UserFactory(email="maria@example.com", password=PASSWORD)


def sign_in(person, password=PASSWORD):
    client = Client()
    client.post("/account/login/", {"login": person.email, "password": password})
    return client


def works(client):
    return client.get("/me/").status_code == 200


# ------------------------------------------------------------------ passwords


def test_passwords_are_kept_with_argon2(settings):
    settings.PASSWORD_HASHERS = PASSWORD_HASHERS
    assert make_password(PASSWORD).startswith("argon2$argon2id$")


@pytest.mark.parametrize(
    ("password", "why"),
    [
        ("elevenchars", "too short"),
        ("maria@example", "too similar"),
        ("1234567890123", "too common"),
        ("qwerty123456", "too common"),
        ("Basalt!Portal!2026", "little more than a name"),
        ("hypervisor-2026", "little more than a name"),
    ],
)
def test_a_weak_password_is_not_taken(person, password, why):
    client = sign_in(person)
    answer = client.post(
        "/account/password/change/",
        {"oldpassword": PASSWORD, "password1": password, "password2": password},
    )
    assert answer.status_code == 200
    assert why in str(answer.context["form"].errors)


@pytest.fixture
def leaks():
    """A service with the interface of pwnedpasswords.com: it knows one password."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            known = hashlib.sha1(b"correct horse battery").hexdigest().upper()  # noqa: S324
            padded = hashlib.sha1(b"only padding, not leaked").hexdigest().upper()  # noqa: S324
            body = f"{known[5:]}:37\r\n{padded[5:]}:0\r\n".encode()
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_line):
            """Not among the test's own."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/range/", asked
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_leaked_password_is_not_taken_and_is_not_sent(leaks):
    address, asked = leaks
    validator = BreachedPasswordValidator(url=address)
    with pytest.raises(ValidationError, match="leaked"):
        validator.validate("correct horse battery")
    validator.validate("only padding, not leaked")
    validator.validate("nobody ever had this one")
    assert all(re.fullmatch(r"/range/[0-9A-F]{5}", path) for path in asked)


def test_a_lookup_that_does_not_answer_keeps_nobody_from_a_password():
    BreachedPasswordValidator(url="http://127.0.0.1:1/").validate("correct horse battery")


def test_a_new_password_ends_all_other_sessions(person):
    here, there = sign_in(person), sign_in(person)
    assert works(here)
    assert works(there)
    here.post(
        "/account/password/change/",
        {"oldpassword": PASSWORD, "password1": NEW, "password2": NEW},
    )
    assert works(here)
    assert not works(there)


def test_a_reset_by_mail_ends_all_sessions_and_signs_nobody_in(person, mailoutbox):
    there = sign_in(person)
    client = Client()
    client.post("/account/password/reset/", {"email": person.email})
    link = re.search(r"http\S+/account/password/reset/key/\S+", mailoutbox[0].body).group()
    page = client.get(link.split("testserver")[1], follow=True)
    form = page.redirect_chain[-1][0]
    client.post(form, {"password1": NEW, "password2": NEW})
    assert not works(client)
    assert not works(there)
    assert works(sign_in(person, NEW))


def test_a_reset_link_leads_to_this_portal_whatever_the_request_says(person, mailoutbox):
    Client().post(
        "/account/password/reset/", {"email": person.email}, headers={"host": "evil.example"}
    )
    assert mailoutbox == []


def test_a_reset_says_the_same_for_an_unknown_address(person):
    answers = [
        Client().post("/account/password/reset/", {"email": email})
        for email in (person.email, "nobody@example.com")
    ]
    assert len({(answer.status_code, answer["Location"]) for answer in answers}) == 1


# ------------------------------------------------------------------ sessions and cookies


def test_signing_in_gives_a_new_session(person):
    client = Client()
    client.get("/account/login/")
    session = client.session
    session["planted"] = "by an attacker"
    session.save()
    client.cookies["sessionid"] = before = session.session_key
    client.post("/account/login/", {"login": person.email, "password": PASSWORD})
    assert client.cookies["sessionid"].value != before
    planted = Client()
    planted.cookies["sessionid"] = before
    assert not works(planted)


def test_ending_a_session_ends_it_at_once(person):
    here, there = sign_in(person), sign_in(person)
    other = _sessions(here)[0]
    here.post(f"/me/security/sessions/{other}/end/")
    assert works(here)
    assert not works(there)


def test_nobody_ends_somebody_elses_session(person):
    theirs = sign_in(UserFactory(email="other@example.com", password=PASSWORD))
    from allauth.usersessions.models import UserSession

    session = UserSession.objects.get(user__email="other@example.com")
    assert sign_in(person).post(f"/me/security/sessions/{session.pk}/end/").status_code == 404
    assert works(theirs)


def test_the_list_of_sessions_is_ones_own(person):
    sign_in(UserFactory(email="other@example.com", password=PASSWORD))
    page = sign_in(person).get("/me/security/").content.decode()
    assert page.count('data-testid="session"') == 1


@pytest.mark.parametrize(
    "target",
    [
        "https://evil.example/",
        "//evil.example/",
        "/\\evil.example/",
        "\\\\evil.example",
        "http:evil.example",
        "javascript:alert(1)",
        "https://testserver@evil.example/",
        "/%09//evil.example\t",
        "http://localhost:9999/",
    ],
)
def test_signing_in_leads_nowhere_but_to_the_portal(person, target):
    wanted = {"login": person.email, "password": PASSWORD, "next": target}
    assert Client().post("/account/login/", wanted)["Location"] == "/"
    client = sign_in(person)
    assert client.post("/account/logout/", {"next": target})["Location"] in ("/", "/account/login/")


@pytest.mark.parametrize(
    "address",
    [
        "/account/login/",
        "/account/logout/",
        "/account/password/reset/",
        "/account/company/",
        "/account/mfa/webauthn/login/",
        "/me/security/sessions/end/",
    ],
)
def test_every_form_needs_its_token(person, address):
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = sign_in(person).cookies
    assert strict.post(address, {}).status_code == 403


def test_cookies_of_a_portal_with_tls_are_bound_to_it():
    """Settings are made when they are read: another process reads them for https."""
    script = (
        "import django, json; django.setup()\n"
        "from django.conf import settings as s\n"
        "print(json.dumps({name: getattr(s, name) for name in dir(s) if name.isupper() and "
        "isinstance(getattr(s, name), (str, int, bool))}))"
    )
    made = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.settings",
            "BASALT_ORIGIN": "https://basalt.example",
        },
    )
    found = json.loads(made.stdout.splitlines()[-1])
    for name in ("SESSION_COOKIE_NAME", "CSRF_COOKIE_NAME", "BASALT_DEVICE_COOKIE_NAME"):
        assert found[name].startswith("__Host-")
    assert found["SESSION_COOKIE_SECURE"]
    assert found["CSRF_COOKIE_SECURE"]
    assert found["SECURE_HSTS_SECONDS"] >= 31_536_000
    assert found["SECURE_HSTS_INCLUDE_SUBDOMAINS"]
    assert not found["MFA_WEBAUTHN_ALLOW_INSECURE_ORIGIN"]


def test_a_portal_with_tls_says_so_for_a_year(client, settings, person):
    settings.SECURE_HSTS_SECONDS = 31_536_000
    answer = client.get("/account/login/", secure=True)
    assert answer["Strict-Transport-Security"].startswith("max-age=31536000")


def test_cookies_are_not_for_scripts_nor_for_other_sites(person, settings):
    client = sign_in(person)
    for name in ("sessionid", "csrftoken", settings.BASALT_DEVICE_COOKIE_NAME):
        assert client.cookies[name]["httponly"], name
        assert client.cookies[name]["samesite"] == "Lax", name
        assert client.cookies[name]["path"] == "/", name
        assert not client.cookies[name]["domain"], name


def test_pages_tell_other_sites_nothing_of_where_one_was(client):
    answer = client.get("/account/login/")
    assert answer["Referrer-Policy"] == "same-origin"
    assert answer["X-Frame-Options"] == "DENY"


def _sessions(client):
    page = client.get("/me/security/").content.decode()
    return re.findall(r"/me/security/sessions/(\d+)/end/", page)


def test_sessions_and_devices_that_ran_out_are_swept(person):
    from datetime import timedelta

    from django.contrib.sessions.models import Session
    from django.utils import timezone

    from tenants.models import KnownDevice
    from tenants.services.sessions import sessions_sweep

    kept, gone = sign_in(person), sign_in(person)
    long_ago = timezone.now() - timedelta(days=400)
    Session.objects.filter(session_key=gone.session.session_key).update(expire_date=long_ago)
    newest = KnownDevice.objects.order_by("first_seen_at").last()
    KnownDevice.objects.filter(pk=newest.pk).update(last_seen_at=long_ago)
    assert sessions_sweep() == 3
    assert works(kept)
    assert KnownDevice.objects.count() == 1


def test_nobody_gives_their_account_another_address(person):
    client = sign_in(person)
    answer = client.post("/account/email/", {"action_add": "", "email": "owner@alder.example"})
    assert answer.status_code == 405
    assert client.get("/account/email/")["Location"] == "/me/security/"


GARBAGE = [
    "",
    "{",
    "[]",
    "null",
    '"text"',
    "{}",
    '{"id": "x", "rawId": "x", "type": "public-key", "response": {}}',
    '{"id": 1, "rawId": [], "type": {}, "response": {"userHandle": "\\u0000"}}',
    '{"response": {"userHandle": 5}}',
    '{"response": null}',
]


@pytest.mark.parametrize("credential", GARBAGE)
def test_garbage_for_a_passkey_signs_nobody_in_and_breaks_nothing(db, credential):
    client = Client()
    client.get("/account/mfa/webauthn/login/", headers={"accept": "application/json"})
    answer = client.post("/account/mfa/webauthn/login/", {"credential": credential})
    assert answer.status_code < 500
    assert "_auth_user_id" not in client.session


@pytest.mark.parametrize("credential", GARBAGE)
def test_garbage_for_a_new_passkey_is_refused(person, credential):
    client = sign_in(person)
    client.get("/account/mfa/webauthn/add/")
    answer = client.post(
        "/account/mfa/webauthn/add/", {"name": "x", "credential": credential, "passwordless": "on"}
    )
    assert answer.status_code < 500
    assert not person.authenticator_set.exists()


@pytest.mark.parametrize(
    "email", ["", "x", "@", "a@", "@b", "a@b\x00.example", "ä@ö.example", "a" * 300]
)
def test_any_address_may_be_asked_for_its_provider(db, email):
    assert Client().post("/account/company/", {"email": email}).status_code == 422
