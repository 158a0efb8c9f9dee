"""What is asked of nftables by netlink itself, in the netdev family. The nft command reads every
table of the host first, or even every rule: that takes seconds where there are many NICs.

So rules are compiled by nft in a network stack that has nothing else in it, read back as the
kernel has them, and put into the host as one transaction.
"""

import contextlib
import socket
import struct
import threading
from collections.abc import Iterable, Iterator, Mapping
from typing import Literal, NamedTuple

from agent.network import nft
from agent.network.errors import NetworkError
from agent.network.namespaces import Namespace
from agent.network.nfnetlink import (
    APPEND,
    CREATE,
    NESTED,
    Kind,
    Message,
    attribute,
    attributes,
    dump,
    only,
    open_socket,
    text,
    transaction,
)

_MOST_TABLES = 16
_MOST_ELEMENTS = 1000
"""In one message, whose attributes end at 64 KiB."""
_TABLE, _NAME = 1, 2
# What is kept of objects as the kernel tells them: not their handles, uses and the like.
_OF_OBJECT = {_NAME, 3, 4}  # its type, its data
_OF_SET = {_NAME, 3, 4, 5, 8, 9, 13}  # flags, the key's type and length, policy, size, nft's notes
_OF_ELEMENTS = {2, 3}  # the set's name, the elements
_OF_CHAIN = {3}  # its name
_OF_RULE = {2, 4, 7}  # the chain's name, expressions, nft's notes
_SET_FLAGS, _SET_ID, _CHAIN_NAME, _CHAIN_HOOK, _CHAIN_POLICY, _CHAIN_TYPE = 3, 10, 3, 4, 5, 7
_HOOK_NUMBER, _HOOK_PRIORITY, _HOOK_DEVICE = 1, 2, 3
_ANONYMOUS = 0x1
_OBJECT_TYPE, _OBJECT_DATA, _COUNTER = 3, 4, 1
_COUNTER_BYTES, _COUNTER_PACKETS = 1, 2
_SET_NAME, _ELEMENTS, _ELEMENT, _KEY, _VALUE = 2, 3, 1, 1, 1


class Hook(NamedTuple):
    """Where a base chain stands."""

    at: Literal["ingress", "egress"]
    device: str
    priority: int
    policy: Literal["accept", "drop"]


def replace_netdev_table(name: str, body: str, hooks: Mapping[str, Hook]) -> None:
    """Have the table hold exactly `body`, in nft's language but for its base chains' hooks, by
    name of the chain; links are by number. There is no moment without its rules.

    Raises NetworkError.
    """
    compiled = _compiled(body, hooks)
    named = attribute(_TABLE, text(name))
    made = [Message(one.kind, named + one.attributes, one.flags) for one in compiled]
    before = [Message(Kind.DELETE_TABLE, named)] if table_exists(name) else []
    with _refusals(f"The kernel refused the rules of {name}"):
        transaction([*before, Message(Kind.NEW_TABLE, named, CREATE), *made])


def delete_netdev_table(name: str) -> None:
    """Idempotent. Raises NetworkError."""
    # An attempt in vain is dear: the kernel waits for all its processors to take it back.
    if table_exists(name):
        with (
            _refusals(f"The table {name} cannot be removed"),
            contextlib.suppress(FileNotFoundError),
        ):
            transaction([Message(Kind.DELETE_TABLE, attribute(_TABLE, text(name)))])


def table_exists(name: str) -> bool:
    """Raises NetworkError."""
    asked = attribute(_TABLE, text(name))
    with _refusals("The kernel does not tell its tables"), open_socket() as kernel:
        try:
            return any(True for _ in dump(kernel, Kind.GET_TABLE, asked, all_of_them=False))
        except FileNotFoundError:
            return False


def netdev_counters() -> Iterator[tuple[str, str, int, int]]:
    """Table, name, packets and bytes of each in the netdev family. Raises NetworkError."""
    counters = attribute(_OBJECT_TYPE, struct.pack("!I", _COUNTER))
    with _refusals("The kernel does not tell its counters"), open_socket() as kernel:
        for told in dump(kernel, Kind.GET_OBJECT, counters):
            found = dict(attributes(told))
            counted = dict(attributes(found[_OBJECT_DATA]))
            yield (
                _named(found[_TABLE]),
                _named(found[_NAME]),
                int.from_bytes(counted[_COUNTER_PACKETS], "big"),
                int.from_bytes(counted[_COUNTER_BYTES], "big"),
            )


def replace_elements(sets: Mapping[tuple[str, str], Iterable[bytes]]) -> None:
    """Have sets, by their table's name and their own, hold exactly these keys. Raises
    NetworkError."""
    messages = []
    for (table, name), keys in sets.items():
        of = attribute(_TABLE, text(table)) + attribute(_SET_NAME, text(name))
        messages.append(Message(Kind.DELETE_ELEMENTS, of))
        elements = [
            attribute(_ELEMENT | NESTED, attribute(_KEY | NESTED, attribute(_VALUE, key)))
            for key in keys
        ]
        for at in range(0, len(elements), _MOST_ELEMENTS):
            some = attribute(_ELEMENTS | NESTED, b"".join(elements[at : at + _MOST_ELEMENTS]))
            messages.append(Message(Kind.NEW_ELEMENTS, of + some, CREATE))
    if messages:
        with _refusals("The kernel refused addresses of others"):
            transaction(messages)


