"""Networks of a host, and the addresses that the portal gives on them."""

import ipaddress
import re
import uuid
from collections.abc import Iterator, Sequence

from django.db import IntegrityError, transaction
from django.db.models import ProtectedError

from hypervisors.models import Hypervisor, Network
from tenants.actor import Actor
from tenants.errors import InvalidInputError, NameTakenError, RuleError
from tenants.services.audit import audit_record
from tenants.services.live import live_publish

Subnet = ipaddress.IPv4Network

_WIDEST, _NARROWEST = 16, 29
_PRIVATE = tuple(
    ipaddress.IPv4Network(block)
    # RFC 1918, and RFC 6598 for sites that have used up the others.
    for block in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")
)
_NAME = re.compile(r"\A[A-Za-z0-9][A-Za-z0-9 ._-]{0,62}\Z")
_BRIDGE = re.compile(r"\A[A-Za-z0-9._-]{1,15}\Z")
_MADE_BY_AGENT = re.compile(r"\Abn[0-9a-f]{12}\Z")


class AddressTakenError(RuleError):
    code = "address_taken"
    status = 409


class AddressOutsideError(RuleError):
    code = "address_outside"


class PoolEmptyError(RuleError):
    code = "pool_empty"
    status = 409


class SubnetOverlapError(RuleError):
    """Two networks of one host would hold the same addresses."""

    code = "subnet_overlap"
    status = 409


class NetworkInUseError(RuleError):
    code = "network_in_use"
    status = 409


@transaction.atomic
def network_create(
    *,
    actor: Actor,
    hypervisor: Hypervisor,
    name: str,
    kind: str,
    addressing: str,
    bridge: str = "",
    subnet: str = "",
    gateway: str | None = None,
    dns: Sequence[str] = (),
    mtu: int = 1500,
) -> Network:
    """A network that VMs of this host can be on. The host makes a NAT network when the first
    VM needs it; a bridge must be there already.

    Raises InvalidInputError, NameTakenError, SubnetOverlapError.
    """
    # Two creations on one host take turns, so that neither overlaps with the other.
    host = Hypervisor.objects.select_for_update(no_key=True).get(pk=hypervisor.pk)
    name = name.strip()
    if not _NAME.match(name):
        raise InvalidInputError(
            "A network's name has 1 to 63 letters, digits, spaces, dots, dashes or underscores, "
            "and begins with a letter or digit.",
            field="name",
        )
    if not 576 <= mtu <= 9216:
        raise InvalidInputError("The MTU is a number from 576 to 9216.", field="mtu")
    nat = kind == Network.Kind.NAT
    if nat and addressing != Network.Addressing.PORTAL:
        raise InvalidInputError(
            "On a NAT network the portal gives the addresses.", field="addressing"
        )
    bridge = "" if nat else _checked_bridge(host, bridge.strip())
    parsed: Subnet | None = None
    if addressing == Network.Addressing.PORTAL:
        parsed = _checked_subnet(subnet, private=nat)
        gateway = _checked_gateway(gateway, parsed, needed=nat)
        _check_overlap(host, parsed, nat=nat)
    elif subnet or gateway:
        raise InvalidInputError(
            "The site's own DHCP gives the addresses: leave subnet and gateway empty.",
            field="subnet",
        )
    try:
        with transaction.atomic():
            network = Network.objects.create(
                tenant_id=host.tenant_id,
                hypervisor=host,
                name=name,
                kind=kind,
                addressing=addressing,
                bridge=bridge,
                subnet=str(parsed or ""),
                gateway=gateway,
                dns=_checked_dns(dns),
                mtu=mtu,
            )
    except IntegrityError as error:
        raise NameTakenError(
            f"{host.name} has a network named “{name}” already. Choose another name.", field="name"
        ) from error
    audit_record(
        actor=actor,
        tenant=host.tenant,
        action="network.create",
        object_kind="network",
        object_id=network.id,
        object_name=name,
        site_id=host.site_id,
        after={"host": host.name, "kind": kind, "bridge": bridge, "subnet": network.subnet},
    )
    live_publish(tenant_id=host.tenant_id, kind="hypervisor", object_id=host.id)
    return network


@transaction.atomic
def network_remove(*, actor: Actor, network: Network) -> None:
    """Raises NetworkInUseError while a VM is on it."""
    network_id, host = network.id, network.hypervisor
    try:
        with transaction.atomic():
            network.delete()
    except ProtectedError as error:
        raise NetworkInUseError(
            f"VMs are on {network.name}. Delete them first, then remove the network."
        ) from error
    audit_record(
        actor=actor,
        tenant=host.tenant,
        action="network.remove",
        object_kind="network",
        object_id=network_id,
        object_name=network.name,
        site_id=host.site_id,
        before={"host": host.name, "kind": network.kind, "subnet": network.subnet},
    )
    live_publish(tenant_id=host.tenant_id, kind="hypervisor", object_id=host.id)


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


def default_subnet(hypervisor_id: uuid.UUID) -> Subnet:
    """One of the 16,384 /24 in 10.64.0.0/10."""
    number = hypervisor_id.int % 16_384
    return Subnet((int(ipaddress.IPv4Address("10.64.0.0")) + (number << 8), 24))


