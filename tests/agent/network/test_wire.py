"""A NIC's own wire, with guests that ask over it. Real namespaces, nftables and DHCP."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator

import msgspec
import pytest

from agent.network.errors import NetworkError
from agent.network.plumber import tap_name
from agent.protocol import NetworkSpec
from metadata.dhcp import Kind
from tests.agent.network.namespaces import Guest, run
from tests.agent.network.plumbing import Plumbing, document_of, new_id, nic_on
from tests.metadata.packets import checksum, client_packet

pytestmark = pytest.mark.root

IPV4 = "169.254.169.254"
IPV6 = "[fe80::a9fe:a9fe%25eth0]"
NAT = NetworkSpec(
    network_id=new_id(), kind="nat", subnet="10.254.19.0/24", gateway="10.254.19.1", mtu=1400
)


_SEND = """
import socket, sys
wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
wire.bind(("eth0", 0))
wire.send(bytes.fromhex(sys.argv[1]))
"""


def whole(packet: bytes) -> bytes:
    """With the checksum that a bridge may look at."""
    summed = (checksum(packet[:20]) ^ 0xFFFF).to_bytes(2, "big")
    return packet[:10] + summed + packet[12:]


def traces(nic_id: str) -> list[str]:
    """What the host's network stack still has of a NIC, but for the guest's own device."""
    digits = nic_id.replace("-", "")[:12]
    links = [f"md-{digits}", f"mh{digits}"]
    found = run("ip", "netns") + run("ip", "-brief", "link") + run("nft", "list", "tables")
    return [name for name in links if name in found]


async def test_a_guest_without_an_address_of_the_lan_is_told_who_it_is(plumbing, lan):
    nic = nic_on(lan, "10.9.8.7/24")
    with plumbing.guest(nic, lan.bridge) as guest:
        await plumbing.attach(nic, document_of(nic, "web-1"))
        guest.run("ip", "addr", "add", "169.254.10.1/16", "dev", "eth0")
        assert await asyncio.to_thread(guest.hostname_told, IPV4) == "web-1"
        assert await asyncio.to_thread(guest.hostname_told, IPV6) == "web-1"
        assert (nic.nic_id, "served", False) in plumbing.heard


async def test_the_ec2_address_of_ipv6_is_reached_on_the_wire_and_by_a_gateway(plumbing, lan):
    nic = nic_on(lan, "10.9.8.7/24")
    with plumbing.guest(nic, lan.bridge) as guest:
        await plumbing.attach(nic, document_of(nic, "web-1"))
        guest.run("ip", "addr", "add", "fd00:1::5/64", "dev", "eth0", "nodad")
        host = "[fd00:ec2::254]"
        guest.run("ip", "route", "add", "fd00:ec2::254", "dev", "eth0")
        assert await asyncio.to_thread(guest.hostname_told, host) == "web-1"
        guest.run("ip", "route", "delete", "fd00:ec2::254", "dev", "eth0")
        guest.run("ip", "route", "add", "default", "via", "fd00:1::1")
        gateway = ("fd00:1::1", "lladdr", "02:00:00:00:00:99", "dev", "eth0")
        guest.run("ip", "neigh", "add", *gateway)
        assert await asyncio.to_thread(guest.hostname_told, host) == "web-1"


async def test_a_guest_that_sends_by_its_gateway_is_told_too(plumbing, lan):
    nic = nic_on(lan, "10.9.8.7/24")
    with plumbing.guest(nic, lan.bridge) as guest:
        await plumbing.attach(nic, document_of(nic, "web-1"))
        guest.run("ip", "addr", "add", "10.9.8.7/24", "dev", "eth0")
        guest.run("ip", "route", "add", "default", "via", "10.9.8.1")
        # The gateway's MAC is known and somebody else's.
        gateway = ("10.9.8.1", "lladdr", "02:00:00:00:00:99", "dev", "eth0")
        guest.run("ip", "neigh", "add", *gateway)
        assert await asyncio.to_thread(guest.hostname_told, IPV4) == "web-1"


async def test_two_guests_with_the_same_addresses_are_each_told_their_own(plumbing, lan):
    first, second = nic_on(lan, None), nic_on(lan, None)
    with plumbing.guest(first, lan.bridge) as one, plumbing.guest(second, lan.bridge) as two:
        await plumbing.attach(first, document_of(first, "one"))
        await plumbing.attach(second, document_of(second, "two"))
        for guest in (one, two):
            guest.run("ip", "addr", "add", "169.254.10.1/16", "dev", "eth0")
            guest.run("ip", "addr", "add", "fe80::1/64", "dev", "eth0", "nodad")
        asked = [
            asyncio.to_thread(guest.hostname_told, host)
            for guest in (one, two)
            for host in (IPV4, IPV6)
        ]
        assert await asyncio.gather(*asked) == ["one", "one", "two", "two"]


async def test_nothing_of_it_shows_on_the_lan(plumbing, lan):
    nic = nic_on(lan, "10.9.8.7/24")
    with plumbing.guest(nic, lan.bridge) as guest, _listening(lan.bridge) as heard:
        await plumbing.attach(nic, document_of(nic, "web-1"))
        assert await asyncio.to_thread(guest.lease, plumbing.folder) is not None
        await asyncio.to_thread(guest.hostname_told, IPV4)
        await asyncio.to_thread(guest.hostname_told, IPV6)
        # A frame of the guest's that is meant for the LAN does arrive: the ear works.
        guest.run("ping", "-c", "1", "-W", "1", "10.9.8.99", check=False)
        frames = heard()
    assert any(_asks_for(frame, "10.9.8.99") for frame in frames)
    service = (socket.inet_aton(IPV4), socket.inet_pton(socket.AF_INET6, "fe80::a9fe:a9fe"))
    assert [frame for frame in frames if any(address in frame for address in service)] == []
    assert [frame for frame in frames if frame[23:24] == b"\x11"] == []


async def test_dhcp_of_a_machine_behind_the_guest_is_the_sites_to_answer(plumbing, lan):
    """A NIC whose guard is off, as of a guest that is a bridge: only the guest's own is taken."""
    nic = msgspec.structs.replace(nic_on(lan, "10.9.8.7/24"), guard=False)
    behind = bytes.fromhex("525400abcdef")
    own = bytes.fromhex(nic.mac.replace(":", ""))
    with plumbing.guest(nic, lan.bridge) as guest, _listening(lan.bridge) as heard:
        await plumbing.attach(nic, document_of(nic, "web-1"))
        for mac in (behind, own):
            frame = b"\xff" * 6 + mac + b"\x08\x00" + whole(client_packet(Kind.DISCOVER, mac=mac))
            guest.run(sys.executable, "-c", _SEND, frame.hex())
        await asyncio.sleep(0.3)
        asked = {frame[6:12] for frame in heard() if frame[36:38] == (67).to_bytes(2, "big")}
    assert asked == {behind}


