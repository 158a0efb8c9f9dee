"""Addresses that images may be fetched from. The portal itself fetches none of them."""

from urllib.parse import urlsplit

from django.conf import settings

from tenants.errors import InvalidInputError
from tenants.outgoing import PrivateAddressError, must_be_public

_MAX_LENGTH = 2000


def image_url_check(url: str) -> str:
    """The URL, stripped. Its host must be public, or the operator must have allowed others:
    hosts ask it from inside a customer's network. Raises InvalidInputError.

    The agent checks again at the moment of connecting, since names can change their minds.
    """
    url = url.strip()
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise _refusal("This is not a URL. Copy it again from where you found it.") from error
    if parts.scheme not in {"http", "https"} or not host or not url.isprintable():
        raise _refusal("The URL must start with https:// or http:// and name a host.")
    if len(url) > _MAX_LENGTH or any(character.isspace() for character in url):
        raise _refusal("The URL is too long, or has a space in it.")
    if parts.username is not None or parts.password is not None:
        raise _refusal("The URL has a user or password in it, which everybody could read here.")
    if not settings.BASALT_ALLOW_PRIVATE_IMAGE_URLS:
        _must_be_public(host, port or (443 if parts.scheme == "https" else 80))
    return url


def _must_be_public(host: str, port: int) -> None:
    try:
        must_be_public(host, port)
    except (OSError, UnicodeError) as error:
        raise _refusal(
            f"No address was found for “{host}”. Check the name; a server inside your own "
            "network can't be used here: upload the file instead."
        ) from error
    except PrivateAddressError as error:
        raise _refusal(
            f"“{host}” is at {error.address}, a private address. Use a public server, or upload "
            "the file.",
            code="address_private",
        ) from error


def _refusal(message: str, *, code: str = "invalid") -> InvalidInputError:
    return InvalidInputError(message, field="url", code=code)
