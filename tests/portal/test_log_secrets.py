"""What a link opens is not written to the log, whoever writes."""

import logging

import pytest

from portal.log_secrets import WithoutSecrets, without_secrets

LINES = [
    ("GET /invited/s3cret/", "GET /invited/…/"),
    ("GET /console/s3cret/", "GET /console/…/"),
    ("GET /account/password/reset/key/1-s3cret/", "GET /account/password/reset/key/…/"),
    ("GET /vms/", "GET /vms/"),
]


@pytest.mark.parametrize(("line", "harmless"), LINES)
def test_requests_are_logged_without_secrets(line, harmless):
    assert without_secrets(None, "info", {"request": line})["request"] == harmless


@pytest.mark.parametrize("trick", ["\n", "\r", "\x1b[2J", "\x00", "\x85", "\u2028"])
def test_nobody_writes_a_line_of_their_own(trick):
    record = logging.LogRecord("django", 30, "x.py", 1, "No %s", (f"a{trick}[error] b",), None)
    assert WithoutSecrets().filter(record)
    assert record.getMessage().isprintable()
    assert "[error] b" in record.getMessage()


@pytest.mark.parametrize(("line", "harmless"), LINES)
def test_so_are_messages_of_libraries(line, harmless):
    record = logging.LogRecord("django", 30, "x.py", 1, "Forbidden: %s", (line,), None)
    assert WithoutSecrets().filter(record)
    assert record.getMessage() == f"Forbidden: {harmless}"