# ------------------------------------------------------------------ compiling


class _Scratch:
    """A network stack with nothing in it but what was compiled last.

    Tables are not deleted one by one, since the kernel waits for all its processors each time:
    once there are some, the whole stack is left to it and another is made.
    """

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        self._namespace: Namespace | None = None
        self._tables = 0

    def load(self, body: str) -> tuple[socket.socket, bytes]:
        """Where to ask for a table that holds `body`, and what to ask. Raises NetworkError."""
        if self._namespace is None or self._tables == _MOST_TABLES:
            self.leave()
            self._namespace, self._tables = self._stack.enter_context(Namespace()), 0
            self._kernel = self._stack.enter_context(self._namespace.inside(open_socket))
        self._tables += 1
        name = f"compiled{self._tables}"
        self._namespace.inside(lambda: nft.apply(f"table netdev {name} {{\n{body}\n}}\n"))
        return self._kernel, attribute(_TABLE, text(name))

    def leave(self) -> None:
        self._namespace = None
        self._stack.close()


_scratch = _Scratch()
_compiling = threading.Lock()


def _compiled(body: str, hooks: Mapping[str, Hook]) -> list[Message]:
    """What makes a table hold `body`, but for the table's name. Raises NetworkError."""
    with _compiling, _refusals("The kernel does not tell the rules"), _whole_answers():
        kernel, table = _scratch.load(body)
        sets = list(dump(kernel, Kind.GET_SET, table))
        # The kernel tells chains of all tables.
        chains = [one for one in dump(kernel, Kind.GET_CHAIN) if one.startswith(table)]
        return [
            *_kept(Kind.NEW_OBJECT, dump(kernel, Kind.GET_OBJECT, table), _OF_OBJECT),
            *(_as_set(number, told) for number, told in enumerate(sets, 1)),
            *_kept(Kind.NEW_ELEMENTS, _elements(kernel, table, sets), _OF_ELEMENTS),
            *(_as_chain(told, hooks) for told in chains),
            *_kept(
                Kind.NEW_RULE, dump(kernel, Kind.GET_RULE, table), _OF_RULE, flags=CREATE | APPEND
            ),
        ]


@contextlib.contextmanager
def _whole_answers() -> Iterator[None]:
    try:
        yield
    except BaseException:
        # What was not read of an answer would be taken for the next one's.
        _scratch.leave()
        raise


def _kept(
    kind: Kind, told: Iterable[bytes], numbers: set[int], *, flags: int = CREATE
) -> list[Message]:
    return [Message(kind, only(one, numbers), flags) for one in told]


def _as_set(number: int, told: bytes) -> Message:
    found = dict(attributes(told))
    kept = only(told, _OF_SET - {_NAME})
    anonymous = int.from_bytes(found.get(_SET_FLAGS, b""), "big") & _ANONYMOUS
    # Those get their names from the kernel, in the order in which they come: the same as before.
    name = b"__set%d\0" if anonymous else found[_NAME]
    identity = attribute(_SET_ID, struct.pack("!I", number))
    return Message(Kind.NEW_SET, attribute(_NAME, name) + kept + identity, CREATE)


def _elements(kernel: socket.socket, table: bytes, sets: Iterable[bytes]) -> Iterator[bytes]:
    for one in sets:
        name = dict(attributes(one))[_NAME]
        for told in dump(kernel, Kind.GET_ELEMENTS, table + attribute(_SET_NAME, name)):
            if _ELEMENTS in dict(attributes(told)):
                yield told


def _as_chain(told: bytes, hooks: Mapping[str, Hook]) -> Message:
    kept = only(told, _OF_CHAIN)
    hook = hooks.get(_named(dict(attributes(told))[_CHAIN_NAME]))
    if hook is not None:
        where = (
            attribute(_HOOK_NUMBER, struct.pack("!I", ("ingress", "egress").index(hook.at)))
            + attribute(_HOOK_PRIORITY, struct.pack("!i", hook.priority))
            + attribute(_HOOK_DEVICE, text(hook.device))
        )
        kept += (
            attribute(_CHAIN_HOOK | NESTED, where)
            + attribute(_CHAIN_POLICY, struct.pack("!I", ("drop", "accept").index(hook.policy)))
            + attribute(_CHAIN_TYPE, text("filter"))
        )
    return Message(Kind.NEW_CHAIN, kept, CREATE)


@contextlib.contextmanager
def _refusals(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise NetworkError("internal", f"{what}: {error.strerror or error}.") from error


def _named(value: bytes) -> str:
    return value.rstrip(b"\0").decode()
