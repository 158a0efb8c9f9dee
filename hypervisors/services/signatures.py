"""Signed HTTP requests of hosts: `Authorization: Basalt <host>:<unix time>:<signature>`."""

import base64
import binascii
import time
import uuid

from django.http import HttpRequest

from agent.protocol import SignatureError, request_statement, verify
from hypervisors.models import Hypervisor
from tenants.errors import RuleError
from tenants.scope import system_scope

MAX_SKEW_S = 300
"""A signature is good for this long, so a host's clock may be this wrong."""

_SCHEME = "Basalt "
_MAX_HEADER = 300


class RequestRefusedError(RuleError):
    """The request was not signed by a host we know."""

    code = "signature"
    status = 401


def request_verify(request: HttpRequest) -> Hypervisor:
    """The host that signed this request's method and path. Raises RequestRefusedError."""
    host_id, timestamp, signature = _parts(request.headers.get("Authorization", ""))
    if abs(time.time() - timestamp) > MAX_SKEW_S:
        raise RequestRefusedError(
            "The host's clock is more than five minutes wrong, or the request is old. Set the "
            "clock, for example with systemd-timesyncd.",
            code="clock",
        )
    with system_scope("a host says who it is, before its tenant is known"):
        host = Hypervisor.objects.filter(pk=host_id).first()
    if host is None:
        raise _refusal()
    statement = request_statement(
        method=request.method or "",
        path=request.path,
        hypervisor_id=str(host.pk),
        timestamp=timestamp,
    )
    try:
        verify(bytes(host.sign_public), signature, statement)
    except SignatureError as error:
        raise _refusal() from error
    return host


def signed_stream(header: str) -> tuple[uuid.UUID, bytes]:
    """Host and signature in `Basalt <host>:<signature>`. Raises RequestRefusedError."""
    host, _, signature = _credentials(header).partition(":")
    return _host_id(host), _signature(signature)


def _parts(header: str) -> tuple[uuid.UUID, int, bytes]:
    host, timestamp, signature = [*_credentials(header).split(":", 2), "", ""][:3]
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) < 13):
        raise _refusal()
    return _host_id(host), int(timestamp), _signature(signature)


def _credentials(header: str) -> str:
    if len(header) > _MAX_HEADER or not header.startswith(_SCHEME):
        raise _refusal()
    return header.removeprefix(_SCHEME)


def _host_id(text: str) -> uuid.UUID:
    try:
        return uuid.UUID(text)
    except ValueError as error:
        raise _refusal() from error


def _signature(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise _refusal() from error


def _refusal() -> RequestRefusedError:
    return RequestRefusedError(
        "The request is not signed by a host of this portal. Enrol the host again."
    )
