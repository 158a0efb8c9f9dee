"""Downloading one image, as a process of its own: `python -m agent.images.fetch`.

A process of its own because an HTTP client is not small, and a host downloads for minutes
but runs for months; and because what comes from outside is best parsed by something that
ends. Standard input: one `FetchRequest` in JSON. Standard output: a `FetchProgress` a
line, then one `FetchEnd`.
"""

import asyncio
import fcntl
import hashlib
import ipaddress
import os
import shutil
import socket
import sys
import time
from pathlib import Path
from typing import Any, BinaryIO

import aiohttp
import msgspec

from agent.errors import JobFailedError
from agent.images.fetch_messages import FetchEnd, FetchProgress, FetchRequest, PortalAccess
from agent.keys import load_keys
from agent.protocol import request_statement

_CHUNK_BYTES = 256 * 1024
_RESERVE_BYTES = 512 * 1024 * 1024
_LOCK_S = 15


class PrivateAddressError(OSError):
    """The connection would go to an address that is not of the public internet."""


class _CutOffError(Exception):
    """This try ended early; another may go on from where it was."""


class _Sockets:
    """Makes the sockets of outgoing connections, to public addresses only.

    This is the last step before `connect`, so it holds for every redirect, for addresses
    written as numbers, and for names that resolve differently each time they are asked.
    """

    def __init__(self, *, allow_private: bool) -> None:
        self._allow_private = allow_private
        self.refused: str | None = None

    def __call__(self, info: Any) -> socket.socket:
        family, kind, protocol, _, address = info
        if not self._allow_private and not is_public(address[0]):
            self.refused = address[0]
            raise PrivateAddressError(f"{address[0]} is not a public address")
        return socket.socket(family=family, type=kind, proto=protocol)


