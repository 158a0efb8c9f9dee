"""Signed words about the chains, to be kept where whoever changes the database can't reach them.

A checkpoint says: after event N, the chain's hash was H. The key is an Ed25519 key in the data
folder (RFC 8032); checkpoints stand in the database, and as lines of JSON wherever they are sent.
"""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from tenants.models import AuditCheckpoint, AuditLink
from tenants.services.audit_read import chain_names

KINDS = {False: "basalt-audit-checkpoint", True: "basalt-audit-anchor"}


class CheckpointUnreadableError(ValueError):
    """A line that is no checkpoint, or whose signature is not of a key that is trusted."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """`key` and `signature` in hex. Whoever makes one from outside calls `checked`."""

    chain: UUID
    name: str
    seq: int
    hash: bytes
    anchor: bool
    at: datetime
    key: str = ""
    signature: str = ""

    @property
    def body(self) -> dict[str, Any]:
        return {
            "type": KINDS[self.anchor],
            "version": 1,
            "chain": str(self.chain),
            "name": self.name,
            "seq": self.seq,
            "hash": self.hash.hex(),
            "at": self.at.astimezone(UTC).isoformat(),
        }

    def signed_bytes(self) -> bytes:
        return json.dumps(
            self.body, sort_keys=True, separators=(",", ":"), ensure_ascii=False
        ).encode()

    def as_line(self) -> str:
        """One line of JSON."""
        return json.dumps(
            self.body | {"key": self.key, "signature": self.signature}, ensure_ascii=False
        )

    def checked(self, trusted: Iterable[str]) -> "Checkpoint":
        """Itself. Raises CheckpointUnreadableError unless one of `trusted` signed it."""
        known = self.key in set(trusted)
        try:
            public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(self.key))
            public.verify(bytes.fromhex(self.signature), self.signed_bytes())
        except (InvalidSignature, ValueError):
            known = False
        if not known:
            raise CheckpointUnreadableError(
                f"The checkpoint of “{self.name}” at event {self.seq:,} is not signed by a key "
                "that is trusted here."
            )
        return self


# ------------------------------------------------------------------ the key


def key_path() -> Path:
    return Path(settings.DATA_DIR) / "audit_key.pem"


def signing_key() -> Ed25519PrivateKey:
    """The portal's own. Made when it is first asked for, readable to the portal alone."""
    path = key_path()
    try:
        found = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        pem = Ed25519PrivateKey.generate().private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        part = path.with_name(f".{path.name}.{os.getpid()}")
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(pem)
            file.flush()
            os.fsync(file.fileno())
        try:
            # Of two that make one at once, the first one's stays.
            os.link(part, path)
        except FileExistsError:
            pass
        finally:
            part.unlink()
        return signing_key()
    if not isinstance(found, Ed25519PrivateKey):
        raise TypeError(f"{path} holds another kind of key")
    return found


def public_key() -> str:
    """In hex: what checkpoints are checked with. It may be known to anybody."""
    return signing_key().public_key().public_bytes_raw().hex()


# ------------------------------------------------------------------ making them


@transaction.atomic
def checkpoints_make() -> list[Checkpoint]:
    """One for each chain that has grown since its last. Stores them, and returns the newest of
    every chain."""
    made = []
    for chain, name in chain_names().items():
        link = AuditLink.objects.filter(chain_id=chain).order_by("-seq").first()
        last = AuditCheckpoint.objects.filter(chain_id=chain).order_by("-seq", "-made_at").first()
        if link is None:
            continue
        if last is not None and (last.seq, bytes(last.hash)) == (link.seq, bytes(link.hash)):
            made.append(stored(last))
        else:
            made.append(checkpoint_make(chain, name, link.seq, bytes(link.hash)))
    return made


def checkpoint_make(
    chain: UUID, name: str, seq: int, found: bytes, *, anchor: bool = False
) -> Checkpoint:
    """Sign and store one."""
    key = signing_key()
    bare = Checkpoint(chain=chain, name=name, seq=seq, hash=found, anchor=anchor, at=timezone.now())
    row = AuditCheckpoint.objects.create(
        chain_id=chain,
        name=name,
        seq=seq,
        hash=found,
        anchor=anchor,
        made_at=bare.at,
        key=key.public_key().public_bytes_raw().hex(),
        signature=key.sign(bare.signed_bytes()).hex(),
    )
    return stored(row)


def stored(row: AuditCheckpoint) -> Checkpoint:
    """What a row says; not yet whether it is signed."""
    return Checkpoint(
        chain=row.chain_id,
        name=row.name,
        seq=row.seq,
        hash=bytes(row.hash),
        anchor=row.anchor,
        at=row.made_at,
        key=row.key,
        signature=row.signature,
    )


# ------------------------------------------------------------------ reading them


def checkpoints_in(path: Path) -> Iterator[Checkpoint]:
    """Those of a file, a line each; of an export, those among its lines.

    Raises CheckpointUnreadableError, OSError.
    """
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                said = json.loads(line)
                if said["type"] in KINDS.values():
                    yield _read(said)
            except (ValueError, KeyError, TypeError) as error:
                raise CheckpointUnreadableError(
                    f"Line {number} of {path} is no checkpoint."
                ) from error


def _read(said: Mapping[str, Any]) -> Checkpoint:
    return Checkpoint(
        chain=UUID(said["chain"]),
        name=str(said["name"]),
        seq=int(said["seq"]),
        hash=bytes.fromhex(said["hash"]),
        anchor=said["type"] == KINDS[True],
        at=datetime.fromisoformat(said["at"]),
        key=str(said["key"]),
        signature=str(said["signature"]),
    )


def keys_trusted(files: Iterable[Path] = (), more: Iterable[str] = ()) -> frozenset[str]:
    """The portal's own public key, and those that the operator names."""
    named = (path.read_text().strip() for path in files)
    return frozenset({public_key(), *more, *named})
