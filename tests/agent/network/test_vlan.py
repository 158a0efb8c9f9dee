"""VLANs of a bridge, as far as a kernel without them can show: the rest is shown in a guest that
runs Debian's own (tests/e2e/test_vlan.py)."""

import contextlib
import json
import socket
import struct
import time
from collections.abc import Iterator

import pytest

from agent.network import vlan, worker
from agent.network.errors import NetworkError
from agent.network.ledger import Ledger, NetworkEntry
from agent.network.names import bridge_name, vlan_bridge, vlan_link, vlan_table
from agent.network.namespaces import inside
from agent.network.operations import MakeVlan, RemoveVlan
from agent.protocol import NetworkSpec
from tests.agent.network.namespaces import Machine
from tests.agent.network.plumbing import Plumbing, new_id

_SOL_PACKET, _AUXDATA, _TAGGED = 263, 8, 1 << 4
TAGGED = MakeVlan(bridge="br-lan", vlan=20, mtu=1500)


def spec(vlan_id: int | None, bridge: str = "br-lan") -> NetworkSpec:
    return NetworkSpec(network_id=new_id(), kind="bridge", bridge=bridge, vlan=vlan_id)


def test_networks_on_one_vlan_share_a_bridge_and_others_have_their_own():
    names = {bridge_name(spec(20)), bridge_name(spec(20))}
    assert names == {vlan_bridge("br-lan", 20)}
    others = {bridge_name(spec(21)), bridge_name(spec(20, "br1")), bridge_name(spec(None))}
    assert len(names | others) == 4
    for bridge in ("a", "a-bridge-of-15-"):
        for number in (1, 4094):
            assert len(vlan_bridge(bridge, number)) == len(vlan_link(bridge, number)) == 14


async def test_a_vlan_goes_with_the_last_network_on_it(tmp_path, monkeypatch):
    done = []
    plumbing = Plumbing(tmp_path)

    async def run(operation):
        done.append(operation)
        return []

    monkeypatch.setattr(plumbing.plumber._worker, "run", run)
    one, other = spec(20), spec(20)
    assert await plumbing.plumber.ensure_network(one) == vlan_bridge("br-lan", 20)
    await plumbing.plumber.ensure_network(other)
    assert done == [TAGGED, TAGGED]
    await plumbing.plumber.remove_network(one.network_id)
    assert done == [TAGGED, TAGGED]
    # A crash in between: the note is there, and the sweep of the next start takes it away.
    plumbing.plumber = plumbing.new_plumber()
    monkeypatch.setattr(plumbing.plumber._worker, "run", run)
    removed = await plumbing.plumber.sweep(keep_nics=set(), keep_networks=set())
    assert removed == [f"network {vlan_bridge('br-lan', 20)}"]
    assert done[2:] == [RemoveVlan(bridge="br-lan", vlan=20)]
    assert Ledger(tmp_path).networks == {}


def test_notes_of_an_agent_of_before_are_still_read(tmp_path):
    folder = tmp_path / "run" / "network"
    folder.mkdir(parents=True)
    network_id = new_id()
    (folder / f"net-{network_id}.json").write_text(f'{{"network_id":"{network_id}"}}')
    assert Ledger(tmp_path).networks == {network_id: NetworkEntry(network_id=network_id)}


@pytest.mark.root
def test_a_vlan_has_a_bridge_of_its_own_or_a_kernel_without_vlans_is_named_and_nothing_is_left():
    own, link = vlan_bridge("br-lan", 20), vlan_link("br-lan", 20)
    with Machine() as host:
        host.run("ip", "link", "add", "br-lan", "type", "bridge")
        host.run("ip", "link", "set", "br-lan", "up")
        if _knows_vlans(host):
            inside(host.name, lambda: vlan.make_vlan(TAGGED))
            links = {one["ifname"]: one for one in json.loads(host.run("ip", "-d", "-j", "link"))}
            assert links[own]["linkinfo"]["info_kind"] == "bridge"
            assert (links[link]["link"], links[link]["master"]) == ("br-lan", own)
            assert links[link]["linkinfo"]["info_data"]["id"] == 20
            assert vlan_table("br-lan", 20) in host.run("nft", "list", "tables", "bridge")
            inside(host.name, lambda: vlan.remove_vlan(RemoveVlan(bridge="br-lan", vlan=20)))
        else:
            with pytest.raises(NetworkError) as refused:
                inside(host.name, lambda: vlan.make_vlan(TAGGED))
            assert refused.value.code == "vlan_unsupported"
            assert "8021q" in refused.value.message
        left = host.run("ip", "-brief", "link") + host.run("nft", "list", "tables")
        assert "br-lan" in left
        assert not [name for name in (own, link, vlan_table("br-lan", 20)) if name in left]


