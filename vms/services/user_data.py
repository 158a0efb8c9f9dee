"""User-data: what a person hands to cloud-init, checked before a guest is made with it.

The forms and their first lines are cloud-init's:
https://cloudinit.readthedocs.io/en/latest/explanation/format.html
"""

import email
import email.policy
from urllib.parse import urlsplit

import yaml

from tenants.errors import InvalidInputError

MAX_BYTES = 64 * 1024
_FIELD = "user_data"
_JINJA = "## template: jinja"
# Known to cloud-init, and without a structure that can be checked here.
_OPAQUE_HEADERS = ("#cloud-boothook", "#part-handler", "#cloud-config-jsonp")


def user_data_check(text: str) -> str:
    """The text with Unix line ends, as the guest gets it. Empty stays empty.

    Raises InvalidInputError with what is wrong and how to put it right.
    """
    # A browser's text area sends CRLF, and "#!/bin/sh\r" is no interpreter.
    text = text.replace("\r\n", "\n")
    if not text.strip():
        return ""
    if "\x00" in text:
        raise _refusal("The user-data holds a NUL character: give it as plain text.")
    size = len(text.encode("utf-8", errors="surrogatepass"))
    if size > MAX_BYTES:
        raise _refusal(
            f"The user-data has {size} bytes, and the limit is {MAX_BYTES}. Fetch the rest "
            "from your own server with “#include”."
        )
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise _refusal("The user-data is not valid Unicode text.") from error
    _check_form(text.lstrip(), nested=False)
    return text


def _check_form(text: str, *, nested: bool) -> None:
    """`text` starts at its first line. `nested`: below a jinja header, or in a MIME part."""
    first = text.split("\n", 1)[0].rstrip()
    lowered = first.lower()
    if first.startswith("#!"):
        _check_script(first)
    elif lowered == _JINJA and not nested:
        _check_jinja(text)
    elif lowered == "#cloud-config":
        _check_cloud_config(text)
    elif lowered == "#cloud-config-archive":
        if not isinstance(_yaml(text), list):
            raise _refusal("A “#cloud-config-archive” must be a YAML list of parts.")
    elif lowered in {"#include", "#include-once"}:
        _check_include(text)
    elif lowered.startswith(("content-type:", "mime-version:")):
        _check_mime(text)
    elif not lowered.startswith(_OPAQUE_HEADERS):
        raise _refusal(
            f"The user-data starts with “{first[:40]}”, which cloud-init does not know. Start a "
            "script with “#!/bin/sh”, and YAML with “#cloud-config” as its first line."
        )


def _check_script(first: str) -> None:
    interpreter = first[2:].strip()
    if not interpreter.startswith("/"):
        raise _refusal(
            "The script's first line must name its interpreter by its full path, for example "
            "“#!/bin/sh” or “#!/usr/bin/env python3”."
        )


def _check_jinja(text: str) -> None:
    _, _, rest = text.partition("\n")
    rest = rest.lstrip()
    header = rest.split("\n", 1)[0].rstrip().lower()
    # What the template will give is only known in the guest: just the header is checked.
    if not header.startswith(("#!", "#cloud-config", "#cloud-boothook", "#include")):
        raise _refusal(
            "After “## template: jinja” the second line must say what it makes, for example "
            "“#cloud-config”."
        )


def _check_cloud_config(text: str) -> None:
    document = _yaml(text)
    if document is not None and not isinstance(document, dict):
        raise _refusal(
            "The cloud-config must be a YAML mapping (“key: value” lines), and is "
            f"{'a list' if isinstance(document, list) else 'a plain value'}."
        )
    if isinstance(document, dict):
        odd = next((key for key in document if not isinstance(key, str)), None)
        if odd is not None:
            raise _refusal(f"The cloud-config's key “{odd}” is not text: put it in quotes.")


def _yaml(text: str) -> object:
    try:
        return yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f" in line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise _refusal(f"The cloud-config is not valid YAML{where}: {error.problem}.") from error
    except (yaml.YAMLError, RecursionError, ValueError, OverflowError) as error:
        raise _refusal("The cloud-config is not valid YAML.") from error


def _check_include(text: str) -> None:
    lines = [line.strip() for line in text.split("\n")[1:]]
    addresses = [line for line in lines if line and not line.startswith("#")]
    if not addresses:
        raise _refusal("After “#include” give one URL per line.")
    for address in addresses:
        parts = urlsplit(address)
        if parts.scheme not in {"http", "https"} or not parts.netloc:
            raise _refusal(
                f"“{address[:60]}” below “#include” is not a URL that starts with "
                "http:// or https://."
            )


def _check_mime(text: str) -> None:
    message = email.message_from_bytes(text.encode(), policy=email.policy.default)
    if not message.is_multipart() or message.defects:
        raise _refusal(
            "The MIME user-data is not a complete multipart message: check its boundary, and "
            "that an empty line stands after the headers of each part."
        )
    for part in message.walk():
        if part.get_content_type() == "text/cloud-config":
            content = part.get_content()
            _check_cloud_config(content if isinstance(content, str) else "")


def _refusal(message: str) -> InvalidInputError:
    return InvalidInputError(message, field=_FIELD)
