"""Networks of a host: made, changed, removed."""

import ipaddress
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from django.db import IntegrityError, transaction
from django.db.models import ProtectedError

from hypervisors.models import Hypervisor, Network
from hypervisors.services import network_checks as checks
from hypervisors.services.addresses import AddressTakenError, Subnet
from hypervisors.services.jobs import host_must_speak
from hypervisors.services.observers import network_changed
from tenants.actor import Actor
from tenants.errors import InvalidInputError, NameTakenError, RuleError
from tenants.services.audit import audit_record
from tenants.services.live import live_publish


class NetworkInUseError(RuleError):
    code = "network_in_use"
    status = 409


class NetworkChanges(TypedDict, total=False):
    """What can be changed of a network; what is left out stays."""

    gateway: str | None
    gateway6: str | None
    dns: Sequence[str]
    routes: Sequence[Mapping[str, str]]
    search: Sequence[str]
    mtu: int


@transaction.atomic
def network_create(
    *,
    actor: Actor,
    hypervisor: Hypervisor,
    name: str,
    kind: str,
    addressing: str,
    bridge: str = "",
    vlan: int | None = None,
    subnet: str = "",
    gateway: str | None = None,
    subnet6: str = "",
    gateway6: str | None = None,
    dns: Sequence[str] = (),
    routes: Sequence[Mapping[str, str]] = (),
    search: Sequence[str] = (),
    mtu: int = 1500,
) -> Network:
    """A network that VMs of this host can be on. The host makes a NAT network or a VLAN when the
    first VM needs it; a bridge must be there already.

    Raises InvalidInputError, NameTakenError, SubnetOverlapError, HostTooOldError.
    """
    # Two creations on one host take turns, so that neither overlaps with the other.
    host = Hypervisor.objects.select_for_update(no_key=True).get(pk=hypervisor.pk)
    name = checks.name_checked(name)
    nat = kind == Network.Kind.NAT
    if nat and addressing != Network.Addressing.PORTAL:
        raise InvalidInputError(
            "On a NAT network the portal gives the addresses.", field="addressing"
        )
    network = Network(
        tenant_id=host.tenant_id,
        hypervisor=host,
        name=name,
        kind=kind,
        addressing=addressing,
        bridge="" if nat else checks.bridge_checked(host, bridge),
        vlan=checks.vlan_checked(vlan, nat=nat),
    )
    if addressing == Network.Addressing.PORTAL:
        _give_subnets(network, subnet=subnet, subnet6=subnet6)
    elif subnet or gateway or subnet6 or gateway6:
        raise InvalidInputError(
            "The site's own DHCP gives the addresses: leave subnets and gateways empty.",
            field="subnet6" if subnet6 or gateway6 else "subnet",
        )
    changes: NetworkChanges = {
        "gateway": gateway,
        "gateway6": gateway6,
        "dns": dns,
        "routes": routes,
        "search": search,
        "mtu": mtu,
    }
    _apply(network, changes)
    if network.vlan is not None or network.subnet6 or network.routes or network.search:
        # An agent of before would leave them out, and put guests beside the VLAN.
        host_must_speak(host, 3)
    try:
        with transaction.atomic():
            network.save(force_insert=True)
    except IntegrityError as error:
        raise NameTakenError(
            f"{host.name} has a network named “{name}” already. Choose another name.", field="name"
        ) from error
    _audit(actor, network, "network.create", after={**_place(network), **_told(network)})
    return network


@transaction.atomic
def network_change(*, actor: Actor, network: Network, changes: NetworkChanges) -> Network:
    """Tell guests something else of their network from now on: those that are made, and by a job
    for each those that are there.

    Raises InvalidInputError, AddressTakenError; and, where VMs are on the network,
    HostOfflineError, HostTooOldError and VmBusyError.
    """
    Hypervisor.objects.select_for_update(no_key=True).get(pk=network.hypervisor_id)
    locked = Network.objects.select_for_update(no_key=True, of=("self",))
    network = locked.select_related("hypervisor__tenant").get(pk=network.pk)
    before = _told(network)
    _apply(network, changes)
    after = _told(network)
    changed = [name for name in after if after[name] != before[name]]
    if not changed:
        raise InvalidInputError("Nothing would change: the network is like this already.")
    _check_gateways_are_free(network)
    network.save(update_fields=changed)
    _audit(
        actor,
        network,
        "network.change",
        before={name: before[name] for name in changed},
        after={name: after[name] for name in changed},
    )
    network_changed(actor, network)
    return network


