"""Small files of a running guest, read through its guest agent.

https://qemu.readthedocs.io/en/latest/interop/qemu-ga-ref.html. An agent that is not there, hangs
or does not allow it is no error: this is one source of several.
"""

import base64
import binascii
import contextlib
import json
from typing import Any

import libvirt
import libvirt_qemu

from agent.drivers.libvirt.domain_xml import guest_agent_answers

MOST_BYTES = 65_536
_TIMEOUT_S = 2


def read_guest_files(domain: Any, paths: list[str]) -> dict[str, bytes]:
    """The first `MOST_BYTES` of each file that can be read, by its path."""
    if not guest_agent_answers(domain.XMLDesc(0)):
        return {}
    found = {}
    for path in paths:
        try:
            content = _read(domain, path)
        except (libvirt.libvirtError, ValueError, KeyError, TypeError):
            continue
        if content is not None:
            found[path] = content
    return found


def _read(domain: Any, path: str) -> bytes | None:
    handle = _ask(domain, "guest-file-open", path=path, mode="r")
    if not isinstance(handle, int):
        return None
    try:
        answer = _ask(domain, "guest-file-read", handle=handle, count=MOST_BYTES)
    finally:
        with contextlib.suppress(libvirt.libvirtError, ValueError):
            _ask(domain, "guest-file-close", handle=handle)
    try:
        return base64.b64decode(answer["buf-b64"])[:MOST_BYTES]
    except binascii.Error as error:
        raise ValueError("not base64") from error


def _ask(domain: Any, command: str, **arguments: Any) -> Any:
    request = json.dumps({"execute": command, "arguments": arguments})
    return json.loads(libvirt_qemu.qemuAgentCommand(domain, request, _TIMEOUT_S, 0))["return"]
