"""The host's own name servers, for guests of a network that names none."""

import ipaddress
from pathlib import Path

# systemd-resolved puts its stub (127.0.0.53) into resolv.conf, which guests cannot reach,
# and the servers that it asks itself here.
_FILES = (Path("/etc/resolv.conf"), Path("/run/systemd/resolve/resolv.conf"))
_MOST = 3


def host_name_servers(files: tuple[Path, ...] = _FILES) -> list[str]:
    """Addresses of name servers that guests can ask too, at most three."""
    for path in files:
        try:
            servers = _servers(path.read_text(errors="replace"))
        except OSError:
            continue
        if servers:
            return servers
    return []


def _servers(text: str) -> list[str]:
    servers: list[str] = []
    for line in text.splitlines():
        words = line.split()
        if len(words) < 2 or words[0] != "nameserver":
            continue
        try:
            address = ipaddress.ip_address(words[1])
        except ValueError:
            continue
        if not (address.is_loopback or address.is_link_local or address.is_unspecified):
            servers.append(str(address))
    return servers[:_MOST]