async def test_a_gateway_that_was_given_stays_when_there_is_no_other_router(plumbing, lan):
    nic = msgspec.structs.replace(nic_on(lan, None), address6="2001:db8:7::7/64")
    with plumbing.guest(nic, lan.bridge) as guest:
        await plumbing.attach(nic, document_of(nic, "web-1"))
        guest.run("ip", "addr", "add", "2001:db8:7::7/64", "dev", "eth0", "nodad")
        guest.run("ip", "-6", "route", "add", "default", "via", "2001:db8:7::1", "dev", "eth0")
        before = guest.run("ip", "-6", "route", "show", "default")
        assert len(await asyncio.to_thread(guest.solicit_routers)) == 1
        assert guest.run("ip", "-6", "route", "show", "default") == before
        assert "2001:db8:7::1" in before


async def test_the_given_address_is_leased_with_all_that_belongs_to_it(plumbing, tmp_path):
    network = NAT
    bridge = await plumbing.plumber.ensure_network(network)
    nic = nic_on(network, "10.254.19.7/24")
    with plumbing.guest(nic, bridge) as guest:
        await plumbing.attach(nic, document_of(nic, "web-1"))
        lease = await asyncio.to_thread(guest.lease, tmp_path)
        assert lease == ["10.254.19.7", "24", "10.254.19.1", "9.9.9.9", "1400", "3600", IPV4]
        assert await asyncio.to_thread(guest.reaches, "10.254.19.1")
        assert await asyncio.to_thread(guest.hostname_told, IPV4) == "web-1"


