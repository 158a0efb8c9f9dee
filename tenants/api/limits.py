"""How often the API may be asked.

Each token, and each person's browser, has a count of its own, so nobody slows a colleague down.
Calls without a right credential are counted by address; a right one from the same address is
answered all the same.
"""

import structlog
from django.conf import settings
from redis.exceptions import RedisError
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from tenants.services.limits import TooOftenError, limit_use

log = structlog.get_logger("tenants.api")

REFUSED_PER_MINUTE = 60
"""Calls without a right credential from one address, before it is told to wait instead."""
_MINUTE = 60


def count_call(request: Request) -> None:
    """Count one call of whoever is known. Raises TooOftenError."""
    most = settings.BASALT_API_CALLS_PER_MINUTE
    token = getattr(request.auth, "pk", None)
    whose = f"token:{token}" if token else f"person:{request.user.pk}"
    if most:
        _count(
            f"api:{whose}",
            most,
            f"More than {most} calls in a minute. Wait as many seconds as “Retry-After” says, and "
            "ask for more rows at once (page_size) rather than more often.",
        )


def count_refusal(request: Request, error: AuthenticationFailed | None) -> None:
    """Count one call of somebody unknown. Raises TooOftenError in place of another 401."""
    address = request.META.get("REMOTE_ADDR") or "unknown"
    try:
        _count(
            f"api-refused:{address}",
            REFUSED_PER_MINUTE,
            "Too many calls from here without a right token. Wait a minute, then try again with "
            "one of your account page.",
        )
    except TooOftenError as refusal:
        raise refusal from error


def _count(name: str, most: int, message: str) -> None:
    try:
        limit_use(name, most=most, per_s=_MINUTE, message=message)
    except RedisError:
        # Better unbounded for a moment than shut: what is asked is still checked.
        log.exception("calls could not be counted")
