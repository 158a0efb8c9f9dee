"""Stand-ins for machines: network namespaces with links between them, made with `ip`.

Needs root, and Debian's iproute2, nftables, curl, busybox and iputils-ping.
"""

import contextlib
import ctypes
import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

_CLONE_NEWNET = 0x4000_0000

_LEASED = """#!/bin/sh
[ "$1" = bound ] || exit 0
ip addr add "$ip/$mask" dev "$interface"
# RFC 3442: where classless routes are given, they alone count.
[ -n "$staticroutes" ] || staticroutes="0.0.0.0/0 $router"
set -- $staticroutes
while [ "$#" -ge 2 ]; do
    via="via $2"
    [ "$2" = 0.0.0.0 ] && via=
    ip route add "$1" $via dev "$interface"
    shift 2
done
echo "$ip $mask $router $dns $mtu $lease $serverid" > "%s"
"""

# RFC 4861, 4.1: type 133 to all routers; answers are of type 134.
_SOLICIT = """
import socket, struct, sys, time
link = socket.if_nametoindex("eth0")
ear = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
ear.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT, 1)
ear.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
ear.sendto(bytes([133, 0, 0, 0, 0, 0, 0, 0]), ("ff02::2", 0, 0, link))
end = time.monotonic() + float(sys.argv[1])
while (left := end - time.monotonic()) > 0:
    ear.settimeout(left)
    try:
        message, control, _, sender = ear.recvmsg(2048, 256)
    except TimeoutError:
        break
    if message[0] == 134:
        print(sender[0].split("%")[0], struct.unpack("i", control[0][2])[0], message.hex())
"""


@contextlib.contextmanager
def own_stack() -> Iterator[None]:
    """Have this thread, and what it starts, in a network stack of its own, without filters on
    bridges."""
    libc = ctypes.CDLL(None, use_errno=True)
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        assert libc.unshare(_CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
        run("ip", "link", "set", "lo", "up")
        for switch in Path("/proc/sys/net/bridge").glob("bridge-nf-call-*"):
            switch.write_text("0")
        yield
    finally:
        assert libc.setns(before, _CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
        os.close(before)


def run(*command: str, check: bool = True, timeout: float = 30) -> str:
    """Standard output. Raises CalledProcessError."""
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=timeout, cwd="/"
    )
    assert not check or done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout.strip()


class Machine:
    """A namespace. `with` removes it, and all links in it."""

    def __init__(self) -> None:
        self.name = f"tm-{uuid.uuid4().hex[:10]}"

    def __enter__(self) -> "Machine":
        run("ip", "netns", "add", self.name)
        self.run("ip", "link", "set", "lo", "up")
        return self

    def __exit__(self, *_: object) -> None:
        run("ip", "netns", "delete", self.name)

    def run(self, *command: str, check: bool = True, timeout: float = 30) -> str:
        return run("ip", "netns", "exec", self.name, *command, check=check, timeout=timeout)

    def reaches(self, address: str) -> bool:
        loss = self.run("ping", "-c", "1", "-W", "2", address, check=False)
        return " 0% packet loss" in loss


class Guest(Machine):
    """A machine with one NIC; the host's end of it is a link called `tap`."""

    def __init__(self, *, tap: str, mac: str, bridge: str) -> None:
        super().__init__()
        self._tap, self._mac, self._bridge = tap, mac, bridge

    def __enter__(self) -> "Guest":
        super().__enter__()
        peer = ("peer", "name", "eth0", "netns", self.name, "address", self._mac)
        run("ip", "link", "add", self._tap, "type", "veth", *peer)
        run("ip", "link", "set", self._tap, "master", self._bridge, "up")
        # nodad: the test need not wait for a link-local address.
        self.run("sysctl", "-qw", "net.ipv6.conf.eth0.accept_dad=0")
        self.run("ip", "link", "set", "eth0", "up")
        return self

    def lease(self, folder: Path, *, tries: int = 3) -> list[str] | None:
        """Ask by DHCP: address, mask bits, router, name servers, MTU, seconds, server; or
        None without an answer. The address is in use afterwards."""
        told = folder / f"{self.name}.lease"
        script = folder / f"{self.name}.sh"
        script.write_text(_LEASED % told)
        script.chmod(0o755)
        client = ("busybox", "udhcpc", "-f", "-i", "eth0", "-n", "-q", "-s", str(script))
        options = ("-O", "mtu", "-O", "staticroutes")
        self.run(*client, *options, "-t", str(tries), "-T", "2", check=False, timeout=60)
        return told.read_text().split() if told.exists() else None

    def solicit_routers(self, *, seconds: float = 2) -> list[tuple[str, int, str]]:
        """Who answered a router solicitation, from which hop limit, and the message in hex."""
        told = self.run(sys.executable, "-c", _SOLICIT, str(seconds), timeout=seconds + 30)
        return [(who, int(hops), hexed) for who, hops, hexed in map(str.split, told.splitlines())]

    def get(self, url: str, *options: str) -> str:
        return self.run("curl", "-sS", "-m", "5", *options, url)

    def hostname_told(self, host: str) -> str:
        """Who the metadata service at `host` says this guest is."""
        meta = json.loads(self.get(f"http://{host}/openstack/latest/meta_data.json"))
        return str(meta["hostname"])
