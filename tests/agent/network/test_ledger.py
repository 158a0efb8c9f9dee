"""What an agent remembers of what it made, across any end of it."""

import pytest

from agent.network.ledger import Ledger, NetworkEntry, NicEntry
from agent.network.name_servers import host_name_servers
from agent.network.names import managed_bridge, namespace_name, tap_name, veth_name

NIC = NicEntry(
    nic_id="11111111-1111-1111-1111-111111111111",
    tap="bt111111111111",
    mtu=1500,
    dhcp="take",
    instance_id="i-1",
)
NETWORK = NetworkEntry(network_id="21111111-1111-1111-1111-111111111111")


def test_what_was_noted_is_known_after_a_restart(tmp_path):
    ledger = Ledger(tmp_path)
    ledger.note_nic(NIC)
    ledger.note_network(NETWORK)
    again = Ledger(tmp_path)
    assert again.nics == {NIC.nic_id: NIC}
    assert again.networks == {NETWORK.network_id: NETWORK}


def test_what_was_struck_is_gone_and_may_be_struck_again(tmp_path):
    ledger = Ledger(tmp_path)
    ledger.note_nic(NIC)
    ledger.note_network(NETWORK)
    for _ in range(2):
        ledger.strike_nic(NIC.nic_id)
        ledger.strike_network(NETWORK.network_id)
    again = Ledger(tmp_path)
    assert (again.nics, again.networks) == ({}, {})


@pytest.mark.parametrize("content", [b"", b"{", b'{"nic_id": "../../etc"}', b"\xff"])
def test_a_damaged_note_is_no_reason_to_fail(tmp_path, content):
    ledger = Ledger(tmp_path)
    ledger.note_nic(NIC)
    (tmp_path / "run" / "network" / "nic-other.json").write_bytes(content)
    assert Ledger(tmp_path).nics == {NIC.nic_id: NIC}


def test_names_fit_what_the_kernel_takes():
    names = [make(NIC.nic_id) for make in (tap_name, veth_name, namespace_name, managed_bridge)]
    assert [len(name) <= 15 for name in names] == [True] * 4
    assert len(set(names)) == 4


@pytest.mark.parametrize("identifier", ["", "abc", "../../../../etc", "zzzzzzzz-zzzz"])
def test_what_is_no_id_names_nothing(identifier):
    with pytest.raises(ValueError, match="not an id"):
        tap_name(identifier)


def test_name_servers_that_guests_cannot_reach_are_passed_over(tmp_path):
    stub, real = tmp_path / "resolv.conf", tmp_path / "upstream.conf"
    stub.write_text("# stub\nnameserver 127.0.0.53\noptions edns0\nnameserver fe80::1%eth0\n")
    real.write_text("nameserver 10.0.0.1\nnameserver\nnameserver x\nnameserver fd00::1\n")
    assert host_name_servers((stub, real)) == ["10.0.0.1", "fd00::1"]
    assert host_name_servers((tmp_path / "missing", real)) == ["10.0.0.1", "fd00::1"]
    assert host_name_servers((stub,)) == []
