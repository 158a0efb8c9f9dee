"""Limits on guessing, which nobody can turn against a colleague.

An account is never locked. Tries are counted for each pair of address and account, and for each
address; past a few free ones, each must wait, longer each time. Whoever floods an account waits
for themselves. Where an account is tried from many addresses at once, strange browsers get fewer
free tries. A browser in which the person signed in before (tenants/services/known_devices.py)
has a count of its own, that no stranger can add to.

All answers are the same whether an account exists: counts go by what was typed.
"""

import hashlib
import time
from dataclasses import dataclass

from django.core.cache import cache

from tenants.errors import RuleError
from tenants.models import User

KEPT_S = 3600
"""Counts are forgotten after an hour without a try."""
LONGEST_S = 900
FREE_FOR_PAIR = 5
FREE_FOR_PAIR_UNDER_SIEGE = 1
FREE_FOR_ADDRESS = 30
"""An office of people shares one address; a guesser of one password at many accounts does too."""
FREE_FOR_CODES = 5
SIEGE = 50
"""So many failures within an hour, from wherever: somebody is at this account."""


class TooManyTriesError(RuleError):
    """`wait_s`: when to come back."""

    code = "too_many_tries"
    status = 429

    def __init__(self, wait_s: float) -> None:
        self.wait_s = max(1, round(wait_s))
        super().__init__(
            f"Too many tries from here. Wait {self.wait_s} seconds, then try again; if you forgot "
            "the password, have a link sent to you."
        )


@dataclass(frozen=True)
class _Count:
    """One count, in the shared cache, with what is free and what waits."""

    name: str
    free: int

    @property
    def _key(self) -> str:
        return "sign-in:" + hashlib.sha256(self.name.encode()).hexdigest()

    def attempt(self) -> None:
        """Count a try before it is made, so that tries at the same time all count. Raises
        TooManyTriesError, and then counts nothing: hammering on a closed door changes nothing."""
        cache.add(self._key, 0, KEPT_S)
        tries = cache.incr(self._key)
        cache.touch(self._key, KEPT_S)
        if tries <= self.free:
            return
        wait = min(LONGEST_S, 2 ** min(tries - self.free, 12))
        # Only one try for each wait, whoever comes at the same moment.
        if not cache.add(f"{self._key}:until", time.time() + wait, wait):
            self.undo()
            until = cache.get(f"{self._key}:until") or time.time()
            raise TooManyTriesError(until - time.time())

    def undo(self) -> None:
        """The try was right, or was not made."""
        try:
            cache.decr(self._key)
        except ValueError:  # forgotten meanwhile
            return

    def forget(self) -> None:
        cache.delete_many([self._key, f"{self._key}:until"])

    def failures(self) -> int:
        return int(cache.get(self._key) or 0)


@dataclass(frozen=True)
class PasswordLimit:
    """Around one try at a password. `login` is what was typed, `address` where from, `device`
    the id of the known device, if it is one of this account."""

    login: str
    address: str
    device: str | None

    def attempt(self) -> None:
        """Raises TooManyTriesError."""
        done: list[_Count] = []
        try:
            for count in self._counts():
                count.attempt()
                done.append(count)
        except TooManyTriesError:
            for count in done:
                count.undo()
            raise

    def succeeded(self) -> None:
        """The password was right. The address' count is only set back by one: who owns one
        account could clear it again and again while guessing at others."""
        own, *others = self._counts()
        own.forget()
        for count in others:
            count.undo()

    def _counts(self) -> list[_Count]:
        if self.device is not None:
            return [_Count(f"device {self.device}", FREE_FOR_PAIR)]
        account = _Count(f"account {self.login}", free=1_000_000_000)
        besieged = account.failures() >= SIEGE
        free = FREE_FOR_PAIR_UNDER_SIEGE if besieged else FREE_FOR_PAIR
        return [
            _Count(f"pair {self.address} {self.login}", free),
            _Count(f"address {self.address}", FREE_FOR_ADDRESS),
            account,
        ]


@dataclass(frozen=True)
class CodeLimit:
    """Around one try at a second factor. Who tries knows the password already, so here strange
    browsers share one count, wherever they are; known devices have their own."""

    user: User
    device: str | None

    def attempt(self) -> None:
        """Raises TooManyTriesError."""
        self._count.attempt()

    def succeeded(self) -> None:
        self._count.forget()

    @property
    def _count(self) -> _Count:
        whose = f"device {self.device}" if self.device else "strangers"
        return _Count(f"code {self.user.pk} {whose}", FREE_FOR_CODES)