@transaction.atomic
def network_remove(*, actor: Actor, network: Network) -> None:
    """Raises NetworkInUseError while a VM is on it."""
    network_id = network.id
    try:
        with transaction.atomic():
            network.delete()
    except ProtectedError as error:
        raise NetworkInUseError(
            f"VMs are on {network.name}. Delete them first, then remove the network."
        ) from error
    network.id = network_id
    _audit(actor, network, "network.remove", before=_place(network))


def default_network_create(hypervisor: Hypervisor) -> Network:
    """The network "nat" that every new host begins with. Its subnet comes from the host's id,
    so that VPNs between a customer's sites rarely meet the same one twice."""
    subnet = default_subnet(hypervisor.id)
    return Network.objects.create(
        tenant_id=hypervisor.tenant_id,
        hypervisor=hypervisor,
        name="nat",
        kind=Network.Kind.NAT,
        addressing=Network.Addressing.PORTAL,
        subnet=str(subnet),
        gateway=str(subnet.network_address + 1),
    )


def default_subnet(hypervisor_id: uuid.UUID) -> ipaddress.IPv4Network:
    """One of the 16,384 /24 in 10.64.0.0/10."""
    number = hypervisor_id.int % 16_384
    return ipaddress.IPv4Network((int(ipaddress.IPv4Address("10.64.0.0")) + (number << 8), 24))


def suggested_subnet6(hypervisor_id: uuid.UUID) -> ipaddress.IPv6Network:
    """A unique local /64 for a host's NAT network: RFC 4193's random 40 bits, from the host's id,
    so that it is the same whenever somebody looks."""
    identifier = hypervisor_id.int & ((1 << 56) - 1)
    return ipaddress.IPv6Network(((0xFD << 120) | (identifier << 64), 64))


# ------------------------------------------------------------------ what a network is like


def _subnets(network: Network) -> list[Subnet]:
    return [ipaddress.ip_network(text) for text in (network.subnet, network.subnet6) if text]


def _give_subnets(network: Network, *, subnet: str, subnet6: str) -> None:
    nat = network.kind == Network.Kind.NAT
    if nat or subnet or not subnet6:
        network.subnet = str(checks.subnet_checked(subnet, private=nat))
    if subnet6:
        network.subnet6 = str(checks.subnet6_checked(subnet6, private=nat))
    for one in _subnets(network):
        checks.overlap_check(network.hypervisor, one, nat=nat, vlan=network.vlan)


def _apply(network: Network, changes: NetworkChanges) -> None:
    """The changes, checked. Raises InvalidInputError."""
    nat = network.kind == Network.Kind.NAT
    subnets = {one.version: one for one in _subnets(network)}
    if "gateway" in changes:
        network.gateway = checks.gateway_checked(
            changes["gateway"], subnets.get(4), needed=nat, field="gateway"
        )
    if "gateway6" in changes:
        network.gateway6 = checks.gateway_checked(
            changes["gateway6"], subnets.get(6), needed=nat, field="gateway6"
        )
    if "dns" in changes:
        network.dns = checks.dns_checked(changes["dns"])
    if "routes" in changes:
        network.routes = checks.routes_checked(changes["routes"], list(subnets.values()))
    if "search" in changes:
        network.search = checks.search_checked(changes["search"])
    if "mtu" in changes:
        network.mtu = checks.mtu_checked(
            changes["mtu"], network.hypervisor, network.bridge, ipv6=6 in subnets
        )


def _check_gateways_are_free(network: Network) -> None:
    for name, gateway in (("gateway", network.gateway), ("gateway6", network.gateway6)):
        field = "address6" if name == "gateway6" else "address"
        if gateway and network.nics.filter(**{field: gateway}).exists():
            raise AddressTakenError(
                f"{gateway} is a VM's address on {network.name}. Give that VM another one first.",
                field=name,
            )


def _told(network: Network) -> dict[str, Any]:
    """What guests are told of it."""
    return {
        "gateway": network.gateway,
        "gateway6": network.gateway6,
        "dns": network.dns,
        "routes": network.routes,
        "search": network.search,
        "mtu": network.mtu,
    }


def _place(network: Network) -> dict[str, Any]:
    return {
        "host": network.hypervisor.name,
        "kind": network.kind,
        "bridge": network.bridge,
        "vlan": network.vlan,
        "subnet": network.subnet,
        "subnet6": network.subnet6,
    }


def _audit(
    actor: Actor,
    network: Network,
    action: str,
    *,
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
) -> None:
    host = network.hypervisor
    audit_record(
        actor=actor,
        tenant=host.tenant,
        action=action,
        object_kind="network",
        object_id=network.id,
        object_name=network.name,
        site_id=host.site_id,
        before=before,
        after=after,
    )
    live_publish(tenant_id=host.tenant_id, kind="hypervisor", object_id=host.id)
