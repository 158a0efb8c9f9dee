"""Images arrive whole and verified, from servers that cut, lie and redirect."""

import asyncio
import base64
import contextlib
import hashlib
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from agent.errors import JobFailedError
from agent.images import fetch
from agent.images.cache import ImageCache
from agent.images.fetch import is_public
from agent.images.fetch_messages import FetchRequest
from agent.keys import load_keys
from agent.protocol import ImageSource, request_statement, verify
from agent.settings import Identity, Settings
from tests.agent.specs import new_id


class ImageServer:
    """Serves bytes with ranges; can cut each answer short and count what it is asked."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.cut_after: int | None = None
        self.ranges = True
        self.requests: list[web.Request] = []
        self.redirect: str | None = None
        self.url = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        if self.redirect:
            raise web.HTTPFound(self.redirect)
        start = 0
        if self.ranges and "Range" in request.headers:
            start = int(request.headers["Range"].removeprefix("bytes=").rstrip("-"))
        body = self.content[start:]
        response = web.StreamResponse(status=206 if start else 200)
        if start:
            total = len(self.content)
            response.headers["Content-Range"] = f"bytes {start}-{total - 1}/{total}"
        response.content_length = len(body)
        await response.prepare(request)
        if self.cut_after is not None and len(body) > self.cut_after:
            await response.write(body[: self.cut_after])
            await asyncio.sleep(0.05)
            request.transport.abort()
            return response
        await response.write(body)
        await response.write_eof()
        return response


@contextlib.asynccontextmanager
async def serving(content: bytes) -> AsyncIterator[ImageServer]:
    server = ImageServer(content)
    app = web.Application()
    app.router.add_get("/{path:.*}", server.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield server
    finally:
        await runner.cleanup()


def qcow2(folder: Path, *options: str) -> bytes:
    path = folder / "made.qcow2"
    command = ["qemu-img", "create", "-q", "-f", "qcow2", *options, str(path), "16M"]
    subprocess.run(command, check=True)
    return path.read_bytes()


def source(server: ImageServer, content: bytes | None = None, **changes) -> ImageSource:
    body = server.content if content is None else content
    fields = {
        "version_id": new_id(),
        "sha256": hashlib.sha256(body).hexdigest(),
        "format": "qcow2",
        "size": len(body),
        "url": f"{server.url}/image.qcow2",
    }
    return ImageSource(**{**fields, **changes})


def cache(folder: Path, portal: str = "http://127.0.0.1:1", *, private: bool = True) -> ImageCache:
    settings = Settings(
        data=str(folder),
        identity=Identity(portal=portal, origin=portal, hypervisor_id=new_id(), name="h"),
        allow_private_image_urls=private,
    )
    return ImageCache(folder / "images", settings, pauses_s=(0.05, 0.05, 0.05))


async def refusal(images: ImageCache, wanted: ImageSource) -> JobFailedError:
    with pytest.raises(JobFailedError) as caught:
        await images.ensure(wanted, progress=lambda _: None)
    assert not images.path(wanted).exists()
    return caught.value


async def test_an_image_is_fetched_once_and_then_read_only(tmp_path):
    async with serving(qcow2(tmp_path)) as server:
        images, wanted = cache(tmp_path), source(server)
        await images.ensure(wanted, progress=lambda _: None)
        await images.ensure(wanted, progress=lambda _: None)
        assert images.path(wanted).read_bytes() == server.content
        assert images.path(wanted).stat().st_mode & 0o777 == 0o444
        assert images.cached() == [wanted.version_id]
        assert len(server.requests) == 1


async def test_jobs_that_want_one_image_at_once_share_its_download(tmp_path):
    async with serving(qcow2(tmp_path)) as server:
        images, wanted = cache(tmp_path), source(server)
        both = (images.ensure(wanted, progress=lambda _: None) for _ in range(2))
        await asyncio.gather(*both)
        assert len(server.requests) == 1


async def test_a_download_that_is_cut_goes_on_where_it_was(tmp_path):
    async with serving(qcow2(tmp_path)) as server:
        server.cut_after = len(server.content) // 3 + 1
        images, wanted = cache(tmp_path), source(server)
        await images.ensure(wanted, progress=lambda _: None)
        assert images.path(wanted).read_bytes() == server.content
        starts = [request.headers.get("Range") for request in server.requests]
        assert starts[0] is None
        assert all(start is not None for start in starts[1:])
        assert len(starts) >= 3


async def test_a_later_try_goes_on_from_what_an_earlier_one_left(tmp_path):
    async with serving(qcow2(tmp_path)) as server:
        images, wanted = cache(tmp_path), source(server)
        part = tmp_path / "images" / f"{wanted.version_id}.{wanted.sha256[:16]}.part"
        part.write_bytes(server.content[:5000])
        await images.ensure(wanted, progress=lambda _: None)
        assert server.requests[0].headers["Range"] == "bytes=5000-"
        assert images.path(wanted).read_bytes() == server.content


async def test_a_part_that_went_bad_costs_a_new_start_and_not_the_image(tmp_path):
    async with serving(qcow2(tmp_path)) as server:
        images, wanted = cache(tmp_path), source(server)
        part = tmp_path / "images" / f"{wanted.version_id}.{wanted.sha256[:16]}.part"
        part.write_bytes(b"x" * 5000)
        await images.ensure(wanted, progress=lambda _: None)
        assert images.path(wanted).read_bytes() == server.content


async def test_a_server_without_ranges_is_read_from_the_start(tmp_path):
    async with serving(qcow2(tmp_path)) as server:
        server.ranges = False
        images, wanted = cache(tmp_path), source(server)
        part = tmp_path / "images" / f"{wanted.version_id}.{wanted.sha256[:16]}.part"
        part.write_bytes(server.content[:5000])
        await images.ensure(wanted, progress=lambda _: None)
        assert images.path(wanted).read_bytes() == server.content


async def test_a_wrong_checksum_is_named_and_leaves_nothing(tmp_path):
    async with serving(qcow2(tmp_path)) as server:
        images = cache(tmp_path)
        error = await refusal(images, source(server, sha256="ab" * 32))
        assert error.code == "image_checksum_mismatch"
        assert hashlib.sha256(server.content).hexdigest() in error.message
        assert list((tmp_path / "images").iterdir()) == []


async def test_more_bytes_than_the_image_has_are_not_read(tmp_path):
    async with serving(qcow2(tmp_path)) as server:
        error = await refusal(cache(tmp_path), source(server, size=1000))
        assert error.code == "image_checksum_mismatch"


async def test_what_is_not_a_disk_image_is_refused(tmp_path):
    async with serving(b"<html>Not found</html>" * 100) as server:
        error = await refusal(cache(tmp_path), source(server))
        assert error.code == "image_not_a_disk"
        assert list((tmp_path / "images").iterdir()) == []


async def test_a_raw_image_needs_a_partition_table(tmp_path):
    async with serving(bytes(1024 * 1024)) as server:
        error = await refusal(cache(tmp_path), source(server, format="raw"))
        assert error.code == "image_not_a_disk"


async def test_a_raw_disk_image_is_taken(tmp_path):
    async with serving(bytes(510) + b"\x55\xaa" + bytes(1024 * 1024)) as server:
        images, wanted = cache(tmp_path), source(server, format="raw")
        await images.ensure(wanted, progress=lambda _: None)
        assert images.path(wanted).name == f"{wanted.version_id}.raw"


async def test_an_image_that_names_a_file_of_the_host_is_refused(tmp_path):
    (tmp_path / "secret.raw").write_bytes(bytes(2**20))
    content = qcow2(tmp_path, "-b", str(tmp_path / "secret.raw"), "-F", "raw")
    async with serving(content) as server:
        error = await refusal(cache(tmp_path), source(server))
        assert error.code == "image_not_a_disk"
        assert "backing file" in error.message


async def test_an_image_whose_data_is_elsewhere_is_refused(tmp_path):
    content = qcow2(tmp_path, "-o", f"data_file={tmp_path / 'data.raw'}")
    async with serving(content) as server:
        error = await refusal(cache(tmp_path), source(server))
        assert error.code == "image_not_a_disk"


async def test_a_private_address_is_refused(tmp_path):
    async with serving(qcow2(tmp_path)) as server:
        error = await refusal(cache(tmp_path, private=False), source(server))
        assert error.code == "address_private"
        assert server.requests == []


async def test_a_name_of_a_private_address_is_refused(tmp_path):
    async with serving(qcow2(tmp_path)) as server:
        url = server.url.replace("127.0.0.1", "localhost")
        error = await refusal(cache(tmp_path, private=False), source(server, url=url))
        assert error.code == "address_private"
        assert server.requests == []


async def test_a_redirect_to_a_private_address_is_refused(tmp_path, monkeypatch):
    # On one machine there is no public address: for this test one loopback address counts
    # as public, and another does not.
    monkeypatch.setattr(fetch, "is_public", lambda address: address == "127.0.0.1")
    async with serving(qcow2(tmp_path)) as server:
        server.redirect = server.url.replace("127.0.0.1", "127.0.0.2")
        request = FetchRequest(
            url=server.url,
            part=str(tmp_path / "x.part"),
            sha256="0" * 64,
            size=None,
            allow_private=False,
        )
        with pytest.raises(JobFailedError) as caught:
            await fetch.Fetch(request).run()
        assert caught.value.code == "address_private"
        assert len(server.requests) == 1


async def test_a_server_that_is_not_there_is_named(tmp_path):
    async with serving(b"") as server:
        url = server.url
    gone = source(server, content=b"x", url=url + "/x")
    error = await refusal(cache(tmp_path), gone)
    assert error.code == "image_unreachable"
    assert url in error.message


async def test_images_of_the_portal_are_asked_for_with_a_signature(tmp_path):
    async with serving(qcow2(tmp_path)) as server:
        # The portal may stand on a private address; that rule is for URLs of users.
        images = cache(tmp_path, server.url, private=False)
        wanted = source(server, url=None)
        await images.ensure(wanted, progress=lambda _: None)
        request = server.requests[0]
        scheme, _, proof = request.headers["Authorization"].partition(" ")
        host, timestamp, signature = proof.split(":")
        statement = request_statement(
            method="GET", path=request.path, hypervisor_id=host, timestamp=int(timestamp)
        )
        public = load_keys(tmp_path / "keys").sign_public
        verify(public, base64.b64decode(signature), statement)
        assert scheme == "Basalt"
        assert request.path == f"/agent/v1/images/{wanted.version_id}/"


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "192.168.0.1", "172.16.0.1", "169.254.169.254", "224.0.0.1",
        "0.1.2.3", "100.64.0.1", "::1", "fe80::1%eth0", "fd00::1", "::ffff:10.0.0.1",
        "64:ff9b::a00:1", "2002:0a00:0001::1", "ff02::1",
    ],
)  # fmt: skip
def test_addresses_inside_are_not_public(address):
    assert not is_public(address)


@pytest.mark.parametrize("address", ["1.1.1.1", "2606:4700::1111", "64:ff9b::101:101"])
def test_addresses_of_the_internet_are_public(address):
    assert is_public(address)
