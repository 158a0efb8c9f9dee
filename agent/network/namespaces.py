"""Network namespaces: making them, and doing something inside one."""

import ctypes
import functools
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Self, TypeVar

from pyroute2 import netns

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
    if namespace_exists(name):
        raise NetworkError("internal", f"The namespace {name} is there already.")
    (_FOLDER / name).unlink(missing_ok=True)
    try:
        _in_a_thread(_leave, lambda: netns.attach(str(_FOLDER / name), "thread-self"))
    except OSError as error:
        raise NetworkError(
            "internal", f"The namespace {name} cannot be made: {error.strerror or error}."
        ) from error


def delete_namespace(name: str) -> None:
    """Idempotent. Links inside go with it, unless a socket of somebody holds them."""
    if namespace_exists(name):
        netns.remove(str(_FOLDER / name))
    (_FOLDER / name).unlink(missing_ok=True)


def inside(name: str, work: Callable[[], Result]) -> Result:
    """What `work` returns, run in a thread that has moved into the namespace.

    Raises NetworkError, and whatever `work` raises.
    """
    try:
        descriptor = os.open(_FOLDER / name, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise NetworkError("internal", f"The namespace {name} cannot be opened: {error}.") from None
    try:
        return _in_a_thread(lambda: _enter(descriptor), work)
    finally:
        os.close(descriptor)


class Namespace:
    """A network namespace without a name, which is gone when it is closed."""

    def __init__(self) -> None:
        """Raises NetworkError."""
        self._descriptor = _in_a_thread(_leave, _own_namespace)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    def inside(self, work: Callable[[], Result]) -> Result:
        """As `inside`."""
        return _in_a_thread(lambda: _enter(self._descriptor), work)


def _in_a_thread(move: Callable[[], None], work: Callable[[], Result]) -> Result:
    """A thread's namespace is its own, and this one ends here: nothing has to be put back."""
    results: list[Result] = []
    failures: list[BaseException] = []

    def run() -> None:
        try:
            move()
            results.append(work())
        except BaseException as failure:  # noqa: BLE001 - raised again in the caller's thread
            failures.append(failure)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if failures:
        raise failures[0]
    return results[0]


def _enter(descriptor: int) -> None:
    if _libc().setns(descriptor, _CLONE_NEWNET) != 0:
        reason = os.strerror(ctypes.get_errno())
        raise NetworkError("internal", f"A network namespace cannot be entered: {reason}.")


def _leave() -> None:
    if _libc().unshare(_CLONE_NEWNET) != 0:
        reason = os.strerror(ctypes.get_errno())
        raise NetworkError("internal", f"A network namespace cannot be made: {reason}.")


def _own_namespace() -> int:
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
