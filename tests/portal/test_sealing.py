"""What the browser seals, the host opens: the same bytes from two implementations."""

import base64
import json
import subprocess
from pathlib import Path

import msgspec
import pytest

from agent.protocol import SealError, generate_seal_key, open_sealed

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = """
import { sealSecrets } from "./static/src/js/sealing.js";
const [key, secrets, purpose] = JSON.parse(process.argv[1]);
process.stdout.write(sealSecrets(key, secrets, purpose));
"""


def sealed_by_the_browser(public: bytes, secrets: dict[str, str], purpose: str) -> bytes:
    wish = json.dumps([base64.b64encode(public).decode(), secrets, purpose])
    done = subprocess.run(
        ["node", "--input-type=module", "-e", SCRIPT, wish],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return base64.b64decode(done.stdout)


def test_the_host_opens_what_the_browser_sealed():
    private, public = generate_seal_key()
    secrets = {"password": "correct hörse 🔋", "userData": "#!/bin/sh\n" + "x" * 60_000}
    sealed = sealed_by_the_browser(public, secrets, "vm:1")
    plain = msgspec.msgpack.decode(open_sealed(private, sealed, purpose="vm:1"))
    assert plain == {"password": secrets["password"], "user_data": secrets["userData"]}


def test_what_is_not_given_is_nothing_rather_than_an_empty_text():
    private, public = generate_seal_key()
    sealed = sealed_by_the_browser(public, {"password": "", "userData": "#!/bin/sh\n"}, "vm:1")
    plain = msgspec.msgpack.decode(open_sealed(private, sealed, purpose="vm:1"))
    assert plain["password"] is None


def test_another_host_and_another_purpose_open_nothing():
    private, public = generate_seal_key()
    sealed = sealed_by_the_browser(public, {"password": "secret", "userData": ""}, "vm:1")
    with pytest.raises(SealError):
        open_sealed(private, sealed, purpose="vm:2")
    with pytest.raises(SealError):
        open_sealed(generate_seal_key()[0], sealed, purpose="vm:1")


def test_two_seals_of_the_same_secret_differ():
    _, public = generate_seal_key()
    first, second = (
        sealed_by_the_browser(public, {"password": "secret", "userData": ""}, "vm:1")
        for _ in range(2)
    )
    assert first != second
