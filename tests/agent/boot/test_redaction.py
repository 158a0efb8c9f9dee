"""What must not show in a guest's log lines does not."""

import pytest

from agent.boot.redaction import HIDDEN, clean_line, cleaned, secret_words

PASSWORD = "correct horse 42"
SCRIPT = "#!/bin/sh\nset -e\ncurl -u admin:hunter2 https://example.com\nfi\n"


@pytest.mark.parametrize(
    ("line", "hidden"),
    [
        (f"chpasswd: cannot set {PASSWORD} for admin", PASSWORD),
        ("+ curl -u admin:hunter2 https://example.com", "hunter2"),
        ("user admin has $6$rounds=5000$abcdefgh$0123456789abcdef./xyz in shadow", "abcdefgh"),
        ("password: opensesame", "opensesame"),
        ("DB_PASSWORD=opensesame ./run", "opensesame"),
        ('"api_key": "abc123"', "abc123"),
        ("Authorization: Bearer abcdef", "abcdef"),
        ("fatal: https://me:s3cret@git.example.com not found", "s3cret"),
        ('expected <block end> in "<unicode string>", line 3, column 1: passphrase x', "x"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----b3BlbnNzaC1rZXk", "b3BlbnNzaC1rZXk"),
    ],
)
def test_secrets_are_taken_out(line, hidden):
    cleaned_line = clean_line(line, secret_words(PASSWORD, SCRIPT))
    assert hidden not in cleaned_line.removeprefix("expected")
    assert HIDDEN in cleaned_line or cleaned_line.endswith("line 3, column 1")


def test_what_is_no_secret_stays():
    line = "2026-11-28 20:00:00,000 - util.py[WARNING]: Failed loading yaml blob"
    assert clean_line(line, secret_words(PASSWORD, SCRIPT)) == line
    assert clean_line("fi", secret_words(PASSWORD, SCRIPT)) == "fi"


def test_terminals_are_not_painted():
    assert clean_line("\x1b[1;31mred\x1b[0m\x07\x00 \u202eevil \x1b]0;title\x07x", frozenset()) == (
        "red    evil x"
    )
    assert cleaned(["", "  ", "\x1b[2J", "a"], frozenset()) == ["a"]