async def test_who_has_a_given_address_is_told_at_once_that_there_is_no_router(plumbing, lan):
    given, sites = nic_on(lan, "10.9.8.7/24"), nic_on(lan, None)
    with plumbing.guest(given, lan.bridge) as one, plumbing.guest(sites, lan.bridge) as other:
        await plumbing.attach(given, document_of(given, "one"))
        await plumbing.attach(sites, document_of(sites, "other"))
        [(who, hop_limit, message)] = await asyncio.to_thread(one.solicit_routers)
        assert (who, hop_limit) == ("fe80::a9fe:a9fe", 255)
        # RFC 4861, 4.2: hop limit and flags, lifetime, reachable and retransmission times.
        assert bytes.fromhex(message)[4:] == bytes(12)
        assert "default" not in one.run("ip", "-6", "route")
        # The site's own routers are the other one's to wait for.
        assert await asyncio.to_thread(other.solicit_routers) == []


async def test_where_the_site_has_no_dhcp_a_guest_gets_far_enough_to_be_told(
    plumbing, lan, tmp_path
):
    nic = nic_on(lan, None)
    with plumbing.guest(nic, lan.bridge) as guest:
        await plumbing.attach(nic, document_of(nic, "web-1"))
        lease = await asyncio.to_thread(guest.lease, tmp_path, tries=8)
        assert lease == ["169.254.10.1", "16", "1500", "120", IPV4]
        assert await asyncio.to_thread(guest.hostname_told, IPV4) == "web-1"


async def test_where_the_site_has_dhcp_its_lease_is_the_guests(plumbing, lan, tmp_path):
    nic, router = nic_on(lan, None), nic_on(lan, None)
    configuration = tmp_path / "udhcpd.conf"
    configuration.write_text(
        f"start 192.168.77.10\nend 192.168.77.20\ninterface eth0\n"
        f"lease_file {tmp_path}/leases\npidfile {tmp_path}/pid\n"
        "option subnet 255.255.255.0\noption router 192.168.77.1\noption dns 192.168.77.1\n"
        "option lease 600\n"
    )
    (tmp_path / "leases").touch()
    with plumbing.guest(nic, lan.bridge) as guest, plumbing.guest(router, lan.bridge) as site:
        site.run("ip", "addr", "add", "192.168.77.1/24", "dev", "eth0")
        server = await asyncio.create_subprocess_exec(
            *("ip", "netns", "exec", site.name, "busybox", "udhcpd", "-f", str(configuration))
        )
        try:
            await plumbing.attach(nic, document_of(nic, "web-1"))
            await asyncio.sleep(0.5)
            lease = await asyncio.to_thread(guest.lease, tmp_path, tries=8)
            assert lease[-1] == "192.168.77.1"
            # The site's gateway knows nothing of it, and the service is reached all the same.
            assert await asyncio.to_thread(guest.hostname_told, IPV4) == "web-1"
        finally:
            server.terminate()
            await server.wait()


async def test_a_guest_cannot_pose_as_the_service(plumbing, lan):
    liar, victim = nic_on(lan, "10.9.8.7/24"), nic_on(lan, "10.9.8.8/24")
    with plumbing.guest(liar, lan.bridge) as guest, plumbing.guest(victim, lan.bridge) as other:
        await plumbing.attach(liar, document_of(liar, "liar"))
        guest.run("ip", "addr", "add", f"{IPV4}/16", "dev", "eth0")
        guest.run("ip", "addr", "add", "10.9.8.7/24", "dev", "eth0")
        other.run("ip", "addr", "add", "169.254.3.3/16", "dev", "eth0")
        other.run("ip", "addr", "add", "10.9.8.8/24", "dev", "eth0")
        assert await asyncio.to_thread(other.reaches, "10.9.8.7")
        assert not await asyncio.to_thread(other.reaches, IPV4)


