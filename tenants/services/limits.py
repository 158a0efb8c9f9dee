"""How often something may be done."""

from django.core.cache import cache

from tenants.errors import RuleError


class TooOftenError(RuleError):
    """Done too often in too short a time. `wait_s`: when to come back."""

    code = "too_often"
    status = 429

    def __init__(self, message: str, *, wait_s: int = 60) -> None:
        super().__init__(message)
        self.wait_s = wait_s


def limit_use(name: str, *, most: int, per_s: int, message: str) -> None:
    """Count one more. Raises TooOftenError with `message` beyond `most` within `per_s` seconds
    of the first; it is counted from anew afterwards."""
    key = f"limit:{name}"
    if cache.add(key, 1, per_s):
        return
    try:
        count = cache.incr(key)
    except ValueError:  # it ran out between the two
        return
    if count > most:
        raise TooOftenError(message, wait_s=per_s)
