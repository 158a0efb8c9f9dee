"""The router that says it is none (RFC 4861), so that a guest stops waiting for one.

A guest with an address of its own asks for routers all the same. systemd-networkd calls its
network up when one has answered or twelve seconds have passed, and cloud-init waits for it.
"""

import struct

ROUTER_SOLICITATION = 133
_ROUTER_ADVERTISEMENT = 134
ALL_ROUTERS = "ff02::2"
ALL_NODES = "ff02::1"

# Type, code, checksum (the kernel's work), hop limit and flags unsaid, and a router lifetime
# of nought seconds: "not a default router". No prefix, no name server, no times.
ADVERTISEMENT = struct.pack("!BBHBBHII", _ROUTER_ADVERTISEMENT, 0, 0, 0, 0, 0, 0, 0)


def is_solicitation(message: bytes) -> bool:
    """Whether an ICMPv6 message is a router solicitation of the only form there is."""
    return len(message) >= 8 and message[0] == ROUTER_SOLICITATION and message[1] == 0
