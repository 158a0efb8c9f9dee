"""cloudbase-init's requests, in the order of its own source, answered as it takes them.

github.com/cloudbase/cloudbase-init: metadata/services/httpservice.py, ec2service.py and
baseopenstackservice.py, and the plugins that call them. No Windows guest runs here.
"""

import base64
import json

import aiohttp
import pytest

from metadata.documents import NicDocument, Route
from tests.metadata.documents import document, link
from tests.metadata.test_server import Guest

VERSION = "2013-04-04"
RSA = "ssh-rsa AAAAB3NzaC1yc2E me"


class NotExistingMetadataError(Exception):
    """As cloudbase-init's services take a 404."""


class Cloudbase:
    """What its HTTP services do with a NIC's service."""

    def __init__(self, guest: Guest) -> None:
        self.guest = guest

    async def get(self, path: str) -> bytes:
        status, body = await self.guest.ask("GET", f"/{path}")
        if status == 404:
            raise NotExistingMetadataError(path)
        assert status == 200
        return body

    async def meta_data(self, version: str = "latest") -> dict:
        return json.loads(await self.get(f"openstack/{version}/meta_data.json"))

    async def is_password_set(self) -> bool:
        return len(await self.get(f"openstack/{VERSION}/password")) > 0

    async def post_password(self, encrypted: bytes) -> bool:
        """False: one is set already."""
        # As `requests` posts bytes: without a content type.
        async with (
            aiohttp.ClientSession(skip_auto_headers=["Content-Type"]) as session,
            session.post(
                self.guest.url(f"/openstack/{VERSION}/password"), data=encrypted
            ) as answer,
        ):
            assert answer.status in (200, 409)
            return answer.status == 200


async def serving(nic: NicDocument):
    one = Guest(nic)
    await one.listen()
    return one


@pytest.fixture
async def guest():
    one = await serving(
        document(
            ssh_keys=[RSA],
            tags={"admin_username": "Admin"},
            links=[
                link(
                    routes=[Route(destination="10.99.0.0/16", gateway="10.1.2.9")],
                    dns=["10.1.2.1", "fd00::53"],
                    search=["corp.example"],
                )
            ],
        )
    )
    yield one
    one.nic.close()
    one.close()


async def test_the_openstack_service_loads_and_tells_who_the_guest_is(guest):
    windows = Cloudbase(guest)
    meta = await windows.meta_data()  # HttpService.load
    assert meta["hostname"] == "web-1"  # SetHostNamePlugin
    assert meta["uuid"] == guest.nic.document.instance_id  # init.configure_host
    assert meta["meta"].get("admin_username") == "Admin"  # CreateUserPlugin
    assert "admin_pass" not in meta  # then it makes one up
    keys = set(meta["public_keys"].values()) | {
        key["data"] for key in meta["keys"] if key["type"] == "ssh"
    }
    assert keys == {RSA}  # SetUserSSHPublicKeysPlugin
    assert await windows.get("openstack/latest/user_data") == b"#!/bin/sh\ntrue\n"


async def test_the_network_is_of_types_that_it_knows(guest):
    told = json.loads(await Cloudbase(guest).get("openstack/latest/network_data.json"))
    [nic] = told["links"]
    assert (nic["ethernet_mac_address"], nic["type"]) == ("52:54:00:00:00:01", "phy")
    # _parse_network_data_networks passes over all others.
    assert [network["type"] for network in told["networks"]] == ["ipv4", "ipv6"]
    for network in told["networks"]:
        assert network["link"] == nic["id"]
        assert network["ip_address"]
        assert network["netmask"]
        for route in network["routes"]:
            assert set(route) == {"network", "netmask", "gateway"}
    assert [service["type"] for service in told["services"]] == ["dns", "dns"]


async def test_its_password_is_taken_once(guest):
    """SetUserPasswordPlugin: can_post_password, is_password_set, post_password."""
    windows = Cloudbase(guest)
    assert (await windows.meta_data(VERSION))["public_keys"] == {"key-0": RSA}
    assert not await windows.is_password_set()
    encrypted = base64.b64encode(b"\x01" * 256)
    assert await windows.post_password(encrypted)
    assert await windows.is_password_set()
    assert await windows.get(f"openstack/{VERSION}/password") == encrypted
    assert not await windows.post_password(base64.b64encode(b"\x02" * 256))


async def test_once_sealed_it_learns_that_there_is_nothing_to_set(guest):
    windows = Cloudbase(guest)
    encrypted = base64.b64encode(b"\x01" * 256)
    await windows.post_password(encrypted)
    guest.nic.seal()
    with pytest.raises(NotExistingMetadataError):
        await windows.is_password_set()
    assert not await windows.post_password(encrypted)
    assert (await windows.meta_data())["hostname"] == "web-1"


async def test_the_ec2_service_finds_what_it_asks_for(guest):
    windows = Cloudbase(guest)
    folder = "2009-04-04/meta-data"
    assert await windows.get(f"{folder}/local-hostname") == b"web-1"  # EC2Service.load
    assert (await windows.get(f"{folder}/instance-id")).decode() == guest.nic.document.instance_id
    keys = []
    for line in (await windows.get(f"{folder}/public-keys")).decode().split("\n"):
        number, _name = line.split("=")
        keys.append((await windows.get(f"{folder}/public-keys/{number}/openssh-key")).decode())
    assert keys == [RSA]
    assert await windows.get("2009-04-04/user-data") == b"#!/bin/sh\ntrue\n"


async def test_the_ec2_service_goes_on_without_keys_or_user_data():
    guest = await serving(document(ssh_keys=[], user_data=None, open_user_data=None))
    try:
        windows = Cloudbase(guest)
        for path in ("meta-data/public-keys", "user-data"):
            with pytest.raises(NotExistingMetadataError):
                await windows.get(f"2009-04-04/{path}")
    finally:
        guest.nic.close()
        guest.close()