async def test_a_guest_is_served_while_the_agent_is_away_and_adopted_without_a_gap(plumbing, lan):
    nic = nic_on(lan, "10.9.8.7/24")
    document = document_of(nic, "web-1")
    with plumbing.guest(nic, lan.bridge) as guest:
        await plumbing.attach(nic, document)
        guest.run("ip", "addr", "add", "169.254.10.1/16", "dev", "eth0")
        await asyncio.to_thread(guest.hostname_told, IPV4)
        before = plumbing.plumber.server_pid
        await plumbing.plumber.stop(terminate_server=False)
        assert await asyncio.to_thread(guest.hostname_told, IPV4) == "web-1"
        plumbing.heard.clear()
        await plumbing.restart()
        assert plumbing.heard == [(nic.nic_id, "served", False)]
        assert plumbing.plumber.server_pid == before
        # A connection that was open stays open through the adoption.
        asking = asyncio.create_task(asyncio.to_thread(_ask_slowly, guest))
        await asyncio.sleep(0.5)
        await plumbing.attach(nic, document_of(nic, "web-2"))
        assert "200" in await asking
        assert await asyncio.to_thread(guest.hostname_told, IPV4) == "web-2"


async def test_a_dead_server_is_replaced_and_knows_everything_again(plumbing, lan):
    nic = nic_on(lan, "10.9.8.7/24")
    with plumbing.guest(nic, lan.bridge) as guest:
        told = msgspec.structs.replace(document_of(nic, "web-1"), user_data=b"secret")
        await plumbing.attach(nic, told)
        guest.run("ip", "addr", "add", "169.254.10.1/16", "dev", "eth0")
        user_data = f"http://{IPV4}/openstack/latest/user_data"
        assert await asyncio.to_thread(guest.get, user_data) == "secret"
        await asyncio.to_thread(guest.get, f"http://{IPV4}/basalt/v1/done", "-d", "x=1")
        before = plumbing.plumber.server_pid
        os.kill(before, signal.SIGKILL)
        again = f"http://{IPV4}/latest/meta-data/hostname"
        retry = ("--retry", "30", "--retry-all-errors", "--retry-delay", "1")
        assert await asyncio.to_thread(guest.get, again, *retry) == "web-1"
        assert plumbing.plumber.server_pid != before
        # The first boot is still over: the secret does not come back.
        left = await asyncio.to_thread(guest.get, user_data)
        assert ("multipart" in left, "secret" in left) == (True, False)
        assert plumbing.heard[-1] == (nic.nic_id, "sealed", True)


async def test_an_update_is_served_at_once_and_may_change_who_gives_addresses(
    plumbing, lan, tmp_path
):
    nic = nic_on(lan, None)
    with plumbing.guest(nic, lan.bridge) as guest:
        await plumbing.attach(nic, document_of(nic, "web-1"))
        given = nic_on(lan, "10.9.8.7/24")
        document = document_of(given, "web-2")
        changed = type(document)(
            **{
                name: getattr(document, name)
                for name in document.__struct_fields__
                if name not in ("nic_id", "mac")
            },
            nic_id=nic.nic_id,
            mac=nic.mac,
        )
        await plumbing.plumber.update(nic_id=nic.nic_id, document=changed)
        lease = await asyncio.to_thread(guest.lease, tmp_path)
        assert lease[0] == "10.9.8.7"
        guest.run("ip", "route", "replace", IPV4, "dev", "eth0")
        assert await asyncio.to_thread(guest.hostname_told, IPV4) == "web-2"


