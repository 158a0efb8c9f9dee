"""The registry by which higher layers hear what hosts report about their guests."""

from collections.abc import Callable
from dataclasses import dataclass

from agent.protocol import Boot, GuestUsage, VmReport
from hypervisors.models import Hypervisor, Network
from tenants.actor import Actor


@dataclass(frozen=True, kw_only=True)
class GuestObserver:
    """`snapshot` gets all guests of a host; `changed` one guest, or None with its id
    when it is gone; `usage` how busy some of them were; `boot` how one guest's first boot goes.
    All run inside a transaction."""

    snapshot: Callable[[Hypervisor, list[VmReport]], None]
    changed: Callable[[Hypervisor, str, VmReport | None], None]
    usage: Callable[[Hypervisor, list[GuestUsage]], None]
    boot: Callable[[Hypervisor, str, Boot], None]


_observers: list[GuestObserver] = []


def guest_observer_register(observer: GuestObserver) -> None:
    _observers.append(observer)


def guest_observers() -> tuple[GuestObserver, ...]:
    return tuple(_observers)


NetworkObserver = Callable[[Actor, Network], None]
"""Told within the transaction that changes what guests are told of a network."""

_network_observers: list[NetworkObserver] = []


def network_observer_register(observer: NetworkObserver) -> None:
    _network_observers.append(observer)


def network_changed(actor: Actor, network: Network) -> None:
    """Tell all who have guests on it."""
    for observer in _network_observers:
        observer(actor, network)
