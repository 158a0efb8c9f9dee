"""The peer of `script/bench metadata`: haproxy, one per namespace, with a canned reply."""

import contextlib
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

from tests.agent.network.namespaces import Machine, run

_CONFIGURATION = """
global
    maxconn 24
defaults
    mode http
    timeout client 15s
    timeout server 15s
    timeout connect 5s
    timeout http-keep-alive 15s
frontend metadata
    bind 169.254.169.254:80
    http-request return status 200 content-type application/json file {reply}
"""


_COMMAND = ("haproxy", "-db", "-q", "-f")


def available() -> bool:
    return shutil.which("haproxy") is not None


class Proxy(Machine):
    """A namespace with haproxy in it, wired to a guest's namespace where there is one."""

    def __init__(self, folder: Path, reply: bytes) -> None:
        super().__init__()
        self._file = folder / f"{self.name}.cfg"
        (folder / f"{self.name}.json").write_bytes(reply)
        self._file.write_text(_CONFIGURATION.format(reply=folder / f"{self.name}.json"))

    def start(self, guest: Machine | None) -> None:
        peer = ("peer", "name", "eth0", "netns", guest.name) if guest else ("peer", "name", "far")
        self.run("ip", "link", "add", "eth0", "type", "veth", *peer)
        self.run("ip", "addr", "add", "169.254.169.254/16", "dev", "eth0")
        self.run("ip", "link", "set", "eth0", "up")
        if guest is not None:
            guest.run("ip", "addr", "add", "169.254.10.1/16", "dev", "eth0")
            guest.run("ip", "link", "set", "eth0", "up")
        self.process = subprocess.Popen(
            # As our own server has it.
            ["ip", "netns", "exec", self.name, "nice", "-n", "-10", *_COMMAND, str(self._file)]
        )

    def __exit__(self, *arguments: object) -> None:
        self.process.kill()
        self.process.wait()
        super().__exit__(*arguments)


@contextlib.contextmanager
def proxies(folder: Path, *, count: int, guests: int, reply: bytes) -> Iterator[list[Machine]]:
    """So many in all, of which some have guests: those are what comes."""
    with contextlib.ExitStack() as stack:
        asking = [stack.enter_context(Machine()) for _ in range(guests)]
        for number in range(count):
            proxy = stack.enter_context(Proxy(folder, reply))
            proxy.start(asking[number] if number < guests else None)
        time.sleep(2)
        yield asking


def memory(pss: Callable[[int], int]) -> int:
    """Bytes of all haproxies of this process's."""
    own = psutil.Process().children(recursive=True)
    return sum(pss(one.pid) for one in own if "haproxy" in one.name())


def version() -> str:
    return run("haproxy", "-v").splitlines()[0]