def address_allocate(*, network: Network, wanted: str | None) -> str:
    """A free address of `network`, or the one that is `wanted`. Two callers take turns: the
    network's row stays locked until the caller's transaction ends.

    Raises AddressTakenError, AddressOutsideError, PoolEmptyError.
    """
    network = Network.objects.select_for_update(no_key=True).get(pk=network.pk)
    if not network.subnet:
        raise AddressOutsideError(
            f"On {network.name} the site's own DHCP gives the addresses. Leave the address out.",
            field="nics",
        )
    subnet = Subnet(network.subnet)
    given = network.nics.exclude(address=None).values_list("address", flat=True)
    taken = {ipaddress.ip_address(address) for address in given if address}
    if network.gateway:
        taken.add(ipaddress.ip_address(network.gateway))
    if wanted is None:
        for address in subnet.hosts():
            if address not in taken:
                return str(address)
        raise PoolEmptyError(
            f"{network.name} has no free address left. Delete a VM, or add a network.",
            field="nics",
        )
    try:
        asked = ipaddress.ip_address(wanted.strip())
    except ValueError as error:
        raise AddressOutsideError(f"“{wanted}” is not an IP address.", field="nics") from error
    if asked not in subnet or asked in (subnet.network_address, subnet.broadcast_address):
        raise AddressOutsideError(
            f"{wanted} is not a host's address in {network.subnet}.", field="nics"
        )
    if asked in taken:
        raise AddressTakenError(
            f"{wanted} is in use on {network.name}. Leave it out to get a free one.",
            field="nics",
        )
    return str(asked)


# ------------------------------------------------------------------ checks


def _checked_bridge(host: Hypervisor, bridge: str) -> str:
    if not _BRIDGE.match(bridge):
        raise InvalidInputError("Name the host's bridge, for example br0.", field="bridge")
    there = [str(found.get("name")) for found in host.facts.get("bridges", [])]
    if host.facts and bridge not in there:
        known = f"It has {', '.join(there)}." if there else "It has none."
        raise InvalidInputError(
            f"{host.name} has no bridge named “{bridge}”. {known} Make it on the host first.",
            field="bridge",
        )
    return bridge


def _checked_subnet(text: str, *, private: bool) -> Subnet:
    try:
        subnet = Subnet(text.strip())
    except ValueError as error:
        raise InvalidInputError(
            f"“{text}” is not a subnet. Write it like 10.20.0.0/24, with the host bits zero.",
            field="subnet",
        ) from error
    if not _WIDEST <= subnet.prefixlen <= _NARROWEST:
        raise InvalidInputError(
            f"A subnet is from /{_WIDEST} to /{_NARROWEST}; {subnet} is not.", field="subnet"
        )
    if private and not any(subnet.subnet_of(block) for block in _PRIVATE):
        raise InvalidInputError(
            f"{subnet} is not private. Take one from 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16 "
            "or 100.64.0.0/10.",
            field="subnet",
        )
    if subnet.is_multicast or subnet.is_loopback or subnet.is_link_local or subnet.is_reserved:
        raise InvalidInputError(f"{subnet} is not for hosts.", field="subnet")
    return subnet


def _checked_gateway(text: str | None, subnet: Subnet, *, needed: bool) -> str | None:
    if not text:
        return str(subnet.network_address + 1) if needed else None
    try:
        gateway = ipaddress.IPv4Address(text.strip())
    except ValueError as error:
        raise InvalidInputError(f"“{text}” is not an IPv4 address.", field="gateway") from error
    if gateway not in subnet or gateway in (subnet.network_address, subnet.broadcast_address):
        raise InvalidInputError(
            f"The gateway {gateway} is not a host's address in {subnet}.", field="gateway"
        )
    return str(gateway)


def _checked_dns(servers: Sequence[str]) -> list[str]:
    if len(servers) > 8:
        raise InvalidInputError("Name at most 8 name servers.", field="dns")
    try:
        return [str(ipaddress.ip_address(server.strip())) for server in servers]
    except ValueError as error:
        raise InvalidInputError("Name servers are IP addresses.", field="dns") from error


def _check_overlap(host: Hypervisor, subnet: Subnet, *, nat: bool) -> None:
    for network in host.networks.exclude(subnet=""):
        if Subnet(network.subnet).overlaps(subnet):
            raise SubnetOverlapError(
                f"{subnet} overlaps with {network.subnet} of the network {network.name} on this "
                "host. Take another subnet.",
                field="subnet",
            )
    # A bridge to the site's LAN has the site's own subnet, of course.
    for bridge, own in _own_subnets(host) if nat else ():
        if own.overlaps(subnet):
            raise SubnetOverlapError(
                f"{subnet} overlaps with {own}, which the host has on {bridge}. Take another "
                "subnet.",
                field="subnet",
            )


def _own_subnets(host: Hypervisor) -> Iterator[tuple[str, Subnet]]:
    """What the host's own bridges are on, but for those that Basalt made."""
    for bridge in host.facts.get("bridges", []):
        name = str(bridge.get("name"))
        if _MADE_BY_AGENT.match(name):
            continue
        for address in bridge.get("addresses", []):
            try:
                yield name, ipaddress.IPv4Interface(address).network
            except ValueError:
                continue  # IPv6, or not an address at all
