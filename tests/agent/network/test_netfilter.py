"""Tables that we hand to the kernel ourselves are the ones that nft would have made."""

import json
import uuid
from collections.abc import Iterator

import pytest

from agent.network import nft, wire
from agent.network.errors import NetworkError
from agent.network.netfilter import (
    Hook,
    delete_netdev_table,
    netdev_counters,
    replace_elements,
    replace_netdev_table,
    table_exists,
)
from agent.network.operations import Guard, Wire
from tests.agent.network.namespaces import own_stack, run

pytestmark = pytest.mark.root
MAC = "52:54:00:12:34:56"
GUARDS = {
    "none": None,
    "addresses of the site's": Guard(protected=["10.9.0.1", "fd00:9::1", "10.9.0.7"]),
    "one address": Guard(addresses=["10.9.8.7"], protected=["10.9.0.1"]),
    "addresses of both families": Guard(addresses=["10.9.8.7", "fd00:9::7", "10.9.8.9", "fd00::9"]),
}
HOOKS = {
    "from_guest": Hook("ingress", "tap0", -300, "accept"),
    "from_metadata": Hook("ingress", "veth0", -300, "drop"),
    "to_guest": Hook("egress", "tap0", 0, "accept"),
}


@pytest.fixture
def stack() -> Iterator[None]:
    """A network stack with the two links that a wire needs."""
    with own_stack():
        for link in ("tap0", "veth0"):
            run("ip", "tuntap", "add", link, "mode", "tap")
        yield


def number_of(link: str) -> int:
    [found] = json.loads(run("ip", "-j", "link", "show", link))
    return int(found["ifindex"])


def rules(guard: Guard | None, counted: dict[str, tuple[int, int]] | None = None) -> str:
    operation = Wire(
        nic_id=str(uuid.uuid4()), tap="tap0", mtu=1500, dhcp="take", listeners=True, mac=MAC,
        guard=guard,
    )  # fmt: skip
    return wire.rules(operation, counted or {}, tap=number_of("tap0"), veth=number_of("veth0"))


def by_nft(name: str, body: str) -> None:
    for chain, hook in HOOKS.items():
        head = f"chain {chain} {{\n"
        assert head in body
        line = (
            f'type filter hook {hook.at} device "{hook.device}" priority {hook.priority}; '
            f"policy {hook.policy};\n"
        )
        body = body.replace(head, head + line)
    nft.apply(f"table netdev {name} {{\n{body}\n}}\n")


def listed(name: str) -> str:
    return run("nft", "-nn", "list", "table", "netdev", name).replace(name, "table")


@pytest.mark.parametrize("guard", GUARDS.values(), ids=GUARDS)
def test_a_table_is_what_nft_makes_of_the_same_words(stack, guard):
    body = rules(guard, {"arp": (7, 900)})
    replace_netdev_table("ours", body, HOOKS)
    ours = listed("ours")
    delete_netdev_table("ours")
    by_nft("theirs", body)
    assert ours == listed("theirs")
    assert ours.count("hook") == len(HOOKS)


def test_another_table_takes_its_place_and_none_is_left_of_it(stack):
    for guard in (*GUARDS.values(), GUARDS["one address"]):
        replace_netdev_table("ours", rules(guard), HOOKS)
    once = listed("ours")
    delete_netdev_table("ours")
    assert not table_exists("ours")
    replace_netdev_table("ours", rules(GUARDS["one address"]), HOOKS)
    assert listed("ours") == once
    assert run("nft", "list", "tables").split() == ["table", "netdev", "ours"]


def test_more_tables_than_are_compiled_at_one_place_are_all_whole(stack):
    body = rules(GUARDS["one address"])
    for number in range(35):
        replace_netdev_table(f"ours{number}", body, HOOKS)
    assert len({listed(f"ours{number}") for number in range(35)}) == 1


def test_a_table_that_the_kernel_refuses_leaves_what_was_there(stack):
    replace_netdev_table("ours", rules(GUARDS["none"]), HOOKS)
    before = listed("ours")
    hooks = HOOKS | {"to_guest": Hook("egress", "longer-than-a-link's-name", 0, "accept")}
    with pytest.raises(NetworkError, match="refused the rules of ours"):
        replace_netdev_table("ours", rules(GUARDS["one address"]), hooks)
    assert listed("ours") == before


def test_words_that_nft_does_not_know_are_refused(stack):
    with pytest.raises(NetworkError, match="nft refused"):
        replace_netdev_table("ours", "chain x {\n no such rule\n}", {})
    assert not table_exists("ours")
    # The next one is none the worse for it.
    replace_netdev_table("ours", rules(GUARDS["none"]), HOOKS)


def test_elements_are_replaced_in_one_go(stack):
    replace_netdev_table("ours", rules(Guard(protected=["10.9.0.1", "fd00:9::1"])), HOOKS)
    four, six = bytes([10, 9, 0, 2]), bytes.fromhex("fd00" + "0" * 27 + "2")
    replace_elements({("ours", "protected4"): [four], ("ours", "protected6"): [six]})
    by_nft_itself = rules(Guard(protected=["10.9.0.2", "fd00::2"]))
    now = listed("ours")
    replace_netdev_table("ours", by_nft_itself, HOOKS)
    assert listed("ours") == now
    with pytest.raises(NetworkError):
        replace_elements({("ours", "protected4"): [], ("ours", "no_such_set"): [four]})
    assert listed("ours") == now
    replace_elements({("ours", "protected4"): []})
    assert "10.9.0.2" not in listed("ours")


def test_thousands_of_others_addresses_find_room(stack):
    replace_netdev_table("ours", rules(Guard()), HOOKS)
    many = [bytes([10, 9, number >> 8, number & 255]) for number in range(5000)]
    replace_elements({("ours", "protected4"): many})
    assert listed("ours").count("10.9.") == len(many)


def test_counters_are_told_by_table_and_deleting_twice_is_no_error(stack):
    replace_netdev_table("ours", rules(GUARDS["one address"], {"arp": (7, 900)}), HOOKS)
    assert ("ours", "dropped_arp", 7, 900) in list(netdev_counters())
    delete_netdev_table("ours")
    delete_netdev_table("ours")
    assert list(netdev_counters()) == []
