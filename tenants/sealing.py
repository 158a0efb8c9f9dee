"""Secrets that must be had again, kept unreadable in the database: authenticated encryption
under a key that is made from the portal's secret key."""

import base64
from functools import lru_cache

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings

_PURPOSE = b"basalt sealed secrets 1"


class UnsealError(Exception):
    """The secret was sealed under another key: the portal's secret key was replaced."""


def seal(secret: str) -> str:
    """`secret`, for the database. ASCII."""
    return _box(settings.SECRET_KEY).encrypt(secret.encode()).decode("ascii")


def unseal(sealed: str) -> str:
    """What `seal` was given. Raises UnsealError."""
    try:
        return _box(settings.SECRET_KEY).decrypt(sealed.encode("ascii")).decode()
    except InvalidToken as error:
        raise UnsealError("sealed under another secret key, or not sealed at all") from error


@lru_cache(maxsize=4)
def _box(secret_key: str) -> Fernet:
    made = HKDF(algorithm=SHA256(), length=32, salt=None, info=_PURPOSE)
    return Fernet(base64.urlsafe_b64encode(made.derive(secret_key.encode())))
