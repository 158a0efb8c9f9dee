"""What is checked of NICs before anything is made. The portal checks too; the host does not rely
on it."""

from collections.abc import Iterator
from ipaddress import IPv4Interface, IPv6Interface, ip_address, ip_interface, ip_network
from pathlib import Path

from agent.errors import JobFailedError
from agent.protocol import NicSpec

Interface = IPv4Interface | IPv6Interface


_LINKS = Path("/sys/class/net")


def check_nic(nic: NicSpec) -> None:
    """What types cannot say. Raises JobFailedError."""
    _check_mtu(nic)
    try:
        for given, subnet in _given(nic):
            if subnet is not None and given.ip not in ip_network(subnet):
                raise JobFailedError(
                    "internal",
                    f"The address {given.ip} is not in the network {subnet}. Choose one inside.",
                )
        _check_network(nic)
    except ValueError as error:
        raise JobFailedError(
            "internal", f"The NIC {nic.mac} has an address that cannot be read: {error}."
        ) from error


def _check_mtu(nic: NicSpec) -> None:
    try:
        most = int((_LINKS / (nic.network.bridge or "") / "mtu").read_text())
    except (OSError, ValueError):
        return  # no such bridge: what makes the network says so better
    if nic.network.mtu > most:
        raise JobFailedError(
            "mtu_too_big",
            f"The network's MTU is {nic.network.mtu}, and frames on the host's bridge "
            f"{nic.network.bridge} have {most} bytes at most. Lower the network's MTU, or raise "
            "that of the bridge and of all that is on it.",
        )


def _given(nic: NicSpec) -> Iterator[tuple[Interface, str | None]]:
    """Each given address, with the subnet that it has to be in."""
    for text in (nic.address, nic.address6):
        if text is not None:
            given = ip_interface(text)
            yield given, nic.network.subnet6 if given.version == 6 else nic.network.subnet


def _check_network(nic: NicSpec) -> None:
    network = nic.network
    pairs = [(network.subnet, network.gateway)] if network.kind == "nat" else []
    if network.kind == "nat" and network.subnet6 is not None:
        pairs.append((network.subnet6, network.gateway6))
    for subnet, gateway in pairs:
        if ip_address(gateway or "") not in ip_network(subnet or ""):
            raise JobFailedError(
                "internal",
                f"The address {gateway} is not in the network {subnet}. Choose one inside.",
            )
    for route in network.routes:
        ip_network(route.destination)
        ip_address(route.gateway)
    for server in network.dns:
        ip_address(server)
