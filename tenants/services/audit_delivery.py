"""Taking checkpoints to where whoever changes the database can't reach them."""

import os
import stat
import urllib.request
from collections.abc import Sequence
from pathlib import Path

import structlog
from django.conf import settings
from django.core.mail import send_mail

from tenants.services.audit_checkpoints import Checkpoint

log = structlog.get_logger("tenants")

_TIMEOUT_S = 20


def checkpoints_deliver(checkpoints: Sequence[Checkpoint]) -> list[str]:
    """Give them to every target of the settings. One that fails does not keep the others from
    getting theirs. Returns a sentence for each that failed; the next round tries again with
    newer ones, which vouch for all that these do."""
    failures = []
    lines = "".join(one.as_line() + "\n" for one in checkpoints)
    ways = (
        (settings.BASALT_AUDIT_CHECKPOINT_DIR, _to_folder),
        (settings.BASALT_AUDIT_CHECKPOINT_EMAIL, _by_mail),
        (settings.BASALT_AUDIT_CHECKPOINT_URL, _to_address),
    )
    for target, deliver in ways:
        if not target or not lines:
            continue
        try:
            deliver(str(target), lines)
        except OSError as error:
            log.exception("checkpoints could not be delivered", target=str(target))
            failures.append(f"Checkpoints could not be delivered to {target}: {error}")
    return failures


def checkpoints_append(path: Path, lines: str) -> None:
    """Add lines to a file, and see to it that they are on the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    with os.fdopen(os.open(path, flags, 0o600), "a", encoding="utf-8") as file:
        file.write(lines)
        file.flush()
        if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            os.fsync(file.fileno())


def _to_folder(folder: str, lines: str) -> None:
    checkpoints_append(Path(folder) / "audit-checkpoints.jsonl", lines)


def _by_mail(address: str, lines: str) -> None:
    send_mail(
        "Basalt: signed checkpoints of the audit log",
        "Keep these lines. “manage.py audit verify --checkpoints FILE” holds the audit log "
        f"against them.\n\n{lines}",
        None,
        [address],
    )


def _to_address(url: str, lines: str) -> None:
    if not url.startswith(("https://", "http://")):
        raise OSError("the address begins with neither https:// nor http://")
    request = urllib.request.Request(  # noqa: S310 - looked at above, and the operator's own
        url,
        data=lines.encode(),
        method="POST",
        headers={"Content-Type": "application/jsonl; charset=utf-8"},
    )
    with urllib.request.urlopen(request, timeout=_TIMEOUT_S):  # noqa: S310 - as above
        pass
