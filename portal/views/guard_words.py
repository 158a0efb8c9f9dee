"""What a NIC's guard is said to have dropped."""

from types import MappingProxyType

from vms.models import Nic

KINDS = MappingProxyType(
    {
        "mac": "from another MAC address",
        "arp": "ARP about an address that is not its own",
        "ipv4": "from an IPv4 address that is not its own",
        "ipv6": "from an IPv6 address that is not its own, or malformed",
        "neighbour": "IPv6 neighbour messages about an address that is not its own",
        "router": "messages that only routers send",
        "dhcp": "answers of a DHCP server, or requests for another machine",
        "other": "with a VLAN tag, or of a kind that guests have no need for",
    }
)


def dropped_total(nic: Nic) -> int:
    """All frames that the NIC's guard has dropped."""
    return sum(nic.dropped.get(kind, 0) for kind in KINDS)


def dropped_words(nic: Nic) -> list[tuple[int, str]]:
    """How many of which kind, the most first; nothing of kinds that there were none of."""
    counted = [(nic.dropped.get(kind, 0), words) for kind, words in KINDS.items()]
    return sorted(((count, words) for count, words in counted if count), reverse=True)
