"""Requests that the portal or its hosts make to addresses that people give: to public ones alone.

Otherwise whoever may name an address could have the portal ask things of the network it stands
in (server-side request forgery).
"""

import ipaddress
import socket
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

MAX_ANSWER_BYTES = 1024 * 1024


class PrivateAddressError(Exception):
    """A name leads to an address that is not public. `address`: which."""

    def __init__(self, address: str) -> None:
        super().__init__(address)
        self.address = address


_WRAPPING = tuple(
    ipaddress.IPv6Network(text)
    for text in ("::/96", "::ffff:0:0/96", "::ffff:0:0:0/96", "64:ff9b::/96")
)
"""Where the last four bytes are an IPv4 address: RFC 4291 2.5.5, RFC 2765 2.1, RFC 6052 2.1."""
_NEVER = tuple(
    ipaddress.ip_network(text)
    for text in ("192.88.99.0/24", "192.0.0.0/24", "2001::/23", "64:ff9b:1::/48", "5f00::/16",
                 "fec0::/10", "3fff::/20")
)  # fmt: skip
"""Of special use, and public in the eyes of older Pythons."""


def is_public(address: str) -> bool:
    """Whether an IP address, as text, is one of the open internet, also where an IPv6 address
    wraps one of IPv4."""
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        if any(found in network for network in _WRAPPING):
            return is_public(str(ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)))
        if found.sixtofour is not None:
            return is_public(str(found.sixtofour))
    if any(found.version == network.version and found in network for network in _NEVER):
        return False
    return bool(found.is_global and not found.is_multicast and not found.is_reserved)


def public_address(host: str, port: int) -> str:
    """An address of `host`, all of whose addresses are public. Raises PrivateAddressError where
    one is not, OSError or UnicodeError where it has none."""
    found = [str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    for address in found:
        if not is_public(address):
            raise PrivateAddressError(address.partition("%")[0])
    return found[0]


def must_be_public(host: str, port: int) -> None:
    """Raises PrivateAddressError where any address of `host` is private, OSError or UnicodeError
    where it has none."""
    public_address(host, port)


def outgoing_session(*, timeout_s: float, private: bool = False) -> requests.Session:
    """A session for addresses that people gave: no redirects, no proxies or passwords of the
    environment, and nothing is sent before the other end's address is known to be public.

    `private`: the operator allowed private addresses.
    """
    return _Session(timeout_s=timeout_s, private=private)


class _Session(requests.Session):
    def __init__(self, *, timeout_s: float, private: bool) -> None:
        super().__init__()
        self.timeout_s = timeout_s
        self.trust_env = False
        # A redirect is an address that nobody has looked at.
        self.max_redirects = 0
        if not private:
            self.mount("http://", _PublicAdapter())
            self.mount("https://", _PublicAdapter())

    def request(self, method: str, url: str | bytes, **options: Any) -> requests.Response:  # type: ignore[override]
        options.setdefault("timeout", self.timeout_s)
        options["stream"] = True
        answer = super().request(method, url, **options)
        # Read here, with an end to it.
        body = answer.raw.read(MAX_ANSWER_BYTES + 1, decode_content=True)
        if len(body) > MAX_ANSWER_BYTES:
            answer.close()
            raise requests.RequestException("the answer is too long")
        answer._content = body
        return answer


def _checked(connection: socket.socket) -> socket.socket:
    # Asked of the connection itself: a name may have changed its mind since it was looked up.
    address = str(connection.getpeername()[0])
    if not is_public(address):
        connection.close()
        raise PrivateAddressError(address)
    return connection


class _ToPublic:
    """Connects to an address that was looked at, rather than to a name that may lead elsewhere
    a moment later: nothing private is knocked at, not even to find it closed."""

    _dns_host: str
    port: int

    def _new_conn(self) -> socket.socket:
        name = self._dns_host
        self._dns_host = public_address(name, self.port)
        try:
            return _checked(super()._new_conn())  # type: ignore[misc]
        finally:
            self._dns_host = name


class _PublicHttp(_ToPublic, HTTPConnection):
    pass


class _PublicHttps(_ToPublic, HTTPSConnection):
    pass


class _HttpPool(HTTPConnectionPool):
    ConnectionCls = _PublicHttp


class _HttpsPool(HTTPSConnectionPool):
    ConnectionCls = _PublicHttps


class _PublicAdapter(HTTPAdapter):
    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, **options)
        self.poolmanager.pool_classes_by_scheme = {"http": _HttpPool, "https": _HttpsPool}

    def send(self, *arguments: Any, **options: Any) -> requests.Response:
        try:
            return super().send(*arguments, **options)
        except PrivateAddressError as error:
            raise requests.ConnectionError(f"{error.address} is a private address") from error
