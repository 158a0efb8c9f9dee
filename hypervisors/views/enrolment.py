"""Where machines become hosts. No session and no CSRF here: the join token is the key."""

import base64
import binascii
import contextlib
import json
from typing import Any

import structlog
from django.conf import settings
from django.core.cache import cache
from django.http import HttpRequest, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from hypervisors.services.enrolment import EnrolmentRequest, hypervisor_enrol
from tenants.actor import Actor
from tenants.errors import InvalidInputError, RuleError

log = structlog.get_logger("hypervisors.enrolment")

MAX_BODY_BYTES = 8192
MAX_REFUSALS = 20
"""From one address in a minute: a fleet that joins is not slowed, one who guesses is."""
_REFUSALS_S = 60


class TooManyAttemptsError(RuleError):
    code = "too_many_attempts"
    status = 429


@csrf_exempt
@require_POST
def enrol(request: HttpRequest) -> JsonResponse:
    """201 with the new host's identity, 200 when it had joined before."""
    address = request.META.get("REMOTE_ADDR") or "unknown"
    counter = f"enrol-refusals:{address}"
    try:
        if cache.get(counter, 0) >= MAX_REFUSALS:
            raise TooManyAttemptsError(
                "Too many refused attempts from this address. Wait a minute, then try again."
            )
        wish = _read(request)
        actor = Actor(user=None, ip=request.META.get("REMOTE_ADDR") or None)
        host, new = hypervisor_enrol(actor=actor, request=wish)
    except RuleError as error:
        log.warning("enrolment refused", code=error.code, address=address)
        if not cache.add(counter, 1, _REFUSALS_S):
            # It may expire between the two calls: then the count begins again.
            with contextlib.suppress(ValueError):
                cache.incr(counter)
        answer = JsonResponse(
            {"error": {"code": error.code, "message": error.message}}, status=error.status
        )
        if error.status == 429:
            answer["Retry-After"] = str(_REFUSALS_S)
        return answer
    log.info("host enrolled", host=host.name, new=new)
    return JsonResponse(
        {"hypervisor_id": str(host.id), "name": host.name, "origin": settings.BASALT_ORIGIN},
        status=201 if new else 200,
    )


def _read(request: HttpRequest) -> EnrolmentRequest:
    try:
        length = int(request.headers.get("Content-Length") or 0)
    except ValueError:
        length = MAX_BODY_BYTES + 1
    if length > MAX_BODY_BYTES:
        raise InvalidInputError("The request is too long.")
    body = request.read(MAX_BODY_BYTES + 1)
    try:
        data = json.loads(body) if len(body) <= MAX_BODY_BYTES else None
    except (ValueError, RecursionError):
        data = None
    if not isinstance(data, dict):
        raise InvalidInputError("The request is not a JSON object.")
    protocol = data.get("protocol")
    if not isinstance(protocol, int) or isinstance(protocol, bool):
        raise InvalidInputError("“protocol” is not a number.", field="protocol")
    return EnrolmentRequest(
        token=_text(data, "token", 200),
        name=_text(data, "name", 255),
        machine_id=_text(data, "machine_id", 64),
        sign_public=_key(data, "sign_public"),
        seal_public=_key(data, "seal_public"),
        protocol=protocol,
        agent_version=_text(data, "agent_version", 255),
    )


def _text(data: dict[str, Any], name: str, longest: int) -> str:
    value = data.get(name)
    if not isinstance(value, str) or len(value) > longest or not value.isprintable():
        raise InvalidInputError(
            f"“{name}” is missing, or not text of at most {longest} characters.", field=name
        )
    return value


def _key(data: dict[str, Any], name: str) -> bytes:
    try:
        return base64.b64decode(_text(data, name, 64), validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidInputError(f"“{name}” is not base64.", field=name) from error
