"""How much, how deep and how often one may ask of the API."""

import json

import pytest
from django.core.cache import cache
from rest_framework.test import APIClient

from tests.factories import MembershipFactory

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def nothing_counted():
    cache.clear()
    yield
    cache.clear()


@pytest.fixture
def owner(api_as):
    return api_as(MembershipFactory(role="msp-owner").user)


def post(client, body, **headers):
    options = {"content_type": "application/json"} | headers
    return client.post("/api/v1/vms/", data=body, **options)


NONE_OF_OURS = [
    *(b"[" * 50_000, b'{"a":' * 50_000, b"[" * 50_000 + b"]" * 50_000, b"[" * 30 + b"]" * 30),
    *(b'{"name": "a", "name": "b"}', b'{"disks": [{"size_gib": 1, "size_gib": 2}]}'),
    *(b'{"vcpus": NaN}', b'{"vcpus": Infinity}', b'{"vcpus": ' + b"9" * 5000 + b"}"),
    *(b"\xff\xfe{\x00}\x00", '{"name": "ü"}'.encode("utf-16"), b'{"name": "\xff"}', b"{", b""),
    b"\xef\xbb\xbf{}",
]


@pytest.mark.parametrize("body", NONE_OF_OURS, ids=lambda body: repr(body[:24]))
def test_json_of_two_meanings_or_of_no_end_is_refused(owner, body):
    answer = post(owner, body)
    assert answer.status_code == 400
    assert answer.json()["error"]["message"]


def test_a_body_that_is_too_long_is_told_so(owner):
    answer = post(owner, b'{"name": "' + b"a" * 3 * 1024**2 + b'"}')
    assert answer.status_code == 413
    assert answer.json()["error"]["code"] == "too_large"


@pytest.mark.parametrize(
    "kind",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x",
     "application/xml", "", "application/json; charset=utf-16", "x" * 500, "*/*"],
)  # fmt: skip
def test_another_kind_of_content_is_not_guessed_at(owner, kind):
    answer = post(owner, b"<a/>", content_type=kind)
    assert answer.status_code in (400, 415)
    assert answer.json()["error"]["code"]


def test_a_parameter_that_is_there_twice_counts_neither_way(owner):
    answer = owner.get("/api/v1/sites/?tenant=1&tenant=2")
    assert answer.status_code == 400
    assert "more than once" in json.dumps(answer.json())
    assert owner.get("/api/v1/jobs/?status=failed&status=lost").status_code == 200


def test_each_token_may_ask_so_often_a_minute_and_no_other_waits_for_it(api_as, settings):
    settings.BASALT_API_CALLS_PER_MINUTE = 5
    one, other = (api_as(MembershipFactory(role="msp-owner").user) for _ in range(2))
    answers = [one.get("/api/v1/sites/").status_code for _ in range(7)]
    assert answers == [200] * 5 + [429] * 2
    refused = one.get("/api/v1/sites/")
    assert 0 < int(refused.headers["Retry-After"]) <= 60
    assert refused.json()["error"]["code"] == "too_often"
    assert other.get("/api/v1/sites/").status_code == 200


def test_guessing_tokens_is_slowed_down_and_a_right_one_is_answered_all_the_same(owner):
    guesser = APIClient()
    guesser.credentials(HTTP_AUTHORIZATION="Bearer bslt_guess")
    answers = [guesser.get("/api/v1/sites/").status_code for _ in range(70)]
    assert set(answers[:60]) == {401}
    assert set(answers[60:]) == {429}
    assert guesser.get("/api/v1/sites/").headers["Retry-After"]
    assert owner.get("/api/v1/sites/").status_code == 200


def test_so_is_asking_without_any(owner):
    answers = [APIClient().get("/api/v1/vms/").status_code for _ in range(62)]
    assert answers[0] == 401
    assert answers[-1] == 429
    assert owner.get("/api/v1/vms/").status_code == 200


@pytest.mark.parametrize("name", ["Authorization", "Content-Type", "X-Forwarded-For", "Range",
                                  "Idempotency-Key", "Accept", "Accept-Language"])  # fmt: skip
@pytest.mark.parametrize("value", ["\x00", "a" * 9000, "é", "Bearer", "Bearer \x00", ",,"])
def test_odd_headers_break_nothing(owner, name, value):
    answer = post(owner, b"{}", headers={name: value.encode("utf-8", "replace").decode("latin-1")})
    assert answer.status_code < 500
