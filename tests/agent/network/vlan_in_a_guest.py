"""VLANs at work, with guests on them and beside them. Run inside a guest whose kernel has VLANs
(tests/e2e/test_vlan.py), and by hand on a host that has."""

import asyncio
import contextlib
import socket
import struct
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from agent.network.errors import NetworkError
from agent.network.names import tap_name, vlan_bridge
from agent.protocol import NetworkSpec
from tests.agent.network.namespaces import Machine, run
from tests.agent.network.plumbing import Plumbing, document_of, new_id, nic_on

IPV4 = "169.254.169.254"
IPV6 = "[fe80::a9fe:a9fe%25eth0]"
_SOL_PACKET, _AUXDATA, _TAGGED = 263, 8, 1 << 4


class Switch(Machine):
    """What the host's bridge is plugged into: the untagged network 192.0.2.0/24, and on VLAN 20
    10.20.0.0/24."""

    def __enter__(self) -> "Switch":
        super().__enter__()
        self.bridge, self.port = f"tb{uuid.uuid4().hex[:10]}", f"tu{uuid.uuid4().hex[:10]}"
        run("ip", "link", "add", self.bridge, "type", "bridge")
        run("ip", "link", "add", self.port, "type", "veth", "peer", "name", "eth0", "netns",
            self.name)  # fmt: skip
        run("ip", "link", "set", self.port, "master", self.bridge, "up")
        run("ip", "link", "set", self.bridge, "up")
        self.run("ip", "link", "set", "eth0", "up")
        self.run("ip", "addr", "add", "192.0.2.1/24", "dev", "eth0")
        self.run("ip", "link", "add", "link", "eth0", "eth0.20", "type", "vlan", "id", "20")
        self.run("ip", "link", "set", "eth0.20", "up")
        self.run("ip", "addr", "add", "10.20.0.1/24", "dev", "eth0.20")
        return self

    def __exit__(self, *arguments: object) -> None:
        run("ip", "link", "delete", self.bridge)
        super().__exit__(*arguments)


@pytest.fixture
def switch() -> Iterator[Switch]:
    with Switch() as machine:
        yield machine


@pytest.fixture
async def plumbing(tmp_path: Path) -> AsyncIterator[Plumbing]:
    one = Plumbing(tmp_path / "agent")
    await one.plumber.start()
    yield one
    await one.plumber.sweep(keep_nics=set(), keep_networks=set())
    await one.plumber.stop(terminate_server=True)


def tagged(switch: Switch, vlan: int = 20) -> NetworkSpec:
    return NetworkSpec(
        network_id=new_id(),
        kind="bridge",
        bridge=switch.bridge,
        vlan=vlan,
        subnet="10.20.0.0/24",
        gateway="10.20.0.1",
    )


async def test_a_guest_on_a_vlan_is_on_it_alone_and_told_who_it_is(switch, plumbing, tmp_path):
    network = tagged(switch)
    bridge = await plumbing.plumber.ensure_network(network)
    nic = nic_on(network, "10.20.0.7/24")
    with plumbing.guest(nic, bridge) as guest, _trunk(switch.port) as heard:
        await plumbing.attach(nic, document_of(nic, "web-1"))
        lease = await asyncio.to_thread(guest.lease, tmp_path)
        assert lease[:3] == ["10.20.0.7", "24", "10.20.0.1"]
        assert await asyncio.to_thread(guest.hostname_told, IPV4) == "web-1"
        assert await asyncio.to_thread(guest.hostname_told, IPV6) == "web-1"
        assert await asyncio.to_thread(guest.reaches, "10.20.0.1")
        frames = heard()
    mac = bytes.fromhex(nic.mac.replace(":", ""))
    own = [(vlan, frame) for vlan, frame in frames if mac in (frame[:6], frame[6:12])]
    assert own
    assert [(vlan, frame.hex()) for vlan, frame in own if vlan != 20] == []
    service = (socket.inet_aton(IPV4), socket.inet_pton(socket.AF_INET6, "fe80::a9fe:a9fe"))
    assert [frame for _, frame in frames if any(address in frame for address in service)] == []


async def test_a_guest_beside_a_vlan_does_not_hear_those_on_it(switch, plumbing):
    network = tagged(switch)
    bridge = await plumbing.plumber.ensure_network(network)
    inside = nic_on(network, "10.20.0.7/24")
    beside = nic_on(NetworkSpec(network_id=new_id(), kind="bridge", bridge=switch.bridge), None)
    mac = bytes.fromhex(inside.mac.replace(":", ""))
    with plumbing.guest(inside, bridge) as guest, plumbing.guest(beside, switch.bridge):
        guest.run("ip", "addr", "add", "10.20.0.7/24", "dev", "eth0")
        with _trunk(tap_name(beside.nic_id)) as heard, _trunk(switch.port) as passed:
            # Broadcast by one side, then by the other: each asks who the other is.
            assert await asyncio.to_thread(guest.reaches, "10.20.0.1")
            guest.run("ping", "-c", "1", "-W", "1", "10.20.0.99", check=False)
            switch.run("ping", "-c", "1", "-W", "1", "10.20.0.98", check=False)
            assert any(mac == frame[6:12] for _, frame in passed())
            assert [vlan for vlan, _ in heard() if vlan] == []


