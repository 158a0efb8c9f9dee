"""VLANs of a bridge, as far as a kernel without them can show: the rest is shown in a guest that
runs Debian's own (tests/e2e/test_vlan.py)."""

from pathlib import Path

import pytest

from agent.network import vlan, worker
from agent.network.errors import NetworkError
from agent.network.ledger import Ledger, NetworkEntry
from agent.network.names import bridge_name, vlan_bridge, vlan_link
from agent.network.namespaces import inside
from agent.network.operations import MakeVlan, RemoveVlan
from agent.protocol import NetworkSpec
from tests.agent.network.namespaces import Machine
from tests.agent.network.plumbing import Plumbing, new_id

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
def test_a_kernel_without_vlans_is_named_and_nothing_is_left():
    if Path("/proc/net/vlan").exists():
        pytest.skip("this kernel has VLANs: tests/e2e/test_vlan.py shows them at work")
    with Machine() as host:
        host.run("ip", "link", "add", "br-lan", "type", "bridge")
        with pytest.raises(NetworkError) as refused:
            inside(host.name, lambda: vlan.make_vlan(TAGGED))
        assert refused.value.code == "vlan_unsupported"
        assert "8021q" in refused.value.message
        assert vlan_bridge("br-lan", 20) not in host.run("ip", "-brief", "link")


@pytest.mark.root
def test_a_vlan_of_no_bridge_is_refused_and_removing_it_is_no_error():
    with Machine() as host:
        with pytest.raises(NetworkError) as refused:
            inside(host.name, lambda: vlan.make_vlan(TAGGED))
        assert refused.value.code == "bridge_missing"
        inside(host.name, lambda: worker.perform(RemoveVlan(bridge="br-lan", vlan=20)))