def _knows_vlans(host: Machine) -> bool:
    """Asked of the kernel, which loads a module that is there."""
    host.run("ip", "link", "add", "probe", "type", "bridge")
    tagged = ("link", "probe", "name", "probe.9", "type", "vlan", "id", "9")
    host.run("ip", "link", "add", *tagged, check=False)
    known = "probe.9" in host.run("ip", "-brief", "link")
    host.run("ip", "link", "delete", "probe")
    return known


@pytest.mark.root
def test_a_vlan_of_no_bridge_is_refused_and_removing_it_is_no_error():
    with Machine() as host:
        with pytest.raises(NetworkError) as refused:
            inside(host.name, lambda: vlan.make_vlan(TAGGED))
        assert refused.value.code == "bridge_missing"
        inside(host.name, lambda: worker.perform(RemoveVlan(bridge="br-lan", vlan=20)))


@pytest.mark.root
def test_tagged_frames_pass_the_bridge_but_neither_to_nor_from_a_tap():
    """The rules on frames made by hand. That they hold for one bridge alone is left out: this
    kernel's nftables may not know bridges' names."""
    with Machine() as host, Machine() as uplink, Machine() as trunk, Machine() as guest:
        host.run("ip", "link", "add", "br-lan", "type", "bridge")
        host.run("ip", "link", "set", "br-lan", "up")
        ports = (("up0", uplink), ("up1", trunk), ("bt0123456789ab", guest))
        for port, machine in ports:
            peer = ("peer", "name", "eth0", "netns", machine.name)
            host.run("ip", "link", "add", port, "type", "veth", *peer)
            host.run("ip", "link", "set", port, "master", "br-lan", "up")
            machine.run("ip", "link", "set", "eth0", "up")
        rules = vlan._RULES.format(bridge="br-lan", vlan=20)
        for name in ("ibrname", "obrname"):
            rules = rules.replace(f'meta {name} "br-lan" ', "")
        host.run("nft", f"table bridge basalt-x {{\n{rules}\n}}\n")
        ends = {machine.name: inside(machine.name, _raw_socket) for _, machine in ports}
        heard = {}
        for number, sender in enumerate((uplink, guest)):
            for tag in (20, 21, 0):
                ends[sender.name].send(_frame(number, tag))
        time.sleep(0.3)
        for name, end in ends.items():
            heard[name] = {(frame[11], _tag_of(frame)) for frame in _all_of(end)}
            end.close()
    assert heard[trunk.name] >= {(0, 20), (0, 21), (0, 0), (1, 21), (1, 0)}
    assert heard[guest.name] & {(0, 20), (0, 21), (0, 0)} == {(0, 21), (0, 0)}
    assert (1, 20) not in heard[trunk.name] | heard[uplink.name]


def _raw_socket() -> socket.socket:
    end = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    end.setsockopt(_SOL_PACKET, _AUXDATA, 1)
    end.bind(("eth0", 3))
    end.setblocking(False)
    return end


def _frame(number: int, tag: int) -> bytes:
    vlan_tag = b"\x81\x00" + tag.to_bytes(2, "big") if tag else b""
    return b"\xff" * 6 + bytes([2, 0, 0, 0, 9, number]) + vlan_tag + b"\x88\xb5" + bytes(60)


def _all_of(end: socket.socket) -> Iterator[bytes]:
    """Frames of ours, with their tags where they were on the wire."""
    with contextlib.suppress(BlockingIOError):
        while True:
            frame, control, _, _ = end.recvmsg(2048, 256)
            status, *_, tag, _ = struct.unpack("IIIHHHH", control[0][2][:20])
            if status & _TAGGED:
                frame = frame[:12] + b"\x81\x00" + tag.to_bytes(2, "big") + frame[12:]
            if frame[6:11] == bytes([2, 0, 0, 0, 9]):
                yield frame


def _tag_of(frame: bytes) -> int:
    return int.from_bytes(frame[14:16], "big") if frame[12:14] == b"\x81\x00" else 0
