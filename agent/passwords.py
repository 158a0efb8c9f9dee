"""Which passwords a guest's login prompt can take."""

MOST_BYTES = 256
"""More than this openssl's `passwd`, which makes the hash, does not read."""


def password_must_be_usable(password: str) -> None:
    """Raises ValueError with a sentence for a person."""
    try:
        encoded = password.encode()
    except UnicodeEncodeError:
        encoded = b""
    if not encoded or len(encoded) > MOST_BYTES or set(encoded) & set(b"\r\n\0"):
        raise ValueError(
            f"A password has 1 to {MOST_BYTES} bytes, without line breaks. Choose another."
        )
