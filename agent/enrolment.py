"""Joining a portal: the host shows its public keys and a join token, and gets its id."""

import asyncio
import base64
import hashlib
import platform
import uuid
from pathlib import Path
from typing import Any

from agent import __version__
from agent.config import read_identity, write_identity
from agent.keys import HostKeys, load_keys
from agent.protocol import VERSION
from agent.settings import Identity

_TIMEOUT_S = 30
_MAX_ANSWER_BYTES = 65_536


class EnrolmentError(RuntimeError):
    """The portal did not take this host; the message says why and what to do."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def machine_id(salt: str = "") -> str:
    """A stable id of this machine that does not reveal /etc/machine-id.

    machine-id(5) asks programs to hash it before it leaves the machine.
    """
    try:
        secret = Path("/etc/machine-id").read_text().strip()
    except OSError:
        secret = ""
    if not secret:
        secret = f"{uuid.getnode():x}"
    return hashlib.sha256(f"basalt {secret} {salt}".encode()).hexdigest()


async def enrol(
    *, portal: str, token: str, data: Path, name: str | None = None, machine_salt: str = ""
) -> Identity:
    """Enrol the host whose folder is `data`, and remember who it is.

    Repeating it with the same keys gives the same identity. Raises EnrolmentError.
    """
    portal = portal.rstrip("/")
    if not portal.startswith(("http://", "https://")):
        raise EnrolmentError(
            "portal_invalid", f"{portal!r} is not a portal's address: give one like https://…"
        )
    keys = await asyncio.to_thread(_prepare, data, portal)
    answer = await _ask(
        f"{portal}/agent/v1/enrol/",
        {
            "token": token,
            "name": name or platform.node().split(".")[0] or "host",
            "machine_id": machine_id(machine_salt),
            "sign_public": _base64(keys.sign_public),
            "seal_public": _base64(keys.seal_public),
            "protocol": VERSION,
            "agent_version": __version__,
        },
    )
    try:
        identity = Identity(
            portal=portal,
            origin=str(answer["origin"]),
            hypervisor_id=str(uuid.UUID(str(answer["hypervisor_id"]))),
            name=str(answer["name"]),
        )
    except (KeyError, ValueError) as error:
        raise EnrolmentError(
            "portal_answer", f"{portal} answered, but not as a Basalt portal does: check the URL."
        ) from error
    write_identity(data, identity)
    return identity


def _prepare(data: Path, portal: str) -> HostKeys:
    data.mkdir(mode=0o711, parents=True, exist_ok=True)
    known = read_identity(data)
    if known and known.portal != portal:
        raise EnrolmentError(
            "enrolled_elsewhere",
            f"This folder belongs to a host that is enrolled at {known.portal}. Use another "
            f"folder, or remove {data} once nothing there is needed any more.",
        )
    return load_keys(data / "keys")


async def _ask(url: str, body: dict[str, Any]) -> dict[str, Any]:
    import aiohttp  # only the short-lived commands pay for it

    timeout = aiohttp.ClientTimeout(total=_TIMEOUT_S)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.post(url, json=body, allow_redirects=False) as response,
        ):
            raw = await response.content.read(_MAX_ANSWER_BYTES)
            status = response.status
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise EnrolmentError(
            "portal_unreachable",
            f"{url} cannot be reached ({error or 'no answer in time'}). Check the address and "
            "this host's way to the internet.",
        ) from error
    return _read_answer(url, status, raw)


def _read_answer(url: str, status: int, raw: bytes) -> dict[str, Any]:
    import json

    try:
        answer = json.loads(raw)
    except ValueError:
        answer = None
    if status in (200, 201) and isinstance(answer, dict):
        return answer
    error = answer.get("error") if isinstance(answer, dict) else None
    if isinstance(error, dict) and error.get("message"):
        raise EnrolmentError(str(error.get("code", "refused")), str(error["message"])[:2000])
    raise EnrolmentError(
        "portal_answer",
        f"{url} answered with status {status}, and not as a Basalt portal does: check the URL.",
    )


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def enrol_now(
    *, portal: str, token: str, data: Path, name: str | None = None, machine_salt: str = ""
) -> Identity:
    """`enrol` for callers without an event loop."""
    return asyncio.run(
        enrol(portal=portal, token=token, data=data, name=name, machine_salt=machine_salt)
    )
