"""Image files for hosts: signed requests, byte ranges, and only what the host's VMs use."""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import BinaryIO
from uuid import UUID

from django.http import (
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    JsonResponse,
    StreamingHttpResponse,
)
from django.views.decorators.http import require_safe

from hypervisors.services.signatures import request_verify
from tenants.errors import RuleError
from tenants.scope import tenant_scope
from vms.models import ImageVersion
from vms.services.images import version_path

_CHUNK = 1024**2
# RFC 9110 section 14.1.2; one range is all that a resumed download asks for.
_RANGE = re.compile(r"\Abytes=(\d{0,19})-(\d{0,19})\Z")


@require_safe
def image_download(request: HttpRequest, version_id: UUID) -> HttpResponseBase:
    """The file of one image version, whole or from a byte on.

    A host may read the images of its own VMs, made or being made; any other is a 404, like
    one that never was.
    """
    try:
        hypervisor = request_verify(request)
    except RuleError as error:
        return _refused(error.status, error.code, error.message)
    with tenant_scope([hypervisor.tenant_id]):
        usable = ImageVersion.objects.used_by(hypervisor).held_here()
        version = usable.filter(pk=version_id).first()
    path = version_path(version) if version else None
    if version is None or path is None or not path.is_file():
        return _refused(404, "not_found", "There is no such image, or no VM of yours uses it.")
    size = path.stat().st_size
    wanted = _wanted(request, size, version.sha256)
    if wanted is None:
        answer = _refused(416, "range", f"The image has {size} bytes.")
        answer["Content-Range"] = f"bytes */{size}"
        return answer
    start, end = wanted
    partial = end - start < size
    response = _body(request, path, start, end)
    response.status_code = 206 if partial else 200
    response["Content-Length"] = str(end - start)
    response["Accept-Ranges"] = "bytes"
    response["ETag"] = f'"{version.sha256}"'
    if partial:
        response["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
    return response


def _wanted(request: HttpRequest, size: int, sha256: str) -> tuple[int, int] | None:
    """Start and end (exclusive) of what is asked for; None where it can't be met."""
    header = request.headers.get("Range", "").replace(" ", "")
    if_range = request.headers.get("If-Range")
    found = _RANGE.match(header)
    # A range that is not understood is ignored (RFC 9110 14.2); so is one of another content.
    if found is None or found.groups() == ("", "") or if_range not in (None, f'"{sha256}"'):
        return 0, size
    first, last = found.groups()
    if not first:
        start, end = max(size - int(last), 0), size
    else:
        start, end = int(first), min(int(last) + 1, size) if last else size
    return (start, end) if start < end else None


def _body(request: HttpRequest, path: Path, start: int, end: int) -> HttpResponseBase:
    content_type = "application/octet-stream"
    if request.method == "HEAD":
        return HttpResponse(content_type=content_type)
    # An asynchronous body: of a synchronous one, Django's ASGI handler would read all of it
    # into memory before the first byte is sent.
    return StreamingHttpResponse(_pieces(path, start, end), content_type=content_type)


async def _pieces(path: Path, start: int, end: int) -> AsyncIterator[bytes]:
    file: BinaryIO = await asyncio.to_thread(path.open, "rb")
    try:
        await asyncio.to_thread(file.seek, start)
        left = end - start
        while left > 0 and (piece := await asyncio.to_thread(file.read, min(_CHUNK, left))):
            left -= len(piece)
            yield piece
    finally:
        file.close()


def _refused(status: int, code: str, message: str) -> HttpResponse:
    return JsonResponse({"error": {"code": code, "message": message}}, status=status)
