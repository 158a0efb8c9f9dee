"""One NIC's listeners over real sockets: answers, and the bounds that a guest cannot pass."""

import asyncio
import socket

import aiohttp
import pytest

from metadata import doors
from metadata.documents import NicDocument
from metadata.server import Nic
from tests.metadata.documents import document


def _listener() -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.bind(("127.0.0.1", 0))
    listener.listen(64)
    return listener


async def _ended(reader: asyncio.StreamReader) -> bool:
    """Whether the other side ends the connection, politely or not, without a word."""
    try:
        return await asyncio.wait_for(reader.read(), 5) == b""
    except ConnectionError:
        return True


class Guest:
    """A NIC with its listeners on the loopback, and what it has reported."""

    def __init__(self, nic_document: NicDocument) -> None:
        self.changes: list[tuple[str, bool]] = []
        self.nic = Nic(nic_document, self._changed)
        # DHCP and routers need a real wire: tests/agent/network/test_wire.py has one.
        self._packets, *self._wires = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._solicitations, *more = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._wires += more

    def _changed(self, nic: Nic) -> None:
        self.changes.append((nic.status.state, nic.status.done))

    async def listen(self) -> None:
        http4, http6 = _listener(), _listener()
        self.port = http4.getsockname()[1]
        holder = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        await self.nic.listen([http4, http6, self._packets, holder, self._solicitations])

    def close(self) -> None:
        for wire in self._wires:
            wire.close()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    async def ask(self, method: str, path: str, **options) -> tuple[int, bytes]:
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, self.url(path), **options) as response,
        ):
            return response.status, await response.read()

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)


@pytest.fixture
async def guest():
    one = Guest(document())
    await one.listen()
    yield one
    one.nic.close()
    one.close()


async def test_the_first_question_is_noticed_once(guest):
    assert guest.nic.status.state == "not_asked"
    for path in ("/openstack", "/openstack/latest/meta_data.json", "/latest/meta-data/"):
        assert (await guest.ask("GET", path))[0] == 200
    assert guest.changes == [("served", False)]


async def test_slashes_and_their_number_do_not_matter(guest):
    for path in ("/openstack/", "//openstack", "/latest/meta-data", "/latest//meta-data/"):
        assert (await guest.ask("GET", path))[0] == 200


async def test_head_answers_like_get_without_a_body(guest):
    assert await guest.ask("HEAD", "/openstack/latest/user_data") == (200, b"")


async def test_the_end_of_the_first_boot_seals_what_is_secret(guest):
    assert (await guest.ask("GET", "/openstack/latest/user_data"))[1] == b"#!/bin/sh\ntrue\n"
    done = await guest.ask("POST", "/basalt/v1/done", data={"instance_id": "anything"})
    assert done == (200, b"ok")
    assert guest.changes[-1] == ("sealed", True)
    assert (await guest.ask("GET", "/openstack/latest/user_data"))[0] == 404
    assert (await guest.ask("GET", "/latest/user-data"))[0] == 404
    assert (await guest.ask("GET", "/openstack/latest/meta_data.json"))[0] == 200


async def test_a_guest_that_reboots_in_the_middle_is_served_again(guest):
    for _ in range(3):
        assert (await guest.ask("GET", "/openstack/latest/user_data"))[0] == 200


async def test_done_is_told_once_however_often_it_is_said(guest):
    for _ in range(3):
        assert (await guest.ask("POST", "/basalt/v1/done"))[0] == 200
    assert guest.changes == [("sealed", True)]


async def test_secrets_do_not_come_back_with_a_new_document_of_the_same_instance(guest):
    await guest.ask("POST", "/basalt/v1/done")
    guest.nic.replace(document(hostname="renamed"))
    assert (await guest.ask("GET", "/openstack/latest/user_data"))[0] == 404
    assert (await guest.ask("GET", "/latest/meta-data/hostname"))[1] == b"renamed"


async def test_a_document_that_comes_sealed_ends_the_first_boot(guest):
    guest.nic.replace(document(sealed=True))
    assert guest.nic.status.done
    assert guest.nic.document.user_data is None
    guest.nic.replace(document())
    assert (await guest.ask("GET", "/openstack/latest/user_data"))[0] == 404


async def test_a_new_instance_is_served_from_the_start(guest):
    await guest.ask("POST", "/basalt/v1/done")
    guest.nic.replace(document(instance_id="6e0f3d1c-0000-4000-8000-000000000002"))
    assert guest.nic.status.state == "not_asked"
    assert (await guest.ask("GET", "/openstack/latest/user_data"))[0] == 200


async def test_a_changed_document_is_served_at_once(guest):
    guest.nic.replace(document(ssh_keys=["ssh-rsa NEW"]))
    answer = await guest.ask("GET", "/latest/meta-data/public-keys/0/openssh-key")
    assert answer == (200, b"ssh-rsa NEW")


