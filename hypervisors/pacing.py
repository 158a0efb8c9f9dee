"""Slowing down those who talk too much."""

import time


class Pace:
    """A token bucket: `rate` units a second, with `burst` saved up at most."""

    def __init__(self, *, rate: float, burst: float) -> None:
        self._rate, self._burst = rate, burst
        self._left = burst
        self._at = time.monotonic()

    def take(self, units: float) -> float:
        """Seconds to wait before going on, so that the rate holds."""
        now = time.monotonic()
        self._left = min(self._burst, self._left + (now - self._at) * self._rate) - units
        self._at = now
        return max(0.0, -self._left / self._rate)
