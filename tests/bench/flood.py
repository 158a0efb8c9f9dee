"""A guest that means ill: `python -m tests.bench.flood ADDRESS`, until it is ended.

Connections opened and left, requests one after another without waiting for answers, and
packets for DHCP, as fast as one processor can.
"""

import contextlib
import itertools
import socket
import sys

_REQUESTS = b"GET /openstack/latest/meta_data.json HTTP/1.1\r\nHost: x\r\n\r\n" * 50


def main(address: str) -> None:
    packets = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    packets.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    packets.setblocking(False)
    with contextlib.suppress(OSError):
        packets.bind(("", 68))
    held: list[socket.socket] = []
    for _ in itertools.count():
        one = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        one.setblocking(False)
        with contextlib.suppress(OSError):
            one.connect((address, 80))
        held.append(one)
        for other in held[-60:]:
            with contextlib.suppress(OSError):
                other.send(_REQUESTS)
        for _ in range(20):
            with contextlib.suppress(OSError):
                packets.sendto(bytes(300), (address, 67))
        if len(held) > 400:
            for old in held[:200]:
                old.close()
            del held[:200]


if __name__ == "__main__":
    main(sys.argv[1])
