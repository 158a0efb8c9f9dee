"""User-data: what cloud-init would not understand is said before a guest is made."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenants.errors import InvalidInputError
from vms.services.user_data import MAX_BYTES, user_data_check

MIME = """\
Content-Type: multipart/mixed; boundary="==b=="
MIME-Version: 1.0

--==b==
Content-Type: text/cloud-config

packages: [htop]

--==b==
Content-Type: text/x-shellscript

#!/bin/sh
true

--==b==--
"""


@pytest.mark.parametrize(
    "text",
    [
        "#!/bin/sh\necho hello\n",
        "#!/usr/bin/env python3\nprint(1)\n",
        "#cloud-config\npackages: [htop]\n",
        "#cloud-config\n",
        "#cloud-config\n# only a comment\n",
        "#cloud-config-archive\n- type: text/cloud-config\n  content: 'a: 1'\n",
        "#include\nhttps://example.com/a\n# a comment\n\nhttp://example.com/b\n",
        "## template: jinja\n#cloud-config\nruncmd: [echo {{ v1.local_hostname }}]\n",
        "#cloud-boothook\n#!/bin/sh\ntrue\n",
        MIME,
    ],
)
def test_what_cloud_init_takes_is_taken_as_it_is(text):
    assert user_data_check(text) == text


@pytest.mark.parametrize("text", ["", "  \n ", "\r\n"])
def test_blank_is_none(text):
    assert user_data_check(text) == ""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("echo hello", "starts with “echo hello”"),
        ("packages: [htop]", "Start a script with"),
        ("#!bash\ntrue", "full path"),
        ("#!\ntrue", "full path"),
        ("#cloud-config\na: [1\n", "not valid YAML in line 3"),
        ("#cloud-config\na: b: c\n", "not valid YAML in line 2"),
        ("#cloud-config\n- a\n", "is a list"),
        ("#cloud-config\nhello\n", "a plain value"),
        ("#cloud-config\n1: x\n", "put it in quotes"),
        ("#cloud-config\na: !!python/object/apply:os.system [id]\n", "not valid YAML"),
        ("#cloud-config\na: " + "[" * 20_000, "not valid YAML"),
        ("#cloud-config\na: 0001-99-99\n", "not valid YAML"),
        ("#cloud-config-archive\na: 1\n", "a YAML list"),
        ("#include\n", "one URL per line"),
        ("#include\nfile:///etc/passwd\n", "http:// or https://"),
        ("## template: jinja\nhello", "second line"),
        ("Content-Type: multipart/mixed\n\nhello", "not a complete multipart"),
        (MIME.replace("[htop]", "[htop"), "not valid YAML"),
        ("#!/bin/sh\n\x00", "NUL"),
        ("#!/bin/sh\n\ud800", "Unicode"),
        ("#!/bin/sh\n" + "x" * MAX_BYTES, "limit is 65536"),
        ("#!/bin/sh\n" + "é" * (MAX_BYTES // 2), "limit is 65536"),
    ],
)
def test_what_it_would_not_understand_is_named(text, words):
    with pytest.raises(InvalidInputError) as refusal:
        user_data_check(text)
    assert words in refusal.value.message
    assert refusal.value.field == "user_data"


def test_the_full_size_is_allowed():
    text = "#!/bin/sh\n".ljust(MAX_BYTES, "#")
    assert user_data_check(text) == text


@given(st.text(), st.sampled_from(["", "#cloud-config\n", "#include\n", "MIME-Version: 1.0\n"]))
def test_any_text_is_taken_or_refused_but_never_crashes(text, head):
    with contextlib.suppress(InvalidInputError):
        assert "\r\n" not in user_data_check(head + text)
