"""One NIC's part in its guest's first boot: asked, served, sealed, and by when at the latest."""

import asyncio
import time
from collections.abc import Callable

from metadata.boot_reports import BootReports

_LOOK_AGAIN_S = 3600.0
"""A deadline is looked at again so often: the clock on the wall may be set meanwhile."""


class FirstBoot:
    """Times are seconds since the Unix epoch. `over`: nothing secret is served any more.

    `on_deadline` is called when `watch`'s moment has come.
    """

    def __init__(self, *, over: bool, on_deadline: Callable[[], None]) -> None:
        self.over = over
        self.asked_at: float | None = None
        self.served_at: float | None = None
        self.sealed_at: float | None = None
        self.reported_at: float | None = None
        self.reports = BootReports()
        self._on_deadline = on_deadline
        self._deadline: asyncio.TimerHandle | None = None
        self._seal_at: float | None = None

    def asked(self, *, user_data: bool) -> bool:
        """The guest asked, and was answered. True if that is news."""
        now = time.time()
        news = self.asked_at is None
        self.asked_at = self.asked_at or now
        if user_data and self.served_at is None and not self.over:
            self.served_at = now
            news = True
        return news

    def reported(self) -> bool:
        """The guest says that it is done. True if that is news."""
        if self.reported_at is not None:
            return False
        self.reported_at = time.time()
        return True

    def seal(self) -> None:
        self.over = True
        self.sealed_at = self.sealed_at or time.time()
        self.unwatch()

    def watch(self, seal_at: float | None) -> None:
        """Be called back at `seal_at`, unless sealed before."""
        self.unwatch()
        self._seal_at = seal_at
        if self.over or seal_at is None:
            return
        pause = min(max(seal_at - time.time(), 0.0), _LOOK_AGAIN_S)
        self._deadline = asyncio.get_running_loop().call_later(pause, self._look)

    def unwatch(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _look(self) -> None:
        if self.over or self._seal_at is None:
            return
        if self._seal_at > time.time():
            self.watch(self._seal_at)
        else:
            self._on_deadline()
