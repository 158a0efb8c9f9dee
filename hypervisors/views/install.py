"""The installer of the agent, and the agent itself, for anyone who asks: neither is secret.

Both lie ready in DATA/agent/, where the set-up has put them: `latest.json` names the bundle's
file and its SHA-256, `install.sh.in` is the script with three places to fill.
"""

import json
import re
from pathlib import Path
from typing import NamedTuple

from django.conf import settings
from django.http import FileResponse, Http404, HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

_SHA256 = re.compile(r"\A[0-9a-f]{64}\Z")


class _Bundle(NamedTuple):
    sha256: str
    path: Path


@require_safe
def install(_request: HttpRequest) -> HttpResponse:
    """A POSIX shell script: `curl …/install | sh -s -- <join token>`."""
    found = _latest()
    script = _read(_folder() / "install.sh.in")
    if found is None or script is None:
        # curl pipes this into sh, so the sentence must be a script too.
        return HttpResponse(
            "#!/bin/sh\n"
            "echo 'This portal has no agent to install yet. Its operator must build it: "
            "python -m agent.install.bundle --output <data folder>/agent/' >&2\n"
            "exit 1\n",
            content_type="text/x-shellscript; charset=utf-8",
            status=200,
        )
    filled = script.replace("@ORIGIN@", settings.BASALT_ORIGIN).replace("@SHA256@", found.sha256)
    answer = HttpResponse(filled, content_type="text/x-shellscript; charset=utf-8")
    answer["Cache-Control"] = "no-store"
    return answer


@require_safe
def bundle(_request: HttpRequest, sha256: str) -> FileResponse:
    """The agent's files, by content: what the script names is what comes, or 404."""
    path = _folder() / f"basalt-agent-{sha256}.tar.gz"
    if not path.is_file():
        raise Http404
    answer = FileResponse(path.open("rb"), content_type="application/gzip")
    answer["Cache-Control"] = "public, max-age=31536000, immutable"
    return answer


def _folder() -> Path:
    return Path(settings.DATA_DIR) / "agent"


def _latest() -> _Bundle | None:
    text = _read(_folder() / "latest.json")
    try:
        sha256 = str(json.loads(text or "").get("sha256"))
    except (ValueError, AttributeError):
        return None
    path = _folder() / f"basalt-agent-{sha256}.tar.gz"
    return _Bundle(sha256, path) if _SHA256.match(sha256) and path.is_file() else None


def _read(path: Path) -> str | None:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError):
        return None