def is_public(address: str) -> bool:
    """Whether an address is of the public internet: not private, loopback, link-local,
    multicast or reserved, also when wrapped in an IPv6 form (RFC 4291, RFC 6052)."""
    ip = ipaddress.ip_address(address.split("%", maxsplit=1)[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour
        if inner is None and ip in ipaddress.ip_network("64:ff9b::/96"):
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
    return ip.is_global and not ip.is_multicast


class Fetch:
    """One download, from its partial file to its verified end."""

    def __init__(self, request: FetchRequest) -> None:
        self._request = request
        self._part = Path(request.part)
        self._hash = hashlib.sha256()
        self._have = 0
        self._told = 0.0

    async def run(self) -> None:
        """Return when the file is whole and right. Raises JobFailedError."""
        with self._part.open("ab") as file:
            await asyncio.to_thread(_lock, file)
            resumed = await asyncio.to_thread(self._read_part)
            await self._fill(file)
            if self._hash.hexdigest() != self._request.sha256 and resumed:
                # What an earlier try left may be what is wrong: once more from the start.
                self._restart(file)
                await self._fill(file)
            await asyncio.to_thread(os.fsync, file.fileno())
        if self._hash.hexdigest() != self._request.sha256:
            self._part.unlink(missing_ok=True)
            raise JobFailedError(
                "image_checksum_mismatch",
                f"What {self._source} gave is not the image that was asked for: its SHA-256 is "
                f"{self._hash.hexdigest()}, and should be {self._request.sha256}. Check the "
                "image's URL and checksum in the portal.",
            )

    @property
    def _source(self) -> str:
        return "the portal" if self._request.portal else self._request.url

    def _read_part(self) -> bool:
        with self._part.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES * 4):
                self._hash.update(chunk)
                self._have += len(chunk)
        return self._have > 0

    def _restart(self, file: BinaryIO) -> None:
        file.flush()
        file.truncate(0)
        self._hash = hashlib.sha256()
        self._have = 0

    async def _fill(self, file: BinaryIO) -> None:
        sockets = _Sockets(allow_private=self._request.allow_private)
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(socket_factory=sockets, limit=2),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=15, sock_read=30),
            auto_decompress=False,
            trust_env=False,
        ) as session:
            failures = 0
            while True:
                before = self._have
                try:
                    await self._try(session, file)
                except (aiohttp.ClientError, TimeoutError, _CutOffError) as error:
                    if sockets.refused:
                        raise self._private(sockets.refused) from error
                    if isinstance(error, aiohttp.InvalidURL | aiohttp.NonHttpUrlClientError):
                        raise self._unreachable("that is not an http or https URL") from error
                    failures = 0 if self._have > before else failures
                    if failures == len(self._request.pauses_s):
                        raise self._unreachable(str(error) or type(error).__name__) from error
                    await asyncio.sleep(self._request.pauses_s[failures])
                    failures += 1
                else:
                    return

    async def _try(self, session: aiohttp.ClientSession, file: BinaryIO) -> None:
        if self._request.size is not None and self._have == self._request.size:
            return
        async with session.get(
            self._request.url,
            headers=self._headers(),
            allow_redirects=self._request.portal is None,
            max_redirects=5,
        ) as answer:
            if answer.status == 416:
                # Nothing follows what we have: it is the whole file, or not this file.
                if answer.headers.get("Content-Range") == f"bytes */{self._have}":
                    return
                self._restart(file)
                raise _CutOffError("the server has less than was downloaded so far")
            if answer.status in (408, 425, 429) or answer.status >= 500:
                raise _CutOffError(f"the server answered with status {answer.status}")
            if answer.status not in (200, 206):
                raise self._unreachable(f"the server answered with status {answer.status}")
            if self._have and not _continues(answer, self._have):
                self._restart(file)
            await self._read(answer, file)

    async def _read(self, answer: aiohttp.ClientResponse, file: BinaryIO) -> None:
        total = self._request.size
        if total is None and answer.content_length is not None:
            total = self._have + answer.content_length
        expected = None
        if answer.content_length is not None:
            expected = self._have + answer.content_length
        self._check_space((total or 0) - self._have)
        async for chunk in answer.content.iter_chunked(_CHUNK_BYTES):
            if self._request.size is not None and self._have + len(chunk) > self._request.size:
                raise JobFailedError(
                    "image_checksum_mismatch",
                    f"{self._source} gives more than the {self._request.size} bytes that the "
                    "image has. Check the image's URL and checksum in the portal.",
                )
            try:
                file.write(chunk)
                file.flush()
            except OSError as error:
                raise self._no_space() from error
            self._hash.update(chunk)
            self._have += len(chunk)
            self._tell(total)
        if expected is not None and self._have < expected:
            raise _CutOffError("the connection was cut")

    def _headers(self) -> dict[str, str]:
        headers = {"Accept-Encoding": "identity", "User-Agent": "basalt-agent"}
        if self._have:
            headers["Range"] = f"bytes={self._have}-"
        if self._request.portal is not None:
            headers["Authorization"] = _proof(self._request.portal)
        return headers

    def _tell(self, total: int | None) -> None:
        now = time.monotonic()
        if now - self._told >= 0.5:
            self._told = now
            self._check_space(0)
            _say(FetchProgress(have=self._have, total=total))

    def _check_space(self, needed: int) -> None:
        if shutil.disk_usage(self._part.parent).free < needed + _RESERVE_BYTES:
            raise self._no_space()

    def _no_space(self) -> JobFailedError:
        free = shutil.disk_usage(self._part.parent).free
        return JobFailedError(
            "not_enough_disk",
            f"The image does not fit on the host: {free // 2**20} MiB are free, and "
            f"{_RESERVE_BYTES // 2**20} MiB of them are kept for the host itself. Delete VMs that "
            "are not needed, or add disk space.",
        )

    def _unreachable(self, reason: str) -> JobFailedError:
        return JobFailedError(
            "image_unreachable",
            f"The image cannot be downloaded from {self._source}: {reason}. Check that the host "
            "reaches it, then try again; what has arrived is kept.",
        )

    def _private(self, address: str) -> JobFailedError:
        return JobFailedError(
            "address_private",
            f"{self._request.url} leads to {address}, an address inside a private network, and "
            "hosts do not fetch images from there. Use a public URL, or upload the image to the "
            "portal.",
        )


def _continues(answer: aiohttp.ClientResponse, offset: int) -> bool:
    return answer.status == 206 and answer.headers.get("Content-Range", "").startswith(
        f"bytes {offset}-"
    )


def _proof(portal: PortalAccess) -> str:
    import base64

    timestamp = int(time.time())
    statement = request_statement(
        method="GET", path=portal.path, hypervisor_id=portal.hypervisor_id, timestamp=timestamp
    )
    signature = load_keys(Path(portal.keys)).sign(statement)
    return f"Basalt {portal.hypervisor_id}:{timestamp}:{base64.b64encode(signature).decode()}"


def _lock(file: BinaryIO) -> None:
    """A download that outlived a killed agent may still write: wait until it has noticed."""
    end = time.monotonic() + _LOCK_S
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > end:
                raise JobFailedError(
                    "image_unreachable",
                    "Another download of the same image is still running. Try again shortly.",
                ) from None
            time.sleep(0.2)
        else:
            return


def _say(message: FetchProgress | FetchEnd) -> None:
    # A closed pipe means that the agent is gone: the error ends this process, as it should.
    sys.stdout.buffer.write(msgspec.json.encode(message) + b"\n")
    sys.stdout.buffer.flush()


def main() -> None:
    """Entry point of the process."""
    request = msgspec.json.decode(sys.stdin.buffer.readline(), type=FetchRequest)
    end = FetchEnd()
    try:
        asyncio.run(Fetch(request).run())
    except JobFailedError as failure:
        end = FetchEnd(code=failure.code, message=failure.message)
    _say(end)


if __name__ == "__main__":
    main()
