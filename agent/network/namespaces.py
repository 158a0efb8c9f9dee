"""Network namespaces: making them, and doing something inside one."""

import ctypes
import os
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from agent.network.errors import NetworkError

_FOLDER = Path("/run/netns")
_CLONE_NEWNET = 0x4000_0000

Result = TypeVar("Result")


def namespace_path(name: str) -> Path:
    return _FOLDER / name


def namespace_exists(name: str) -> bool:
    """Whether the name leads to a namespace: a crash can leave an empty file behind."""
    return os.path.ismount(_FOLDER / name)


def create_namespace(name: str) -> None:
    """Raises NetworkError."""
    if not namespace_exists(name):
        (_FOLDER / name).unlink(missing_ok=True)
    _ip_netns("add", name)


def delete_namespace(name: str) -> None:
    """Idempotent. Links inside go with it, unless a socket of somebody holds them."""
    if namespace_exists(name):
        _ip_netns("delete", name)
    (_FOLDER / name).unlink(missing_ok=True)


def inside(name: str, work: Callable[[], Result]) -> Result:
    """What `work` returns, run in a thread that has moved into the namespace.

    A thread's namespace is its own, and this one ends here: nothing has to be put back.
    Raises NetworkError, and whatever `work` raises.
    """
    results: list[Result] = []
    failures: list[BaseException] = []

    def run() -> None:
        try:
            _enter(name)
            results.append(work())
        except BaseException as failure:  # noqa: BLE001 - raised again in the caller's thread
            failures.append(failure)

    thread = threading.Thread(target=run, name=f"inside {name}")
    thread.start()
    thread.join()
    if failures:
        raise failures[0]
    return results[0]


def _enter(name: str) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        descriptor = os.open(_FOLDER / name, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise NetworkError("internal", f"The namespace {name} cannot be opened: {error}.") from None
    try:
        if libc.setns(descriptor, _CLONE_NEWNET) != 0:
            reason = os.strerror(ctypes.get_errno())
            raise NetworkError("internal", f"The namespace {name} cannot be entered: {reason}.")
    finally:
        os.close(descriptor)


def _ip_netns(action: str, name: str) -> None:
    done = subprocess.run(
        ["ip", "netns", action, name], capture_output=True, text=True, check=False, timeout=30
    )
    if done.returncode != 0:
        raise NetworkError(
            "internal", f"ip netns {action} {name} failed: {done.stderr.strip() or 'no reason'}."
        )
