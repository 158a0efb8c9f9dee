"""The host's own keys: made here, kept here, never sent."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from agent.files import write_atomically
from agent.protocol import generate_seal_key, generate_sign_key, open_sealed, sign

_KEY_BYTES = 32


class KeysError(RuntimeError):
    """The keys of this host cannot be read."""


@dataclass(frozen=True, repr=False)
class HostKeys:
    """Ed25519 to sign, X25519 for secrets sealed to this host. Raw 32 bytes each."""

    sign_private: bytes
    seal_private: bytes

    @property
    def sign_public(self) -> bytes:
        key = Ed25519PrivateKey.from_private_bytes(self.sign_private)
        return key.public_key().public_bytes_raw()

    @property
    def seal_public(self) -> bytes:
        key = X25519PrivateKey.from_private_bytes(self.seal_private)
        return key.public_key().public_bytes_raw()

    def sign(self, statement: bytes) -> bytes:
        """A 64-byte signature."""
        return sign(self.sign_private, statement)

    def open_sealed(self, sealed: bytes, *, purpose: str) -> bytes:
        """What the portal sealed to this host. Raises SealError."""
        return open_sealed(self.seal_private, sealed, purpose=purpose)


def load_keys(folder: Path) -> HostKeys:
    """The keys in `folder`, made at the first call. Raises KeysError, OSError.

    A key file that is there but unreadable is an error, never a reason for a new key: the
    portal knows this host by the old one.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return HostKeys(
        sign_private=_load(folder / "sign.key", generate_sign_key),
        seal_private=_load(folder / "seal.key", generate_seal_key),
    )


def _load(path: Path, generate: Callable[[], tuple[bytes, bytes]]) -> bytes:
    try:
        key = path.read_bytes()
    except FileNotFoundError:
        key, _ = generate()
        write_atomically(path, key, mode=0o600)
    if len(key) != _KEY_BYTES:
        raise KeysError(
            f"{path} is not a key of this program: it has {len(key)} bytes instead of "
            f"{_KEY_BYTES}. Restore it from a backup, or remove the agent's folder and enrol "
            "this host anew."
        )
    return key
