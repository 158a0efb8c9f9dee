"""What the net below the callers catches, and what it lets through."""

import pytest

from tenants.actor import Actor, agent_short, session_mark
from tenants.redaction import HIDDEN, redacted, redacted_text

SECRET_FIELDS = [
    "password", "new_password", "user_data", "token", "api_token", "client_secret", "secret",
    "private_key", "api_key", "idp_x509cert", "session", "session_key", "cookie", "hash",
    "totp_secret", "recovery_codes", "Authorization", "credential", "key",
]  # fmt: skip
PLAIN_FIELDS = [
    "name", "ssh_keys", "vcpus", "has_password_policy", "token_name", "expires_at", "keyboard",
    "max_uses", "joined_with", "host", "author", "addressing",
]  # fmt: skip


@pytest.mark.parametrize("name", SECRET_FIELDS)
def test_a_field_that_may_hold_a_secret_is_hidden_wherever_it_is(name):
    assert redacted({name: "x"}) == {name: HIDDEN}
    assert redacted({"deeper": [{name: {"even": "deeper"}}]}) == {"deeper": [{name: HIDDEN}]}
    # That there is none is worth knowing.
    assert redacted({name: ""}) == {name: ""}
    assert redacted({name: None}) == {name: None}


@pytest.mark.parametrize("name", [name for name in PLAIN_FIELDS if "password" not in name])
def test_other_fields_stay_as_they_are(name):
    assert redacted({name: "x"}) == {name: "x"}


@pytest.mark.parametrize(
    "text",
    [
        "bslt_" + "a" * 43,
        "the token bj_" + "A-_9" * 8 + " was used",
        "-----BEGIN OPENSSH PRIVATE KEY-----\nMARK\n-----END OPENSSH PRIVATE KEY-----",
        "Bearer MARKMARK",
        "https://user:MARK@example.com/x",
        "https://example.com/x?signature=MARK",
    ],
)
def test_what_looks_like_a_secret_is_hidden_in_any_text(text):
    found = redacted_text(text)
    assert "MARK" not in found
    assert "aaaaaaaa" not in found
    assert "A-_9A-_9" not in found


def test_an_address_keeps_what_says_where_it_leads():
    text = redacted_text("from https://user:x@images.example.com:8443/debian.qcow2?a=b now")
    assert text == "from https://images.example.com:8443/debian.qcow2?… now"


def test_values_are_what_json_and_the_chain_can_write_alike():
    assert redacted({"a": 0.1, "b": (1, "x"), "c": {"z", "y"}, "d": "e\0f"}) == {
        "a": "0.1", "b": [1, "x"], "c": ["y", "z"], "d": "ef",
    }  # fmt: skip
    assert len(redacted({"long": "x" * 5000})["long"]) == 2001


@pytest.mark.parametrize(
    ("text", "short"),
    [
        ("Mozilla/5.0 (Windows NT 10.0) Chrome/126.0 Edg/126.0", "Edge 126 on Windows"),
        ("Mozilla/5.0 (Intel Mac OS X 14_5) Version/17.5 Safari/605.1", "Safari 17 on Mac OS X"),
        ("curl/8.5.0", "curl/8.5.0"),
        ("evil\x1b[31m" + "x" * 500, "evil[31m" + "x" * 112),
        ("", ""),
    ],
)  # fmt: skip
def test_browsers_are_named_shortly(text, short):
    assert agent_short(text) == short


def test_a_session_is_told_from_others_by_what_opens_nothing():
    key = "abcdefghijklmnop"
    assert session_mark(key) not in key
    assert key[:6] not in Actor(user=None, session=session_mark(key)).credential
    assert session_mark(None) == ""
