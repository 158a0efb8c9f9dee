"""Signing in and out, and what a stranger meets."""

import pytest

from tests.factories import UserFactory

PAGES = [
    "/account/login/",
    "/account/password/reset/",
    "/account/password/reset/done/",
    "/account/signup/",
    "/account/inactive/",
]


@pytest.mark.parametrize("address", PAGES)
def test_every_page_at_the_door_is_ours(client, db, address):
    answer = client.get(address)
    assert answer.status_code == 200
    assert b"door-brand" in answer.content


def test_signing_in_leads_to_the_page_that_was_wanted(client, db):
    UserFactory(email="maria@example.com", password="a long enough password")
    answer = client.post(
        "/account/login/?next=/vms/",
        {"login": "maria@example.com", "password": "a long enough password", "next": "/vms/"},
    )
    assert answer["Location"] == "/vms/"


def test_a_wrong_password_is_said_without_telling_whether_the_address_exists(client, db):
    UserFactory(email="maria@example.com")
    texts = []
    for email in ("maria@example.com", "nobody@example.com"):
        answer = client.post("/account/login/", {"login": email, "password": "wrong"})
        assert answer.status_code == 200
        texts.append(" ".join(answer.context["form"].non_field_errors()))
    assert texts[0] == texts[1] != ""


def test_a_page_sends_the_strict_policy_for_content(client, db):
    policy = client.get("/account/login/")["Content-Security-Policy"]
    assert "script-src 'self';" in policy + ";"
    assert "unsafe-eval" not in policy


def test_a_missing_page_says_what_to_do(client, db):
    answer = client.get("/no/such/page/")
    assert answer.status_code == 404
    assert b"There is nothing here" in answer.content


def test_posting_without_the_token_is_refused(db):
    from django.test import Client

    answer = Client(enforce_csrf_checks=True).post("/account/login/", {"login": "x"})
    assert answer.status_code == 403
    assert b"reload the page, and try again" in answer.content
