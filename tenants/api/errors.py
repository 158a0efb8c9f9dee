"""One shape for every error of the API.

`{"error": {"code": "name_taken", "message": "…", "fields": {"name": ["…"]}}}`
"""

import errno
import logging
from typing import Any

from django.core.exceptions import (
    ObjectDoesNotExist,
    PermissionDenied,
    RequestDataTooBig,
    SuspiciousOperation,
)
from django.http import Http404
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.views import exception_handler as drf_exception_handler

from tenants.errors import RuleError
from tenants.services.second_person_rules import SecondPersonNeededError

logger = logging.getLogger(__name__)


def error_body(
    code: str, message: str, fields: dict[str, list[str]] | None = None
) -> dict[str, Any]:
    """The body of an error answer."""
    error: dict[str, Any] = {"code": code, "message": _sendable(message)}
    if fields:
        error["fields"] = {
            _sendable(name): [_sendable(text) for text in texts] for name, texts in fields.items()
        }
    return {"error": error}


def _sendable(text: str) -> str:
    # Messages quote what was sent, and JSON can carry lone surrogates, which UTF-8 can't.
    return text.encode("utf-8", errors="replace").decode()


def exception_handler(error: Exception, context: dict[str, Any]) -> Response:
    """DRF's hook. What nobody foresaw is logged, and becomes a 500 without details."""
    if isinstance(error, RuleError):
        fields = {error.field: [error.message]} if error.field else None
        wait_s = getattr(error, "wait_s", None)
        headers = {"Retry-After": str(wait_s)} if wait_s else {}
        body = error_body(error.code, error.message, fields)
        return Response(body, status=error.status, headers=headers)
    if isinstance(error, SecondPersonNeededError):
        return Response(error_body(error.code, error.message), status=error.status)
    if isinstance(error, RequestDataTooBig):
        message = "This is more than may be sent here. Leave out what is not needed."
        return Response(error_body("too_large", message), status=413)
    if isinstance(error, SuspiciousOperation):
        logger.warning("API: suspicious: %s", error)
        error = exceptions.ParseError("The request is not one that can be read here.")
    if isinstance(error, ObjectDoesNotExist):
        # Found, and deleted by somebody else before it was locked.
        logger.info("API: gone meanwhile: %s", error)
        error = Http404()
    response = drf_exception_handler(error, context)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        message = "The portal's disk is full, and nothing of this was kept. Ask the operator for "
        return Response(
            error_body("portal_disk_full", f"{message}room, then try again."), status=507
        )
    if response is None:
        request = context.get("request")
        logger.error("API: %s", getattr(request, "path", "?"), exc_info=error)
        message = "Something went wrong here, and was written to the log. Try again in a moment."
        return Response(error_body("internal", message), status=500)
    if isinstance(error, exceptions.ValidationError):
        fields = _flatten(error.detail)
        first = next(iter(fields.items()), ("", ["The request is not valid."]))
        message = (
            first[1][0] if first[0] in ("", "non_field_errors") else f"{first[0]}: {first[1][0]}"
        )
        response.data = error_body("invalid", message, fields)
    elif isinstance(error, Http404 | exceptions.NotFound):
        response.data = error_body("not_found", "There is no such thing, or you may not see it.")
    elif isinstance(error, PermissionDenied):
        response.data = error_body("permission_denied", "You may not do this.")
    elif isinstance(error, exceptions.APIException):
        codes = error.get_codes()
        code = codes if isinstance(codes, str) else "refused"
        response.data = error_body(code, str(error.detail))
    return response


def _flatten(detail: Any, path: str = "") -> dict[str, list[str]]:
    """{"nics": [{"address": ["bad"]}]} becomes {"nics.0.address": ["bad"]}."""
    if isinstance(detail, dict):
        found: dict[str, list[str]] = {}
        for key, value in detail.items():
            found |= _flatten(value, f"{path}.{key}" if path else str(key))
        return found
    if isinstance(detail, list) and any(isinstance(item, dict | list) for item in detail):
        found = {}
        for index, value in enumerate(detail):
            found |= _flatten(value, f"{path}.{index}" if path else str(index))
        return found
    items = detail if isinstance(detail, list) else [detail]
    return {path: [str(item) for item in items]}