async def test_a_guest_beside_a_vlan_does_not_speak_on_it(switch, plumbing):
    await plumbing.plumber.ensure_network(tagged(switch))
    beside = NetworkSpec(network_id=new_id(), kind="bridge", bridge=switch.bridge)
    nic = nic_on(beside, "192.0.2.7/24")
    with plumbing.guest(nic, switch.bridge) as guest:
        guest.run("ip", "addr", "add", "192.0.2.7/24", "dev", "eth0")
        assert await asyncio.to_thread(guest.reaches, "192.0.2.1")
        guest.run("ip", "link", "add", "link", "eth0", "eth0.20", "type", "vlan", "id", "20")
        guest.run("ip", "link", "set", "eth0.20", "up")
        guest.run("ip", "addr", "add", "10.20.0.66/24", "dev", "eth0.20")
        assert not await asyncio.to_thread(guest.reaches, "10.20.0.1")
        assert not await asyncio.to_thread(switch.reaches, "10.20.0.66")
        # Without the rules it does: they are what keeps it out.
        tables = run("nft", "list", "tables", "bridge").split()
        [table] = [name for name in tables if name.startswith("basalt-")]
        run("nft", "delete", "table", "bridge", table)
        assert await asyncio.to_thread(guest.reaches, "10.20.0.1")


async def test_a_bridge_that_filters_vlans_lets_this_one_through(switch, plumbing):
    run("ip", "link", "set", switch.bridge, "type", "bridge", "vlan_filtering", "1")
    run("bridge", "vlan", "add", "dev", switch.port, "vid", "20")
    network = tagged(switch)
    bridge = await plumbing.plumber.ensure_network(network)
    nic = nic_on(network, "10.20.0.7/24")
    with plumbing.guest(nic, bridge) as guest:
        guest.run("ip", "addr", "add", "10.20.0.7/24", "dev", "eth0")
        assert await asyncio.to_thread(guest.reaches, "10.20.0.1")


async def test_two_networks_share_a_vlan_and_the_last_one_takes_it_away(switch, plumbing):
    links = run("ip", "-brief", "link")
    one, other = tagged(switch), tagged(switch)
    for network in (one, other, one):
        assert await plumbing.plumber.ensure_network(network) == vlan_bridge(switch.bridge, 20)
    await plumbing.plumber.remove_network(one.network_id)
    assert vlan_bridge(switch.bridge, 20) in run("ip", "-brief", "link")
    await plumbing.restart()
    removed = await plumbing.plumber.sweep(keep_nics=set(), keep_networks=set())
    assert removed == [f"network {vlan_bridge(switch.bridge, 20)}"]
    # Without the numbers that the kernel counts up.
    names = [line.split("@")[0].split()[0] for line in run("ip", "-brief", "link").splitlines()]
    assert names == [line.split("@")[0].split()[0] for line in links.splitlines()]
    assert "basalt-" not in run("nft", "list", "tables", "bridge")


async def test_a_vlan_that_somebody_else_has_made_is_left_to_them(switch, plumbing):
    run("ip", "link", "add", "link", switch.bridge, "theirs", "type", "vlan", "id", "20")
    try:
        with pytest.raises(NetworkError) as refused:
            await plumbing.plumber.ensure_network(tagged(switch))
        assert refused.value.code == "vlan_in_use"
    finally:
        run("ip", "link", "delete", "theirs")


@contextlib.contextmanager
def _trunk(link: str) -> Iterator[Callable[[], list[tuple[int, bytes]]]]:
    """Frames on the host's uplink from now on, each with its VLAN: 0 for none."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as ear:
        # Until it is bound it hears nothing: with a protocol it would hear every link.
        ear.setsockopt(_SOL_PACKET, _AUXDATA, 1)
        ear.bind((link, 3))
        ear.setblocking(False)

        def heard() -> list[tuple[int, bytes]]:
            frames = []
            with contextlib.suppress(BlockingIOError):
                while True:
                    frame, control, _, _ = ear.recvmsg(2048, 256)
                    status, *_, tag, _ = struct.unpack("IIIHHHH", control[0][2][:20])
                    if frame[12:14] == b"\x81\x00":
                        frames.append((int.from_bytes(frame[14:16], "big") & 0xFFF, frame))
                    else:
                        frames.append(((tag & 0xFFF) if status & _TAGGED else 0, frame))
            return frames

        yield heard


async def test_a_bridge_that_is_down_is_said_and_can_be_tried_again(switch, plumbing):
    run("ip", "link", "set", switch.bridge, "down")
    network = tagged(switch)
    try:
        with pytest.raises(NetworkError) as refused:
            await plumbing.plumber.ensure_network(network)
        assert refused.value.code == "bridge_down"
        assert f"ip link set {switch.bridge} up" in refused.value.message
    finally:
        run("ip", "link", "set", switch.bridge, "up")
    assert await plumbing.plumber.ensure_network(network) == vlan_bridge(switch.bridge, 20)
    await plumbing.plumber.remove_network(network.network_id)
    assert "basalt-" not in run("nft", "list", "tables", "bridge")
