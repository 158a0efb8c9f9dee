"""Hosts read images from the portal: signed, in ranges, and only their own VMs' images."""

import base64
import time
import uuid

import pytest
from asgiref.sync import async_to_sync
from django.test import AsyncClient

from agent.protocol import request_statement, sign
from tenants.actor import SYSTEM
from tests.factories import HypervisorFactory, VirtualMachineFactory
from vms.services.images import image_register_file

pytestmark = pytest.mark.django_db(transaction=True)
CONTENT = bytes(510) + b"\x55\xaa" + bytes(range(256)) * 12_000 + bytes(256 * 2)


@pytest.fixture
def host():
    return HypervisorFactory()


@pytest.fixture
def version(media, tmp_path, host):
    path = tmp_path / "built.raw"
    path.write_bytes(CONTENT)
    image = image_register_file(actor=SYSTEM, tenant=None, name="debian-12", path=path)
    VirtualMachineFactory(hypervisor=host, image_version=image.latest)
    return image.latest


def ask(host, version_id, *, key=None, at=None, method="GET", signed_path=None, **headers):
    path = f"/agent/v1/images/{version_id}/"
    timestamp = int(at or time.time())
    statement = request_statement(
        method=method,
        path=signed_path or path,
        hypervisor_id=str(host.id),
        timestamp=timestamp,
    )
    signature = base64.b64encode(sign(key or host.sign_private, statement)).decode()
    headers["Authorization"] = f"Basalt {host.id}:{timestamp}:{signature}"

    async def request() -> tuple[int, dict, bytes]:
        answer = await AsyncClient().generic(method, path, headers=headers)
        pieces = [piece async for piece in answer] if answer.streaming else [answer.content]
        return answer.status_code, dict(answer.items()), b"".join(pieces)

    return async_to_sync(request)()


def test_the_whole_file(host, version):
    status, headers, body = ask(host, version.id)
    assert status == 200
    assert body == CONTENT
    assert headers["Content-Length"] == str(len(CONTENT))
    assert headers["ETag"] == f'"{version.sha256}"'
    assert headers["Accept-Ranges"] == "bytes"


@pytest.mark.parametrize(
    ("wanted", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=5-", 5, len(CONTENT)),
        ("bytes=1048570-1048590", 1048570, 1048591),
        ("bytes=-10", len(CONTENT) - 10, len(CONTENT)),
        (f"bytes=7-{10**15}", 7, len(CONTENT)),
    ],
)
def test_a_download_is_resumed(host, version, wanted, start, end):
    status, headers, body = ask(host, version.id, Range=wanted)
    assert status == 206
    assert body == CONTENT[start:end]
    assert headers["Content-Range"] == f"bytes {start}-{end - 1}/{len(CONTENT)}"


@pytest.mark.parametrize("wanted", [f"bytes={len(CONTENT)}-", "bytes=9-3", "bytes=-0"])
def test_a_range_that_is_not_there(host, version, wanted):
    status, headers, _ = ask(host, version.id, Range=wanted)
    assert (status, headers["Content-Range"]) == (416, f"bytes */{len(CONTENT)}")


@pytest.mark.parametrize("wanted", ["bytes=-", "lines=1-2", "bytes=1-2,5-6", "bytes=a-b"])
def test_a_range_that_is_not_understood_gives_the_whole(host, version, wanted):
    status, _, body = ask(host, version.id, Range=wanted)
    assert (status, len(body)) == (200, len(CONTENT))


def test_a_range_of_another_content_gives_the_whole(host, version):
    status, _, _ = ask(host, version.id, Range="bytes=5-", **{"If-Range": '"other"'})
    assert status == 200


def test_head_gives_the_size_and_no_body(host, version):
    status, headers, body = ask(host, version.id, method="HEAD")
    assert (status, headers["Content-Length"], body) == (200, str(len(CONTENT)), b"")


def test_an_image_that_no_vm_of_the_host_uses_is_like_none_at_all(version):
    stranger = HypervisorFactory()
    foreign, missing = ask(stranger, version.id), ask(stranger, uuid.uuid4())
    assert foreign[0] == missing[0] == 404
    assert foreign[2] == missing[2]


def test_a_file_that_was_lost_is_a_404_and_no_crash(host, version, media):
    (media / version.file).unlink()
    assert ask(host, version.id)[0] == 404


def test_a_wrong_signature_is_refused(host, version):
    other = HypervisorFactory()
    assert ask(host, version.id, key=other.sign_private)[0] == 401
    assert ask(host, version.id, signed_path="/agent/v1/images/")[0] == 401
    assert ask(host, version.id, at=time.time() - 3600)[0] == 401


def test_without_a_signature_nothing_is_said(client, version):
    answer = client.get(f"/agent/v1/images/{version.id}/")
    assert answer.status_code == 401
    assert "error" in answer.json()