async def test_a_password_is_taken_once(guest):
    path = "/openstack/2013-04-04/password"
    assert await guest.ask("GET", path) == (200, b"")
    assert (await guest.ask("POST", path, data=b"c2VjcmV0"))[0] == 200
    assert (await guest.ask("POST", path, data=b"b3RoZXI="))[0] == 409
    assert await guest.ask("GET", path) == (200, b"c2VjcmV0")


@pytest.mark.parametrize(("seconds", "status"), [("60", 200), ("21600", 200), ("0", 400)])
async def test_a_token_is_given_for_a_time_that_aws_would_give(guest, seconds, status):
    headers = {"X-aws-ec2-metadata-token-ttl-seconds": seconds}
    assert (await guest.ask("PUT", "/latest/api/token", headers=headers))[0] == status


@pytest.mark.parametrize("seconds", ["", "-1", "21601", "1e3", "٣", "9" * 30])
async def test_an_odd_token_time_is_refused(guest, seconds):
    headers = {"X-aws-ec2-metadata-token-ttl-seconds": seconds}
    assert (await guest.ask("PUT", "/latest/api/token", headers=headers))[0] == 400


async def test_a_token_is_known_again_and_another_is_not(guest):
    asked = {"X-aws-ec2-metadata-token-ttl-seconds": "60"}
    _, token = await guest.ask("PUT", "/latest/api/token", headers=asked)
    path = "/latest/meta-data/instance-id"
    for sent, status in ((token.decode(), 200), ("another", 401), ("", 401)):
        headers = {"X-aws-ec2-metadata-token": sent}
        assert (await guest.ask("GET", path, headers=headers))[0] == status
    assert (await guest.ask("GET", path))[0] == 200
    # The other forms know of no tokens.
    headers = {"X-aws-ec2-metadata-token": "another"}
    assert (await guest.ask("GET", "/openstack/latest/meta_data.json", headers=headers))[0] == 200


async def test_a_token_says_how_long_it_is_good(guest):
    header = "X-aws-ec2-metadata-token-ttl-seconds"
    async with (
        aiohttp.ClientSession() as session,
        session.put(guest.url("/latest/api/token"), headers={header: "77"}) as response,
    ):
        assert response.headers[header] == "77"


async def test_a_token_is_not_given_through_a_proxy(guest):
    headers = {"X-aws-ec2-metadata-token-ttl-seconds": "60", "X-Forwarded-For": "10.0.0.9"}
    assert (await guest.ask("PUT", "/latest/api/token", headers=headers))[0] == 403


@pytest.mark.parametrize(
    ("method", "path"),
    [("DELETE", "/openstack"), ("POST", "/openstack"), ("PUT", "/basalt/v1/done")],
)
async def test_other_methods_are_refused(guest, method, path):
    assert (await guest.ask(method, path))[0] == 405


async def test_a_body_that_is_too_long_is_refused_and_changes_nothing(guest):
    status, _ = await guest.ask("POST", "/basalt/v1/done", data=b"x" * 70_000)
    assert status == 413
    assert guest.changes == []


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX-Long: " + b"a" * 9000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n"
        + b"".join(b"X-%d: 1\r\n" % n for n in range(200))
        + b"\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/9.9\r\n\r\n",
        b"\x00" * 100 + b"\r\n\r\n",
    ],
)
async def test_what_is_no_request_is_refused_and_the_next_guest_is_served(guest, request_bytes):
    reader, writer = await guest.connect()
    writer.write(request_bytes)
    answer = await asyncio.wait_for(reader.read(), 5)
    assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.0 400"))
    writer.close()
    assert (await guest.ask("GET", "/openstack"))[0] == 200


async def test_no_more_than_so_many_connections_are_held_and_the_next_one_waits(guest):
    held = [await guest.connect() for _ in range(doors.MOST_CONNECTIONS)]
    waiting = asyncio.create_task(guest.ask("GET", "/openstack"))
    # Those that were let in are answered meanwhile.
    for reader, writer in held:
        writer.write(b"GET /openstack HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await asyncio.wait_for(reader.readline(), 5)).startswith(b"HTTP/1.1 200")
    assert not waiting.done()
    held[0][1].close()
    assert (await asyncio.wait_for(waiting, 5))[0] == 200
    for _, writer in held:
        writer.close()


async def test_a_connection_that_says_nothing_is_ended(guest, monkeypatch):
    monkeypatch.setattr(doors, "CONNECTION_S", 0.2)
    reader, writer = await guest.connect()
    writer.write(b"GET / HTTP/1.1\r\n")
    assert await _ended(reader)


async def test_too_many_requests_are_told_so(guest):
    async with aiohttp.ClientSession() as session:
        statuses = set()
        for _ in range(600):
            async with session.get(guest.url("/latest/meta-data/hostname")) as response:
                statuses.add(response.status)
    assert statuses == {200, 429}


async def test_closing_ends_every_connection(guest):
    reader, _ = await guest.connect()
    await asyncio.sleep(0.1)
    guest.nic.close()
    assert await _ended(reader)
    with pytest.raises(OSError):
        await guest.connect()
