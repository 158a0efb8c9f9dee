"""Addresses that people give lead to the open internet, or nowhere."""

import http.server
import threading

import pytest
import requests

from tenants import outgoing
from tenants.outgoing import PrivateAddressError, is_public, must_be_public, outgoing_session

PRIVATE = [
    *("127.0.0.1", "127.255.255.254", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1"),  # noqa: S104
    *("169.254.169.254", "100.64.0.1", "192.0.0.1", "192.0.2.1", "198.18.0.1", "198.51.100.7"),
    *("203.0.113.9", "224.0.0.1", "240.0.0.1", "255.255.255.255", "192.88.99.1"),
    *("::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "ff02::1", "fec0::1"),
    *("::ffff:127.0.0.1", "::ffff:a9fe:a9fe", "::127.0.0.1", "::ffff:0:10.0.0.1"),
    *("64:ff9b::127.0.0.1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "2002:7f00:1::", "2002:a00:1::1"),
    *("2001:db8::1", "2001::1", "100::1", "5f00::1", "3fff::1"),
]
PUBLIC = ["1.1.1.1", "8.8.8.8", "2606:4700:4700::1111", "64:ff9b::1.1.1.1", "::ffff:1.1.1.1"]
# Loopback, as the C library reads it.
DISGUISED = [
    "2130706433", "0x7f000001", "017700000001", "127.1", "0177.0.0.1", "0x7f.1", "localhost",
    "0", "[::1]", "[::ffff:7f00:1]", "127.0.0.1.",
]  # fmt: skip


@pytest.mark.parametrize("address", PRIVATE)
def test_a_private_address_is_none_of_the_internet(address):
    assert not is_public(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_one_is(address):
    assert is_public(address)


@pytest.mark.parametrize("host", DISGUISED)
def test_a_private_address_in_disguise_is_seen_through(host):
    # A name that the resolver refuses leads nowhere either.
    with pytest.raises((PrivateAddressError, OSError)):
        must_be_public(host.strip("[]"), 80)
    with pytest.raises(requests.RequestException):
        outgoing_session(timeout_s=2).get(f"http://{host}/")


@pytest.fixture
def inner():
    """A server inside the portal's network, and what was asked of it."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            if self.path == "/leave":
                self.send_response(302)
                self.send_header("Location", "/inside")
                self.end_headers()
                return
            self.send_response(200)
            self.send_header("Content-Length", str(4 * 1024**2))
            self.end_headers()
            self.wfile.write(bytes(4 * 1024**2))

        def log_message(self, *_arguments):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()
        thread.join()


def rebound(monkeypatch, *answers):
    """A name that resolves to the next of `answers` each time it is asked, then to the last."""
    left = list(answers)

    def resolve(_host, port, **_options):
        address = left.pop(0) if len(left) > 1 else left[0]
        return [(2, 1, 6, "", (address, port))]

    monkeypatch.setattr(outgoing.socket, "getaddrinfo", resolve)


def test_a_name_that_changes_its_mind_reaches_nothing_inside(inner, monkeypatch):
    url, asked = inner
    port = int(url.rsplit(":", 1)[1])
    rebound(monkeypatch, "1.1.1.1", "127.0.0.1")
    must_be_public("rebinding.example", port)
    with pytest.raises(requests.RequestException):
        outgoing_session(timeout_s=2).get(f"http://rebinding.example:{port}/")
    assert asked == []


def test_of_several_addresses_one_that_is_private_is_enough(monkeypatch):
    monkeypatch.setattr(
        outgoing.socket,
        "getaddrinfo",
        lambda _host, port, **_: [(2, 1, 6, "", (one, port)) for one in ("1.1.1.1", "10.0.0.1")],
    )
    with pytest.raises(PrivateAddressError, match=r"10\.0\.0\.1"):
        must_be_public("two.example", 443)


def test_a_redirect_is_not_followed(inner):
    url, asked = inner
    session = outgoing_session(timeout_s=5, private=True)
    with pytest.raises(requests.TooManyRedirects):
        session.get(f"{url}/leave")
    assert asked == ["/leave"]


def test_an_answer_without_end_is_cut_off(inner):
    url, _ = inner
    with pytest.raises(requests.RequestException, match="too long"):
        outgoing_session(timeout_s=5, private=True).get(f"{url}/large")


@pytest.mark.parametrize(
    "url",
    [
        "http://1.1.1.1@127.0.0.1/", "http://127.0.0.1#@1.1.1.1/", "http://127.0.0.1\\@1.1.1.1/",
        "file:///etc/passwd", "gopher://127.0.0.1/", "ftp://127.0.0.1/", "http:///", "http://\x00/",
        "http://127.0.0.1\t/", "//127.0.0.1/", "data:text/plain,x",
    ],
)  # fmt: skip
def test_an_address_with_tricks_is_none(url):
    with pytest.raises((requests.RequestException, ValueError)):
        outgoing_session(timeout_s=2).get(url)
