"""Keys of a host: Ed25519 to sign, X25519 for secrets sealed to it.

Keys travel as raw 32 bytes. What is signed is a statement with its purpose in front, so
that a signature made for one purpose is worthless for another.
"""

import os

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_KEY_BYTES = 32
_NONCE_BYTES = 12


class SignatureError(ValueError):
    """The signature was not made by this key over this statement."""


class SealError(ValueError):
    """The sealed bytes were not made for this key and purpose, or were changed."""


def generate_sign_key() -> tuple[bytes, bytes]:
    """A new (private, public) Ed25519 pair."""
    key = Ed25519PrivateKey.generate()
    return key.private_bytes_raw(), key.public_key().public_bytes_raw()


def generate_seal_key() -> tuple[bytes, bytes]:
    """A new (private, public) X25519 pair."""
    key = X25519PrivateKey.generate()
    return key.private_bytes_raw(), key.public_key().public_bytes_raw()


def link_statement(*, nonce: bytes, hypervisor_id: str, origin: str) -> bytes:
    """What a host signs to open its link: bound to this portal and this connection."""
    return _statement(b"basalt link 1", nonce, hypervisor_id.encode(), origin.encode())


def stream_statement(*, stream_id: str, hypervisor_id: str, origin: str) -> bytes:
    """What a host signs to dial back one console stream."""
    return _statement(
        b"basalt stream 1", stream_id.encode(), hypervisor_id.encode(), origin.encode()
    )


def request_statement(*, method: str, path: str, hypervisor_id: str, timestamp: int) -> bytes:
    """What a host signs to make one HTTP request (an image download)."""
    return _statement(
        b"basalt request 1",
        method.encode(),
        path.encode(),
        hypervisor_id.encode(),
        str(timestamp).encode(),
    )


def _statement(*parts: bytes) -> bytes:
    # Each part with its length, so that no two lists of parts give the same bytes.
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def sign(private_key: bytes, statement: bytes) -> bytes:
    """A 64-byte Ed25519 signature."""
    return Ed25519PrivateKey.from_private_bytes(private_key).sign(statement)


def verify(public_key: bytes, signature: bytes, statement: bytes) -> None:
    """Return if the signature is right. Raises SignatureError."""
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, statement)
    except (InvalidSignature, ValueError) as error:
        raise SignatureError("the signature does not match") from error


def seal(public_key: bytes, plaintext: bytes, *, purpose: str) -> bytes:
    """Encrypt so that only the holder of the X25519 private key can read it.

    Shape: ephemeral public key (32) + ChaCha20-Poly1305 ciphertext. The key comes from
    HKDF-SHA256 over the shared secret, with both public keys and `purpose` bound in; it
    is used once, so the nonce is zero. Raises SealError for an unusable key.
    """
    ephemeral = X25519PrivateKey.generate()
    ephemeral_public = ephemeral.public_key().public_bytes_raw()
    try:
        shared = ephemeral.exchange(X25519PublicKey.from_public_bytes(public_key))
    except ValueError as error:
        raise SealError("the host's key is not usable") from error
    key = _derive(shared, ephemeral_public, public_key, purpose)
    return ephemeral_public + ChaCha20Poly1305(key).encrypt(bytes(_NONCE_BYTES), plaintext, None)


def open_sealed(private_key: bytes, sealed: bytes, *, purpose: str) -> bytes:
    """Undo `seal`. Raises SealError."""
    own = X25519PrivateKey.from_private_bytes(private_key)
    ephemeral_public, ciphertext = sealed[:_KEY_BYTES], sealed[_KEY_BYTES:]
    try:
        shared = own.exchange(X25519PublicKey.from_public_bytes(ephemeral_public))
        key = _derive(shared, ephemeral_public, own.public_key().public_bytes_raw(), purpose)
        return ChaCha20Poly1305(key).decrypt(bytes(_NONCE_BYTES), ciphertext, None)
    except (InvalidTag, ValueError) as error:
        raise SealError("the sealed bytes are not for this host") from error


def _derive(shared: bytes, ephemeral_public: bytes, public_key: bytes, purpose: str) -> bytes:
    info = _statement(b"basalt seal 1", ephemeral_public, public_key, purpose.encode())
    return HKDF(algorithm=SHA256(), length=_KEY_BYTES, salt=None, info=info).derive(shared)


def new_nonce() -> bytes:
    """32 random bytes."""
    return os.urandom(_KEY_BYTES)
