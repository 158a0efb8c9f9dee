"""SSH public keys, checked before they are kept or given to a guest."""

import base64
import binascii

from tenants.errors import InvalidInputError

MAX_KEYS = 64
_MAX_KEY_LENGTH = 8192
# RFC 4253, 5656, 8709, and OpenSSH's PROTOCOL.u2f.
_KEY_TYPES = frozenset(
    {
        "ssh-ed25519",
        "ssh-rsa",
        "ecdsa-sha2-nistp256",
        "ecdsa-sha2-nistp384",
        "ecdsa-sha2-nistp521",
        "sk-ssh-ed25519@openssh.com",
        "sk-ecdsa-sha2-nistp256@openssh.com",
    }
)


def ssh_keys_check(keys: list[str]) -> list[str]:
    """The keys without blanks and repetitions. Raises InvalidInputError."""
    found: list[str] = []
    for key in keys:
        stripped = key.strip()
        if stripped and stripped not in found:
            found.append(ssh_key_check(stripped))
    if len(found) > MAX_KEYS:
        raise InvalidInputError(f"At most {MAX_KEYS} SSH keys, please.", field="ssh_keys")
    return found


def ssh_key_check(key: str) -> str:
    """One public key in the form of an authorized_keys line without options."""
    if "PRIVATE KEY" in key:
        raise _key_refusal(
            "This is a private key. Keep it secret, and give the public one: the file that ends "
            "in “.pub”."
        )
    if "\n" in key or "\r" in key or len(key) > _MAX_KEY_LENGTH or not key.isprintable():
        raise _key_refusal("An SSH key is one line: give one key per line.")
    kind, _, rest = key.partition(" ")
    if kind == "ssh-dss":
        raise _key_refusal("DSA keys are refused by today's OpenSSH. Give an Ed25519 key.")
    if kind not in _KEY_TYPES:
        raise _key_refusal(
            f"“{key[:30]}…” is not an SSH public key: it must start with its type, for example "
            "“ssh-ed25519 AAAA…”."
        )
    blob = rest.split(" ", 1)[0]
    try:
        data = base64.b64decode(blob, validate=True)
    except binascii.Error as error:
        raise _key_refusal("The SSH key is damaged or cut short: copy it again.") from error
    # RFC 4253 section 6.6: the blob begins with its type, once more, as a string.
    prefix = len(kind).to_bytes(4, "big") + kind.encode()
    if not data.startswith(prefix) or not _whole(data):
        raise _key_refusal("The SSH key is damaged or cut short: copy it again.")
    return key


def _whole(data: bytes) -> bool:
    """Whether `data` is a row of length-prefixed strings with nothing missing or over."""
    at, parts = 0, 0
    while at < len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        at += 4 + length
        parts += 1
    return at == len(data) and parts >= 2


def _key_refusal(message: str) -> InvalidInputError:
    return InvalidInputError(message, field="ssh_keys")
