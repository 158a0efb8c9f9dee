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


def is_public(address: str) -> bool:
    """Whether an IP address, as text, is one of the open internet."""
    found = ipaddress.ip_address(address.partition("%")[0])
    mapped = getattr(found, "ipv4_mapped", None)
    real = mapped or found
    return bool(real.is_global and not found.is_multicast and not real.is_multicast)


def must_be_public(host: str, port: int) -> None:
    """Raises PrivateAddressError where any address of `host` is private, OSError or UnicodeError
    where it has none."""
    for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        address = str(entry[4][0]).partition("%")[0]
        if not is_public(address):
            raise PrivateAddressError(address)


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


class _PublicHttp(HTTPConnection):
    def _new_conn(self) -> socket.socket:
        return _checked(super()._new_conn())


class _PublicHttps(HTTPSConnection):
    def _new_conn(self) -> socket.socket:
        return _checked(super()._new_conn())


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
