"""Giving up what the process does not need, before it hears a guest."""

import contextlib
import ctypes
import os
import pwd
import resource
from pathlib import Path

_PR_SET_NO_NEW_PRIVS = 38
_PR_SET_DUMPABLE = 4
_MOST_FILES = 65_536
_NICE = -10


class PrivilegesError(RuntimeError):
    """The process cannot become the unprivileged user."""


def drop_privileges(user: str) -> None:
    """Become `user` for good, without supplementary groups or a way back.

    Does nothing but `no_new_privs` for a process that is not root. Raises PrivilegesError.
    """
    _raise_file_limit()
    _go_first()
    if os.geteuid() == 0:
        try:
            entry = pwd.getpwnam(user)
        except KeyError:
            raise PrivilegesError(
                f"There is no user {user!r} on this host: name another one with --user."
            ) from None
        if entry.pw_uid == 0:
            raise PrivilegesError("The metadata server does not run as root: name another user.")
        os.setgroups([])
        os.setresgid(entry.pw_gid, entry.pw_gid, entry.pw_gid)
        os.setresuid(entry.pw_uid, entry.pw_uid, entry.pw_uid)
        if os.getresuid() != (entry.pw_uid,) * 3:
            raise PrivilegesError("The kernel did not take the change of user.")
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    # Guests' secrets are in this memory: not for other processes of the same user.
    _prctl(_PR_SET_DUMPABLE, 0)


def _raise_file_limit() -> None:
    """Each NIC takes five descriptors and its connections."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, _MOST_FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def _go_first() -> None:
    """Answers are short, and what a guest can ask for is bounded: so this process goes before
    guests that keep all processors busy, and not in turn with them."""
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, _NICE)
    # sched(7): where sessions share the processors among them, the session's own value counts.
    with contextlib.suppress(OSError):
        Path("/proc/self/autogroup").write_text(str(_NICE))


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0) != 0:
        raise PrivilegesError(f"prctl({option}) failed: {os.strerror(ctypes.get_errno())}.")