async def test_detaching_leaves_nothing_and_may_be_repeated(plumbing, lan):
    nic = nic_on(lan, "10.9.8.7/24")
    with plumbing.guest(nic, lan.bridge):
        await plumbing.attach(nic, document_of(nic, "web-1"))
        assert len(traces(nic.nic_id)) == 2
        await plumbing.plumber.detach(nic.nic_id)
        assert traces(nic.nic_id) == []
        await plumbing.plumber.detach(nic.nic_id)


async def test_detaching_after_the_guest_is_gone_leaves_nothing(plumbing, lan):
    nic = nic_on(lan, "10.9.8.7/24")
    with plumbing.guest(nic, lan.bridge):
        await plumbing.attach(nic, document_of(nic, "web-1"))
    await plumbing.plumber.detach(nic.nic_id)
    assert traces(nic.nic_id) == []


async def test_attaching_again_repairs_what_somebody_took_away(plumbing, lan):
    nic = nic_on(lan, "10.9.8.7/24")
    document = document_of(nic, "web-1")
    with plumbing.guest(nic, lan.bridge) as guest:
        await plumbing.attach(nic, document)
        guest.run("ip", "addr", "add", "169.254.10.1/16", "dev", "eth0")
        digits = nic.nic_id.replace("-", "")[:12]
        run("ip", "netns", "delete", f"md-{digits}")
        run("nft", "delete", "table", "netdev", f"md-{digits}")
        await plumbing.attach(nic, document)
        assert await asyncio.to_thread(guest.hostname_told, IPV4) == "web-1"


async def test_a_guest_whose_device_is_missing_is_refused_with_a_reason(plumbing, lan):
    nic = nic_on(lan, "10.9.8.7/24")
    with pytest.raises(NetworkError, match="is not there"):
        await plumbing.attach(nic, document_of(nic, "web-1"))
    await plumbing.plumber.detach(nic.nic_id)
    assert traces(nic.nic_id) == []


async def test_a_sweep_removes_our_leftovers_and_nobody_elses(plumbing, lan, tmp_path):
    kept, lost, foreign = (nic_on(lan, "10.9.8.7/24") for _ in range(3))
    other = Plumbing(tmp_path / "other")
    await other.plumber.start()
    try:
        with (
            plumbing.guest(kept, lan.bridge),
            plumbing.guest(lost, lan.bridge),
            plumbing.guest(foreign, lan.bridge),
        ):
            await plumbing.attach(kept, document_of(kept, "kept"))
            await plumbing.attach(lost, document_of(lost, "lost"))
            await other.attach(foreign, document_of(foreign, "foreign"))
            await plumbing.restart()
            removed = await plumbing.plumber.sweep(keep_nics={kept.nic_id}, keep_networks=set())
            assert removed == [f"NIC {tap_name(lost.nic_id)}"]
            assert traces(lost.nic_id) == []
            assert len(traces(kept.nic_id)) == 2
            assert len(traces(foreign.nic_id)) == 2
    finally:
        await other.plumber.sweep(keep_nics=set(), keep_networks=set())
        await other.plumber.stop(terminate_server=True)


def _ask_slowly(guest: Guest) -> str:
    """One connection, held for two seconds between two requests."""
    return guest.run(
        "sh",
        "-c",
        "(printf 'GET /openstack HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n'; sleep 2;"
        " printf 'GET / HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n'; sleep 1)"
        " | busybox nc 169.254.169.254 80 | grep -c '200 OK' | sed 's/2/200/'",
    )


def _asks_for(frame: bytes, address: str) -> bool:
    return frame[12:14] == b"\x08\x06" and socket.inet_aton(address) in frame


@contextlib.contextmanager
def _listening(link: str) -> Iterator[Callable[[], list[bytes]]]:
    """All frames that come to `link`, from now on."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as ear:
        ear.bind((link, 3))
        ear.setblocking(False)

        def heard() -> list[bytes]:
            frames = []
            with contextlib.suppress(BlockingIOError):
                while True:
                    frames.append(ear.recv(2048))
            return frames

        yield heard
