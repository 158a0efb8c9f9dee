"""How people get into a guest: its user and password, checked before use."""

import re
import unicodedata

from tenants.errors import InvalidInputError

_USERNAME = re.compile(r"\A[a-z_][a-z0-9_-]{0,31}\Z")
# Accounts that Debian, Ubuntu and EL images have before cloud-init runs (base-passwd, setup).
_SYSTEM_ACCOUNTS = frozenset(
    {"root", "daemon", "bin", "sys", "sync", "games", "man", "lp", "mail", "news", "uucp", "proxy"}
    | {"www-data", "backup", "list", "irc", "_apt", "nobody", "messagebus", "sshd", "operator"}
    | {"systemd-network", "systemd-resolve", "systemd-timesync", "adm", "ftp", "halt", "shutdown"}
    | {"dbus", "polkitd", "chrony"}
)


def username_check(username: str) -> str:
    """The name, stripped. Raises InvalidInputError."""
    username = username.strip()
    if not _USERNAME.match(username):
        raise InvalidInputError(
            "A user name has 1 to 32 small letters, digits, “-” and “_”, and starts with a "
            "letter or “_”.",
            field="username",
        )
    if username in _SYSTEM_ACCOUNTS:
        raise InvalidInputError(
            f"“{username}” is an account of the system. Choose another name: the user can "
            "become root with sudo.",
            field="username",
        )
    return username


def password_check(password: str | None) -> str | None:
    """The password, or None for none. Raises InvalidInputError."""
    if not password:
        return None
    if len(password) < 8:
        raise InvalidInputError("The password needs at least 8 characters.", field="password")
    # OpenSSL's passwd, which makes the hash on the host, reads 256 bytes at most.
    if len(password) > 128 or len(password.encode("utf-8", errors="replace")) > 255:
        raise InvalidInputError("The password can have at most 128 characters.", field="password")
    if any(unicodedata.category(character) in {"Cc", "Cs"} for character in password):
        raise InvalidInputError(
            "The password has a line break or another control character in it, which can't be "
            "typed at a login prompt.",
            field="password",
        )
    return password
