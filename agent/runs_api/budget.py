"""The organisation's request budget, as the last answers tell it; pure but for what it remembers."""

from __future__ import annotations

from collections.abc import Mapping

from agent.domain.events import RateBudget
from agent.domain.retry import reset_wait_s

_LOW_SHARE = 0.1
_LOW_COUNT = 50
_WINDOW_S = 60.0
"""How long word of a low budget is believed where the answer does not say when it ends."""


class RequestBudget:
    """Knows whether requests that can wait should wait. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._low_until_s = 0.0

    def note(self, headers: Mapping[str, str], now_s: float, now_epoch_s: float) -> RateBudget | None:
        """Reads an answer's ``x-ratelimit-*`` headers; ``None`` where it has none."""
        remaining, limit = (_count(headers.get(f"x-ratelimit-{name}")) for name in ("remaining", "limit"))
        if remaining is None:
            return None
        self._low_until_s = 0.0
        if remaining < _low_below(limit):
            wait_s = reset_wait_s(headers.get("x-ratelimit-reset"), now_epoch_s)
            self._low_until_s = now_s + (_WINDOW_S if wait_s is None else wait_s)
        return RateBudget(remaining, limit)

    def low_for_s(self, now_s: float) -> float:
        """How long the budget will be low; 0 while there is enough."""
        return max(0.0, self._low_until_s - now_s)


def _low_below(limit: int | None) -> float:
    """A tenth of the limit or fifty requests, whichever is more; but half of a very small limit."""
    if limit is None:
        return _LOW_COUNT
    return max(_LOW_SHARE * limit, min(_LOW_COUNT, limit / 2))


def _count(value: str | None) -> int | None:
    try:
        return None if value is None else int(float(value))
    except (ValueError, OverflowError):
        return None
